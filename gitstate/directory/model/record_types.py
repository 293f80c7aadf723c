"""What the directory holds besides clients, few of each sort: every backend keeps all of them in one way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from gitstate.core.errors import NotFoundError, UsageError
from gitstate.directory.model import channels, classes
from gitstate.directory.model.channels import Channel
from gitstate.directory.model.classes import HardwareClass
from gitstate.directory.model.entries import Entry


class Named(Protocol):
    """Whatever has a name."""

    @property
    def name(self) -> str:
        """Unlike all others of its sort, whatever the case of its letters."""


Record = TypeVar("Record", bound=Named)


@dataclass(frozen=True, slots=True)
class RecordType(Generic[Record]):
    """One sort of things: its ``word``, the ``folder`` of their entries, and how an entry is made and read.

    ``make`` is the class of the things, ``key`` sorts them.
    """

    word: str
    folder: str
    object_class: str
    make: Callable[..., Record]
    entry_of: Callable[[Record, Entry | None], dict[str, list[bytes]]]
    read: Callable[[str, Entry], Record]
    missing: Callable[[str, Iterable[str]], NotFoundError]
    key: Callable[[Record], Any]

    def by_name(self, records: Iterable[Record]) -> dict[str, Record]:
        """Things by their names, in their order."""
        return {one.name: one for one in sorted(records, key=self.key)}

    def refuse_twin(self, name: str, others: Iterable[str]) -> None:
        """Raise UsageError if one of ``others`` is ``name`` but for its case: to LDAP that is one name."""
        twin = next((one for one in others if one != name and one.lower() == name.lower()), None)
        if twin is not None:
            raise UsageError(f"there is a {self.word} {twin} already", "names that differ in case are one to LDAP")


CHANNELS: Final[RecordType[Channel]] = RecordType(
    "channel",
    "channels",
    "gitstateChannel",
    Channel,
    channels.entry_of,
    channels.channel_of,
    channels.no_such_channel,
    lambda one: one.name,
)
CLASSES: Final[RecordType[HardwareClass]] = RecordType(
    "hardware class",
    "classes",
    "gitstateClass",
    HardwareClass,
    classes.entry_of,
    classes.class_of,
    classes.no_such_class,
    lambda one: (one.order, one.name),
)
RECORD_TYPES: Final[Mapping[str, RecordType[Any]]] = {one.folder: one for one in (CHANNELS, CLASSES)}
"""All of them, by their folders."""
