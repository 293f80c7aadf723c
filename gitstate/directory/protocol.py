"""The interface of all directory backends."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gitstate.core.signature import Signature
from gitstate.directory.model.channels import Channel
from gitstate.directory.model.classes import HardwareClass
from gitstate.directory.model.clients import Client, Kind
from gitstate.directory.model.entries import Entry
from gitstate.directory.model.record_types import CHANNELS, CLASSES, Record, RecordType


@dataclass(frozen=True, slots=True)
class LastChange:
    """The last change of an entry: revision, ``Name <mail>``, seconds since the epoch, first line of the message."""

    revision: str
    author: str
    when: int
    subject: str


class Directory(Protocol):
    """The clients, channels and hardware classes of a site."""

    def clients(self) -> Mapping[str, Client]:
        """Return all clients by name, sorted. Raises ConfigError, with file and line, for invalid entries."""

    def client(self, name: str) -> Client:
        """Return a client. Raises NotFoundError with similar names."""

    def find(self, wanted: Mapping[str, str]) -> Mapping[str, Client]:
        """Return the clients with the ``wanted`` values, by the keys of ``Client``; of several values one must match.

        ``{"macs": "52:54:00:12:34:56"}``, ``{"channel": "lab3", "kind": "diskless"}``. An LDAP server does the search.
        """

    def followers(self, channel: str) -> Mapping[Kind, int]:
        """Count the clients of each kind that follow a channel; pinned ones don't."""

    def entries(self, names: Collection[str] | None = None) -> Mapping[str, Entry]:
        """Return the entries of all clients, or of ``names``, with attributes that gitstate doesn't use; sorted."""

    def netgroup(self, name: str) -> Sequence[str]:
        """Return the short names of a netgroup's machines, sorted.

        Raises NotFoundError, and UsageError for a netgroup that matches any machine.
        """

    def revision(self) -> str:
        """Return an opaque id of the present state; empty before the first change."""

    def clients_state(self) -> str | None:
        """Return an id of all clients and hardware classes as they are; None where only reading them all would tell."""
        return None

    def last_change(self, name: str) -> LastChange | None:
        """Return the last change of a client's entry; None if the backend doesn't know it."""

    def client_on(self, name: str, when: int) -> Client | None:
        """Return a client as it was ``when`` (seconds since the epoch); None if the backend keeps no history.

        Raises NotFoundError if it didn't exist.
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

        An entry's other attributes are kept, or replaced by those that ``extra`` has for the client.

        Raises LockedError if the directory has changed since this object last read it, UsageError for invalid values
        and duplicate addresses, NotFoundError for unknown names to remove.
        """

    def about(self) -> str:
        """Return the directory's location, and the identity that we log in with."""

    def problems(self) -> list[str]:
        """Return a line for each problem that doesn't stop readers."""

    def finish(self) -> None:
        """Complete an interrupted change."""

    def records(self, record_type: RecordType[Record]) -> Mapping[str, Record]:
        """Return all records by name, in their order. Raises ConfigError, with file and line, for invalid entries."""

    def channels(self) -> Mapping[str, Channel]:
        """Return all channels by name, sorted; see ``records``."""
        return self.records(CHANNELS)

    def classes(self) -> Mapping[str, HardwareClass]:
        """Return all hardware classes by name, in their order; see ``records``."""
        return self.records(CLASSES)

    def change_records(
        self,
        record_type: RecordType[Record],
        put: Iterable[Record],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
    ) -> None:
        """Add or replace the records ``put`` and remove those named, all or nothing.

        Concurrent changes of others are kept. Raises LockedError, UsageError for invalid values, NotFoundError for
        unknown names to remove.
        """

    def change_channels(
        self,
        put: Iterable[Channel],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
    ) -> None:
        """Change channels; see ``change_records``."""
        self.change_records(CHANNELS, put, remove, author, message, committer)

    def change_classes(
        self,
        put: Iterable[HardwareClass],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
    ) -> None:
        """Change hardware classes; see ``change_records``."""
        self.change_records(CLASSES, put, remove, author, message, committer)
