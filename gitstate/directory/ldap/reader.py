"""Reads the entries of clients, and keeps which state was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from gitstate.core.errors import ConfigError
from gitstate.directory.ldap.connection import Connection, SearchResult, check_schema
from gitstate.directory.ldap.entry_mappings import CLASS, CLIENT, HOST_FILTER, any_of, entry_mapping, equals, name_of
from gitstate.directory.ldap.pending import PendingChange, PendingFile, with_pending
from gitstate.directory.ldap.records import LdapRecords
from gitstate.directory.ldap.state import CSN, State, by_name, take_csns
from gitstate.directory.model.clients import Client, Kind, matches
from gitstate.directory.model.entries import Entry, EntryError
from gitstate.directory.options import LdapOptions, Mode

CREATOR: Final = "creatorsName"
BATCH: Final = 100
"""Names or addresses in one search."""
_HINT: Final = "fix that entry with the tools of the LDAP server"
Rows = dict[str, dict[str, list[bytes]]]
"""Entries by DN."""


class Reader:
    """Searches, with pending changes applied to the results."""

    def __init__(
        self,
        options: LdapOptions,
        connection: Connection,
        pending_file: PendingFile,
        others: Sequence[LdapRecords[Any]],
    ) -> None:
        self.mapping = entry_mapping(options)
        self._options = options
        self._connection = connection
        self._pending_file = pending_file
        self._records = others
        self._known: dict[str, tuple[str, Client]] = {}
        self._has_schema = False

    def clients(self) -> tuple[dict[str, Client], State]:
        """Return all clients by name. Raises ConfigError, UnreachableError."""
        rows, state = self.read(self.mapping.attributes)
        by_name(self._connection.uri, rows.items())
        known = {
            dn: (state.csns.get(dn, ""), self.client(dn, entry, state.csns.get(dn, ""))) for dn, entry in rows.items()
        }
        self._known = known
        return dict(sorted((client.name, client) for _, client in known.values())), state

    def find(self, condition: str, wanted: Mapping[str, str]) -> list[tuple[Client, str]]:
        """Return the clients with the ``wanted`` values, each with its entry's change sequence number."""
        rows, state = self.read(self.mapping.attributes, condition, clients_only=True)
        found = {dn: self.client(dn, entry, state.csns.get(dn, "")) for dn, entry in rows.items()}
        pairs = [(one, state.csns.get(dn, "")) for dn, one in found.items() if matches(one, wanted)]
        if len({one.name for one, _ in pairs}) != len(pairs):
            by_name(self._connection.uri, rows.items())
        return sorted(pairs, key=lambda pair: pair[0].name)

    def followers(self, channel: str) -> Counter[Kind]:
        """Count the clients of each kind that follow a channel; equal entries are parsed once."""
        rows, _ = self.read(self.mapping.follower_attributes, self.filter({"channel": channel}), clients_only=True)
        alike: dict[tuple[tuple[bytes, ...], ...], list[str]] = {}
        for dn, entry in rows.items():
            alike.setdefault(tuple(tuple(entry.get(name, ())) for name in self.mapping.follower_attributes), []).append(
                dn
            )
        found: Counter[Kind] = Counter()
        for places in alike.values():
            one = self.client(places[0], {CLASS: [CLIENT.encode()], **rows[places[0]]}, "")
            if one.channel == channel and one.pin is None:
                found[one.kind] += len(places)
        return found

    def filter(self, wanted: Mapping[str, str]) -> str:
        """Return the filter for clients with the ``wanted`` values."""
        return f"(&{''.join(self.mapping.wanted(key, value) for key, value in wanted.items())})"

    def names(self) -> list[str]:
        """Return all names, sorted."""
        rows, _ = self.read(self.mapping.name_attributes, clients_only=True)
        return sorted(name_of(dn, entry) for dn, entry in rows.items())

    def client(self, dn: str, entry: Entry, csn: str) -> Client:
        """Return the client of an entry. Raises ConfigError."""
        known = self._known.get(dn)
        if known is not None and csn and known[0] == csn:
            return known[1]
        try:
            return self.mapping.client_of(name_of(dn, entry), entry)
        except EntryError as error:
            raise ConfigError(f"{self._connection.uri}: {dn}: {error.why}", _HINT) from None

    def search(self, condition: str, attributes: Sequence[str]) -> list[SearchResult]:
        """Return entries that may be clients."""
        wanted = f"(&{self.mapping.base_filter}{condition})" if condition else self.mapping.base_filter
        return self._connection.search(self._options.clients, wanted, attributes)

    def read(self, attributes: Sequence[str], condition: str = "", *, clients_only: bool = False) -> tuple[Rows, State]:
        """Return entries as they will be after the pending change; read again if that completes meanwhile.

        ``clients_only``: the state tells nothing of channels and the like.
        """
        while True:
            pending = self._pending_file.load()
            rows = self.search("" if pending else condition, ("*", CSN) if pending else (*attributes, CSN))
            others = {} if clients_only else self.csns_of_records()
            after = self._pending_file.load()
            if (after and after.number) == (pending and pending.number):
                break
        if not rows:
            self._check_schema()
        if self._options.mode is Mode.MAP:
            rows = [row for row in rows if self.mapping.is_client(row.entry)]
        state = State(take_csns(rows), others)
        if pending is None:
            return dict(rows), state
        found = with_pending(rows, self._of_clients(pending))
        state = State(state.csns, {**others, "pending": pending.number})
        return {dn: entry for dn, entry in found.items() if self.mapping.is_client(entry)}, state

    def csns_of_records(self) -> dict[str, str]:
        """Return the change sequence numbers of channels and hardware classes."""
        return {dn: csn for one in self._records for dn, csn in one.csns().items()}

    def _of_clients(self, pending: PendingChange) -> PendingChange:
        """The part of a pending change that concerns clients."""
        below = tuple(f",{one.base}".lower() for one in self._records)
        ours = tuple(one for one in pending.changes if not one.dn.lower().endswith(below))
        return PendingChange(pending.number, pending.who, pending.message, ours)

    def _check_schema(self) -> None:
        """Raise ConfigError if the server lacks our schema: its searches would find nothing."""
        if self._options.mode is not Mode.SCHEMA or self._has_schema:
            return
        check_schema(self._connection, self._options.base)
        self._has_schema = True

    def current(self, names: Sequence[str]) -> dict[str, SearchResult]:
        """Return the entries of hosts, clients or not, with all attributes."""
        found: dict[str, SearchResult] = {}
        for some in batches(names):
            wanted = f"(&{any_of([HOST_FILTER, self.mapping.base_filter])}{any_of(name_filters(some))})"
            for row in self._connection.search(self._options.clients, wanted, ("*", CSN, CREATOR)):
                name = name_of(row.dn, row.entry)
                if name in some:
                    by_name(self._connection.uri, [row, found.get(name, row)])
                    found[name] = row
        return found


def name_filters(names: Iterable[str]) -> Iterator[str]:
    """Yield filters for names, each short enough for one search."""
    return (equals("cn", name) for name in names)


def batches(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield ``words`` in batches, each short enough for one search."""
    return (words[start : start + BATCH] for start in range(0, len(words), BATCH))
