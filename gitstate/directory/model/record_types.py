"""The record types beside clients, which every backend stores alike: channels and hardware classes."""

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
    """Anything with a name."""

    @property
    def name(self) -> str:
        """Unique among the records of its type, ignoring case."""


Record = TypeVar("Record", bound=Named)


@dataclass(frozen=True, slots=True)
class RecordType(Generic[Record]):
    """A record type: its name, the ``folder`` or organisational unit of its entries, with its conversion.

    ``make`` is the Python class of the records, ``key`` their sort key, ``missing`` the not-found error.
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
        """Return records by name, in their order."""
        return {one.name: one for one in sorted(records, key=self.key)}

    def refuse_case_variant(self, name: str, others: Iterable[str]) -> None:
        """Raise UsageError if one of ``others`` differs from ``name`` in case only: LDAP ignores case."""
        variant = next((one for one in others if one != name and one.lower() == name.lower()), None)
        if variant is not None:
            hint = "LDAP ignores case: choose a name that differs in more than that"
            raise UsageError(f"there is a {self.word} {variant} already", hint)


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
"""All record types, by folder."""
