"""The clients of a site in LDAP, with our schema or in stock attributes."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from gitstate.core.errors import LockedError, UsageError
from gitstate.core.signature import Signature
from gitstate.directory.git.backend import LdifDirectory
from gitstate.directory.ldap import addresses, netgroups, transaction
from gitstate.directory.ldap.connection import Connection, SearchResult
from gitstate.directory.ldap.entry_mappings import any_of, difference, name_of
from gitstate.directory.ldap.pending import EntryChange, PendingFile
from gitstate.directory.ldap.reader import BATCH, CREATOR, Reader, name_filters
from gitstate.directory.ldap.records import LdapRecords
from gitstate.directory.ldap.state import CSN, State
from gitstate.directory.ldap.transaction import create_container
from gitstate.directory.model.client_attributes import entry_of
from gitstate.directory.model.clients import Client, Kind, no_such_client, normalized
from gitstate.directory.model.entries import Entry
from gitstate.directory.model.ldif import client_entry
from gitstate.directory.model.record_types import CHANNELS, CLASSES, Record, RecordType
from gitstate.directory.options import LdapOptions, Mode
from gitstate.directory.protocol import Directory, LastChange
from gitstate.store.site import Site

_CHANGE: Final = "gitstateLastChange"
_TIME: Final = "%Y%m%d%H%M%SZ"
_LAST: Final = re.compile(r"(\d{14}Z) ([^<>]*<[^<>]*>) ?(.*)")


class LdapDirectory(Directory):
    """The LDAP backend; it connects on first use."""

    def __init__(self, site: Site, options: LdapOptions) -> None:
        self._site = site
        self._options = options
        self._connection = Connection(options, site.credentials)
        self._pending_file = PendingFile(site.path / "ldap")
        bases = ((CHANNELS, options.channels), (CLASSES, options.classes)) if options.mode is Mode.SCHEMA else ()
        self._records: dict[str, LdapRecords[Any]] = {
            one.folder: LdapRecords(one, base, options.base, self._connection, self._pending_file)
            for one, base in bases
        }
        self._reader = Reader(options, self._connection, self._pending_file, [*self._records.values()])
        self._seen: State | None = None
        """The state of the directory when all clients were read."""
        self._seen_csns: dict[str, str] = {}
        """Change sequence numbers of clients that were read one by one, by name."""

    # --- reading ---

    def clients(self) -> Mapping[str, Client]:
        """Return all clients by name, sorted. Raises ConfigError with the entry's DN, UnreachableError."""
        found, state = self._reader.clients()
        self._seen, self._seen_csns = state, {}
        return MappingProxyType(found)

    def client(self, name: str) -> Client:
        """Return one client. Raises NotFoundError with similar names."""
        found = self._find(any_of(name_filters([name])), {"name": name})
        if not found:
            raise no_such_client(name, self._reader.names())
        return found[name]

    def find(self, wanted: Mapping[str, str]) -> Mapping[str, Client]:
        """Return the clients with the ``wanted`` values; the server searches by its indexes."""
        return self._find(self._reader.filter(wanted), wanted)

    def _find(self, condition: str, wanted: Mapping[str, str]) -> dict[str, Client]:
        found = self._reader.find(condition, wanted)
        self._seen_csns |= {client.name: csn for client, csn in found}
        return {client.name: client for client, _ in found}

    def followers(self, channel: str) -> Mapping[Kind, int]:
        """Count the clients of each kind that follow a channel; only the attributes needed for it are read."""
        return self._reader.followers(channel)

    def entries(self, names: Collection[str] | None = None) -> Mapping[str, Entry]:
        """Return each client's entry in our own attributes, without the note of its last change."""
        if names is not None and not names:
            return {}
        condition = any_of(name_filters(names)) if names and len(names) <= BATCH else ""
        rows, _ = self._reader.read(("*",), condition, clients_only=True)
        found = {}
        for dn, entry in rows.items():
            entry.pop(_CHANGE, None)
            client = self._reader.client(dn, entry, "")
            if names is None or client.name in names:
                found[client.name] = entry_of(client, self._reader.mapping.stripped(entry))
        return dict(sorted(found.items()))

    def netgroup(self, name: str) -> list[str]:
        """Return the machines of a netgroup of the LDAP server."""
        return netgroups.hosts(self._connection, self._options.netgroups, name)

    def revision(self) -> str:
        """Return an id made of the change sequence numbers of all entries."""
        _, state = self._reader.read(self._reader.mapping.name_attributes)
        self._seen = state
        return state.revision

    def client_on(self, name: str, when: int) -> None:
        """Return None: an LDAP server keeps no history."""

    def last_change(self, name: str) -> LastChange | None:
        """Return our note of the last change if nobody has changed the entry since, else what the server knows."""
        attributes = ("cn", CSN, "modifyTimestamp", "modifiersName", _CHANGE)
        rows = self._reader.search(any_of(name_filters([name])), attributes)
        found = next((entry for dn, entry in rows if name_of(dn, entry) == name), None)
        if found is None:
            return None
        texts = {key: values[0].decode("utf-8", "replace") for key, values in found.items() if values}
        noted = _LAST.fullmatch(texts.get(_CHANGE, ""))
        who, when, subject = texts.get("modifiersName", ""), texts.get("modifyTimestamp", ""), ""
        if noted and who.lower() == self._connection.who().lower():
            when, who, subject = noted.groups()
        return LastChange(texts.get(CSN, ""), who, _seconds(when), subject)

    # --- how it is ---

    def about(self) -> str:
        """Return the server and the DN that it knows us by."""
        who = self._connection.who() or "nobody"
        return f"{self._connection.uri} as {who}"

    def problems(self) -> list[str]:
        """Return a line for an interrupted change, with the entries that it hasn't reached."""
        found = self._pending_file.load()
        if found is None:
            return []
        left = transaction.remaining(self._connection, found)
        what = found.message.strip().partition("\n")[0]
        return [f"half done, {len(left)} of {len(found.changes)} entries left: {what} ({found.who})", *left]

    def finish(self) -> None:
        """Complete an interrupted change."""
        with self._pending_file.lock():
            self._finish()

    # --- channels and hardware classes: in LDAP where it has our classes, else in the embedded store ---

    def records(self, record_type: RecordType[Record]) -> Mapping[str, Record]:
        """Return all records by name, sorted."""
        ours = self._records.get(record_type.folder)
        return ours.all() if ours else LdifDirectory(self._site).records(record_type)

    def change_records(
        self,
        record_type: RecordType[Record],
        put: Iterable[Record],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
    ) -> None:
        """See ``Directory.change_records``."""
        ours = self._records.get(record_type.folder)
        if ours is None:
            LdifDirectory(self._site).change_records(record_type, put, remove, author, message, committer)
            return
        with self._pending_file.lock():
            self._finish()
            ours.change(put, remove, _note(author, message), author.who, message)
            if self._seen is not None:
                self._seen = replace(self._seen, others=self._reader.csns_of_records())

    # --- writing ---

    def change(
        self,
        put: Iterable[Client],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
        extra: Mapping[str, Entry] | None = None,
    ) -> None:
        """All or nothing (see ``pending_file``); see ``Directory.change``."""
        changed = {client.name: normalized(client) for client in put}
        if not message.strip():
            raise UsageError("a change wants a message", "-m MSG")
        for client in changed.values():
            client_entry(client)
        removed = set(remove)
        gone = removed - changed.keys()
        with self._pending_file.lock():
            self._finish()
            current = self._reader.current([*{*changed, *removed}])
            self._refuse_stale(current, {*changed, *gone})
            for name in sorted(removed):
                if name not in current or not self._reader.mapping.is_client(current[name].entry):
                    raise no_such_client(name, self._reader.names())
            changes = list(self._removals(current[name] for name in sorted(gone)))
            going = {change.dn for change in changes if change.new is None}
            addresses.refuse_duplicates(self._connection, self._options.clients, changed, current, going)
            changes += self._changes_of(changed, current, extra or {}, _note(author, message))
            if changes:
                if any(change.old is None for change in changes):
                    create_container(self._connection, self._options.clients)
                transaction.commit(self._connection, self._pending_file, changes, author.who, message)
                self._remember(changes, changed)
            self._seen_csns = {}

    def _finish(self) -> None:
        pending = self._pending_file.load()
        if pending is not None:
            transaction.finish(self._connection, self._pending_file, pending)

    def _refuse_stale(self, current: Mapping[str, SearchResult], names: Iterable[str]) -> None:
        """Raise LockedError if what this object has read of the directory, or of ``names``, has changed since."""
        csns = {name: row.entry.get(CSN, [b""])[0].decode() for name, row in current.items()}
        is_stale = any(self._seen_csns[name] != csns.get(name) for name in names if name in self._seen_csns)
        if self._seen is not None:
            seen = self._seen.revision
            is_stale = self.revision() != seen or is_stale
        if is_stale:
            raise LockedError("the directory has changed since it was read", "run the command again")

    def _removals(self, rows: Iterable[SearchResult]) -> Iterator[EntryChange]:
        """Remove entries that we created; of others remove only our attributes."""
        who = None
        for dn, entry in rows:
            csn, creator = pop_csn(entry)
            who = self._connection.who().lower() if who is None else who
            yield EntryChange(dn, entry, None if creator.lower() == who else self._reader.mapping.stripped(entry), csn)

    def _changes_of(
        self,
        changed: Mapping[str, Client],
        current: Mapping[str, SearchResult],
        extra: Mapping[str, Entry],
        note: str,
    ) -> Iterator[EntryChange]:
        mapping = self._reader.mapping
        for name, client in changed.items():
            row = current.get(name)
            if row is None:
                entry = mapping.entry_of(client, extra.get(name))
                yield EntryChange(f"cn={name},{self._options.clients}", None, self._with_note(entry, note))
                continue
            csn, _ = pop_csn(row.entry)
            if name in extra:
                entry = mapping.entry_of(client, self._with_extra(row.entry, extra[name]))
                same = not difference(row.entry, entry)
            else:
                entry = mapping.entry_of(client, row.entry)
                same = mapping.is_client(row.entry) and self._reader.client(row.dn, row.entry, csn) == client
            if not same:
                yield EntryChange(row.dn, row.entry, self._with_note(entry, note), csn)

    def _with_extra(self, entry: dict[str, list[bytes]], extra: Entry) -> dict[str, list[bytes]]:
        """Return the entry with the attributes ``extra`` instead of its own."""
        kept = {name: values for name, values in entry.items() if name in ("cn", _CHANGE)}
        return {**{name: list(values) for name, values in extra.items()}, **kept}

    def _with_note(self, entry: dict[str, list[bytes]], note: str) -> dict[str, list[bytes]]:
        return {**entry, _CHANGE: [note.encode()]} if self._options.mode is Mode.SCHEMA else entry

    def _remember(self, changes: Sequence[EntryChange], changed: Mapping[str, Client]) -> None:
        """Note our own changes as read."""
        if self._seen is not None:
            found = self._reader.current(list(changed)).values()
            rows = [row for row in found if self._reader.mapping.is_client(row.entry)]
            self._seen = self._seen.after((change.dn for change in changes), rows)


def pop_csn(entry: dict[str, list[bytes]]) -> tuple[str, str]:
    """Remove the change sequence number and the creator from an entry and return them."""
    csn, creator = entry.pop(CSN, [b""])[0].decode(), entry.pop(CREATOR, [b""])[0].decode("utf-8", "replace")
    return csn, creator


def _note(author: Signature, message: str) -> str:
    when = time.strftime(_TIME, time.gmtime(author.when))
    return f"{when} {author.who} {message.strip().splitlines()[0][:500] if message.strip() else ''}".strip()


def _seconds(text: str) -> int:
    try:
        return calendar.timegm(time.strptime(text, _TIME))
    except ValueError:
        return 0
