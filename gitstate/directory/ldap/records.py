"""Channels and the like as entries of the LDAP server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Generic

from gitstate.core.errors import ConfigError
from gitstate.directory.ldap import transaction
from gitstate.directory.ldap.connection import Connection, check_schema
from gitstate.directory.ldap.entry_mappings import name_of
from gitstate.directory.ldap.pending import EntryChange, PendingFile, with_pending
from gitstate.directory.ldap.state import CSN, take_csns
from gitstate.directory.model.entries import Entry, EntryError
from gitstate.directory.model.ldif import record_entry
from gitstate.directory.model.record_types import Record, RecordType

_CHANGE: Final = "gitstateLastChange"


class LdapRecords(Generic[Record]):
    """The entries of one record type below ``base``; ``top`` is the base of the whole directory."""

    def __init__(
        self, record_type: RecordType[Record], base: str, top: str, connection: Connection, pending_file: PendingFile
    ) -> None:
        self.base = base
        self._record_type = record_type
        self._every = f"(objectClass={record_type.object_class})"
        self._top = top
        self._connection = connection
        self._pending_file = pending_file

    def all(self) -> dict[str, Record]:
        """Return all records by name, sorted. Raises ConfigError, UnreachableError."""
        found = []
        entries = self._entries()
        if not entries:
            check_schema(self._connection, self._top)
        for dn, entry in entries.items():
            entry.pop(CSN, None)
            try:
                found.append(self._record_type.read(_name(dn, entry), entry))
            except EntryError as error:
                hint = "fix that entry with the tools of the LDAP server"
                raise ConfigError(f"{self._connection.uri}: {dn}: {error.why}", hint) from None
        return self._record_type.by_name(found)

    def csns(self) -> dict[str, str]:
        """Return their change sequence numbers."""
        return take_csns(self._connection.search(self.base, self._every, (CSN,)))

    def _entries(self) -> dict[str, dict[str, list[bytes]]]:
        while True:
            pending = self._pending_file.load()
            rows = self._connection.search(self.base, self._every, ("*", CSN))
            after = self._pending_file.load()
            if (after and after.number) == (pending and pending.number):
                break
        below = f",{self.base}".lower()
        found = with_pending(rows, pending)
        return {dn: entry for dn, entry in found.items() if dn.lower().endswith(below)}

    def change(self, put: Iterable[Record], remove: Iterable[str], note: str, who: str, message: str) -> None:
        """See ``Directory.change_channels``; the journal is locked."""
        current = {_name(dn, entry): (dn, entry) for dn, entry in self._entries().items()}
        changes = []
        left = set(current)
        for name in remove:
            if name not in current:
                raise self._record_type.missing(name, current)
            dn, entry = current.pop(name)
            left.discard(name)
            csn = entry.pop(CSN, [b""])[0].decode()
            changes.append(EntryChange(dn, entry, None, csn))
        removed = {change.dn: change for change in changes}
        for record in put:
            self._record_type.refuse_case_variant(record.name, left)
            left.add(record.name)
            change = self._change_of(record, current, removed, note)
            if change is not None:
                changes = [one for one in changes if one.dn != change.dn] + [change]
        if changes:
            if any(change.old is None for change in changes):
                transaction.create_container(self._connection, self.base)
            transaction.commit(self._connection, self._pending_file, changes, who, message)

    def _change_of(
        self,
        record: Record,
        current: dict[str, tuple[str, dict[str, list[bytes]]]],
        removed: dict[str, EntryChange],
        note: str,
    ) -> EntryChange | None:
        dn, had = current.get(record.name, (f"cn={record.name},{self.base}", None))
        record_entry(self._record_type, record)
        if had is None:
            gone = removed.get(dn)
            new = self._record_type.entry_of(record, None) | {_CHANGE: [note.encode()]}
            return EntryChange(dn, gone.old, new, gone.csn) if gone else EntryChange(dn, None, new)
        csn = had.pop(CSN, [b""])[0].decode()
        if self._record_type.read(record.name, had) == record:
            return None
        kept = {name: values for name, values in had.items() if name != _CHANGE}
        return EntryChange(dn, had, {**self._record_type.entry_of(record, kept), _CHANGE: [note.encode()]}, csn)


def _name(dn: str, entry: Entry) -> str:
    """Return the name of a record, in its own case."""
    low = name_of(dn, entry)
    values = [one.decode("utf-8", "replace") for one in entry.get("cn", ())]
    return next((one for one in values if one.lower() == low), values[0] if values else low)
