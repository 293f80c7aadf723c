"""What every backend can do."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gitstate.core.signature import Signature
from gitstate.directory.model.channels import Channel
from gitstate.directory.model.classes import HardwareClass
from gitstate.directory.model.clients import Client, Kind
from gitstate.directory.model.entries import Entry


@dataclass(frozen=True, slots=True)
class LastChange:
    """Who changed an entry last: the new revision, ``Name <mail>``, seconds since the epoch, a line of text."""

    revision: str
    author: str
    when: int
    subject: str


class Directory(Protocol):
    """The clients of one site."""

    def clients(self) -> Mapping[str, Client]:
        """All clients by name, sorted by name. Raises ConfigError for entries that are wrong, with file and line."""

    def client(self, name: str) -> Client:
        """One client. Raises NotFoundError with the nearest names."""

    def find(self, wanted: Mapping[str, str]) -> Mapping[str, Client]:
        """The clients whose values are those wanted, by the keys of ``Client``; of sets, that hold the value.

        ``{"macs": "52:54:00:12:34:56"}``, ``{"channel": "lab3", "kind": "diskless"}``. Where the backend is a server,
        the server looks.
        """

    def followers(self, channel: str) -> Mapping[Kind, int]:
        """How many clients of each kind follow a channel; whoever is pinned doesn't."""

    def entries(self, names: Collection[str] | None = None) -> Mapping[str, Entry]:
        """What stands in the directory for each client, or those named, also what is nothing to gitstate; sorted."""

    def netgroup(self, name: str) -> Sequence[str]:
        """The short names of a netgroup's machines, sorted. Raises NotFoundError, UsageError for one that holds any."""

    def revision(self) -> str:
        """Opaque; changes with every change. Empty before the first one."""

    def last_change(self, name: str) -> LastChange | None:
        """Who changed the entry of ``name`` last; None if the backend can't tell."""

    def client_on(self, name: str, when: int) -> Client | None:
        """A client as it was at a moment, in seconds since the epoch; None if the backend can't tell.

        Raises NotFoundError if there was none then.
        """

    def change(
        self,
        put: Iterable[Client],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
        extra: Mapping[str, Entry] | None = None,
    ) -> None:
        """Add or replace the clients ``put`` and remove those named, all or nothing.

        What else an entry holds stays, or becomes what ``extra`` has for the client.

        Raises LockedError if the directory was changed since this object last read it, UsageError for values that
        can't be and for addresses that another client has, NotFoundError for names to remove that no client has.
        """

    def about(self) -> str:
        """Where the directory is, and who we are to it, in a few words."""

    def faults(self) -> list[str]:
        """What is wrong with it besides what stops every reader, a line each."""

    def finish(self) -> None:
        """Do what is left of a change that was interrupted."""

    def channels(self) -> Mapping[str, Channel]:
        """All channels by name, sorted by name. Raises ConfigError for entries that are wrong, with file and line."""

    def change_channels(
        self,
        put: Iterable[Channel],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
    ) -> None:
        """Add or replace the channels ``put`` and remove those named, all or nothing.

        What others changed meanwhile stays. Raises LockedError, UsageError for values that can't be, NotFoundError for
        names to remove that no channel has.
        """

    def classes(self) -> Mapping[str, HardwareClass]:
        """All hardware classes by name, in their order. Raises ConfigError for entries that are wrong."""

    def change_classes(
        self,
        put: Iterable[HardwareClass],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
    ) -> None:
        """The same for hardware classes."""
