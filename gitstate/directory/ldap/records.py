"""Channels and the like as entries of the LDAP server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic

from gitstate.core.errors import ConfigError
from gitstate.directory.ldap import writing
from gitstate.directory.ldap.connection import Connection, check_schema
from gitstate.directory.ldap.journal import Item, Journal, overlaid
from gitstate.directory.ldap.modes import name_of
from gitstate.directory.ldap.state import CSN, marks
from gitstate.directory.model.entries import Entry, EntryError
from gitstate.directory.model.record_types import Record, RecordType
from gitstate.directory.model.text import checked_thing

_CHANGE: Final = "gitstateLastChange"


class LdapRecords(Generic[Record]):
    """The entries of one sort, below ``base``; ``top`` is that of the whole directory."""

    def __init__(self, sort: RecordType[Record], base: str, top: str, connection: Connection, journal: Journal) -> None:
        self.base = base
        self._sort = sort
        self._every = f"(objectClass={sort.object_class})"
        self._top = top
        self._connection = connection
        self._journal = journal

    def all(self) -> dict[str, Record]:
        """All of them by name, in their order. Raises ConfigError, UnreachableError."""
        found = []
        entries = self._entries()
        if not entries:
            check_schema(self._connection, self._top)
        for dn, entry in entries.items():
            entry.pop(CSN, None)
            try:
                found.append(self._sort.read(_name(dn, entry), entry))
            except EntryError as fault:
                raise ConfigError(
                    f"{self._connection.uri}: {dn}: {fault.why}", "mend that entry with the tools of the LDAP server"
                ) from None
        return self._sort.by_name(found)

    def marks(self) -> dict[str, str]:
        """The marks of their last changes."""
        return marks(self._connection.search(self.base, self._every, (CSN,)))

    def _entries(self) -> dict[str, dict[str, list[bytes]]]:
        while True:
            pending = self._journal.load()
            rows = self._connection.search(self.base, self._every, ("*", CSN))
            after = self._journal.load()
            if (after and after.number) == (pending and pending.number):
                break
        below = f",{self.base}".lower()
        found = overlaid(rows, pending)
        return {dn: entry for dn, entry in found.items() if dn.lower().endswith(below)}

    def change(self, put: Iterable[Record], remove: Iterable[str], note: str, who: str, message: str) -> None:
        """See ``Directory.change_channels``; the journal is locked."""
        standing = {_name(dn, entry): (dn, entry) for dn, entry in self._entries().items()}
        items = []
        left = set(standing)
        for name in remove:
            if name not in standing:
                raise self._sort.missing(name, standing)
            dn, entry = standing.pop(name)
            left.discard(name)
            mark = entry.pop(CSN, [b""])[0].decode()
            items.append(Item(dn, entry, None, mark))
        removed = {item.dn: item for item in items}
        for thing in put:
            self._sort.refuse_twin(thing.name, left)
            left.add(thing.name)
            item = self._item(thing, standing, removed, note)
            if item is not None:
                items = [one for one in items if one.dn != item.dn] + [item]
        if items:
            if any(item.old is None for item in items):
                writing.make_container(self._connection, self.base)
            writing.make(self._connection, self._journal, items, who, message)

    def _item(
        self,
        thing: Record,
        standing: dict[str, tuple[str, dict[str, list[bytes]]]],
        removed: dict[str, Item],
        note: str,
    ) -> Item | None:
        dn, had = standing.get(thing.name, (f"cn={thing.name},{self.base}", None))
        checked_thing(self._sort, thing)
        if had is None:
            gone = removed.get(dn)
            new = self._sort.entry_of(thing, None) | {_CHANGE: [note.encode()]}
            return Item(dn, gone.old, new, gone.csn) if gone else Item(dn, None, new)
        mark = had.pop(CSN, [b""])[0].decode()
        if self._sort.read(thing.name, had) == thing:
            return None
        kept = {name: values for name, values in had.items() if name != _CHANGE}
        return Item(dn, had, {**self._sort.entry_of(thing, kept), _CHANGE: [note.encode()]}, mark)


def _name(dn: str, entry: Entry) -> str:
    """A thing's name, whose case counts."""
    low = name_of(dn, entry)
    values = [one.decode("utf-8", "replace") for one in entry.get("cn", ())]
    return next((one for one in values if one.lower() == low), values[0] if values else low)
