"""The clients of a site that keeps them in LDAP, with our classes or in stock attributes."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from gitstate.core.errors import LockedError, UsageError
from gitstate.core.signature import Signature
from gitstate.directory.git.backend import LdifDirectory
from gitstate.directory.ldap import clashes, netgroups, writing
from gitstate.directory.ldap.connection import Connection, SearchResult
from gitstate.directory.ldap.journal import Item, Journal
from gitstate.directory.ldap.modes import difference, either, name_of
from gitstate.directory.ldap.reader import CREATOR, MANY, Reader, named
from gitstate.directory.ldap.records import LdapRecords
from gitstate.directory.ldap.state import CSN, State
from gitstate.directory.ldap.writing import make_container
from gitstate.directory.model.channels import Channel
from gitstate.directory.model.classes import HardwareClass
from gitstate.directory.model.clients import Client, Kind, no_such_client, normal
from gitstate.directory.model.entries import Entry
from gitstate.directory.model.mapping import entry_of
from gitstate.directory.model.record_types import CHANNELS, CLASSES, Record, RecordType
from gitstate.directory.model.text import checked_client
from gitstate.directory.options import LdapOptions, Mode
from gitstate.directory.protocol import LastChange
from gitstate.store.site import Site

_CHANGE: Final = "gitstateLastChange"
_TIME: Final = "%Y%m%d%H%M%SZ"
_LAST: Final = re.compile(r"(\d{14}Z) ([^<>]*<[^<>]*>) ?(.*)")


class LdapDirectory:
    """Nothing is asked of the server before it is needed."""

    def __init__(self, site: Site, options: LdapOptions) -> None:
        self._site = site
        self._options = options
        self._connection = Connection(options, site.credentials)
        self._journal = Journal(site.path / "ldap")
        self._channels = self._things(CHANNELS, options.channels)
        self._classes = self._things(CLASSES, options.classes)
        others = (self._channels, self._classes) if options.mode is Mode.SCHEMA else ()
        self._reader = Reader(options, self._connection, self._journal, others)
        self._seen: State | None = None
        """What all clients were read at."""
        self._seen_marks: dict[str, str] = {}
        """The marks of clients that were read alone, by their names."""

    def _things(self, sort: RecordType[Record], base: str) -> LdapRecords[Record]:
        return LdapRecords(sort, base, self._options.base, self._connection, self._journal)

    # --- reading ---

    def clients(self) -> Mapping[str, Client]:
        """All clients by name, sorted by name. Raises ConfigError with the entry's place, UnreachableError."""
        found, state = self._reader.everyone()
        self._seen, self._seen_marks = state, {}
        return MappingProxyType(found)

    def client(self, name: str) -> Client:
        """One client. Raises NotFoundError with the nearest names."""
        found = self._find(either(named([name])), {"name": name})
        if not found:
            raise no_such_client(name, self._reader.names())
        return found[name]

    def find(self, wanted: Mapping[str, str]) -> Mapping[str, Client]:
        """The clients whose values are those wanted, by the server's own indexes."""
        return self._find(self._reader.filter(wanted), wanted)

    def _find(self, narrower: str, wanted: Mapping[str, str]) -> dict[str, Client]:
        found = self._reader.find(narrower, wanted)
        self._seen_marks |= {client.name: mark for client, mark in found}
        return {client.name: client for client, _ in found}

    def followers(self, channel: str) -> Mapping[Kind, int]:
        """How many clients of each kind follow a channel, of each of which no more is read than that takes."""
        return self._reader.followers(channel)

    def entries(self, names: Collection[str] | None = None) -> Mapping[str, Entry]:
        """What stands in the server for each client, in our own attributes, but for our mark of the last change."""
        if names is not None and not names:
            return {}
        narrower = either(named(names)) if names and len(names) <= MANY else ""
        rows, _ = self._reader.read(("*",), narrower, alone=True)
        found = {}
        for dn, entry in rows.items():
            entry.pop(_CHANGE, None)
            client = self._reader.client(dn, entry, "")
            if names is None or client.name in names:
                found[client.name] = entry_of(client, self._reader.form.bared(entry))
        return dict(sorted(found.items()))

    def netgroup(self, name: str) -> list[str]:
        """The machines of a netgroup of the LDAP server."""
        return netgroups.hosts(self._connection, self._options.netgroups, name)

    def revision(self) -> str:
        """Made of the server's own marks of all entries."""
        _, state = self._reader.read(self._reader.form.marking)
        self._seen = state
        return state.revision

    def client_on(self, name: str, when: int) -> None:
        """A server keeps no history."""

    def last_change(self, name: str) -> LastChange | None:
        """As we noted it, if nobody has changed the entry since; else what the server knows of it."""
        attributes = ("cn", CSN, "modifyTimestamp", "modifiersName", _CHANGE)
        rows = self._reader.search(either(named([name])), attributes)
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
        """The server, and who we are to it."""
        who = self._connection.who() or "nobody"
        return f"{self._connection.uri} as {who}"

    def faults(self) -> list[str]:
        """A change that is half done, and the entries that it hasn't come to."""
        found = self._journal.load()
        if found is None:
            return []
        left = writing.unfinished(self._connection, found)
        what = found.message.strip().partition("\n")[0]
        return [f"half done, {len(left)} of {len(found.items)} entries left: {what} ({found.who})", *left]

    def finish(self) -> None:
        """Do what is left of a change that was interrupted."""
        with self._journal.lock():
            self._finish()

    # --- channels and hardware classes: in LDAP where it has our classes, else in the embedded store ---

    def channels(self) -> Mapping[str, Channel]:
        """All channels by name."""
        return self._channels.all() if self._is_ours else LdifDirectory(self._site).channels()

    def classes(self) -> Mapping[str, HardwareClass]:
        """All hardware classes by name, in their order."""
        return self._classes.all() if self._is_ours else LdifDirectory(self._site).classes()

    @property
    def _is_ours(self) -> bool:
        return self._options.mode is Mode.SCHEMA

    def change_channels(
        self,
        put: Iterable[Channel],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
    ) -> None:
        """See ``Directory.change_channels``."""
        if self._is_ours:
            self._change_things(self._channels, put, remove, author, message)
        else:
            LdifDirectory(self._site).change_channels(put, remove, author, message, committer)

    def change_classes(
        self,
        put: Iterable[HardwareClass],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
    ) -> None:
        """See ``Directory.change_classes``."""
        if self._is_ours:
            self._change_things(self._classes, put, remove, author, message)
        else:
            LdifDirectory(self._site).change_classes(put, remove, author, message, committer)

    def _change_things(
        self, things: LdapRecords[Record], put: Iterable[Record], remove: Iterable[str], author: Signature, message: str
    ) -> None:
        with self._journal.lock():
            self._finish()
            things.change(put, remove, _note(author, message), author.who, message)
            if self._seen is not None:
                self._seen = replace(self._seen, others=self._reader.marks_of_others())

    # --- writing ---

    def change(
        self,
        put: Iterable[Client],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
        besides: Mapping[str, Entry] | None = None,
    ) -> None:
        """All or nothing (see ``journal``); see ``Directory.change``."""
        changed = {client.name: normal(client) for client in put}
        if not message.strip():
            raise UsageError("a change wants a message", "-m MSG")
        for client in changed.values():
            checked_client(client)
        removed = set(remove)
        gone = removed - changed.keys()
        with self._journal.lock():
            self._finish()
            standing = self._reader.standing([*{*changed, *removed}])
            self._refuse_stale(standing, {*changed, *gone})
            for name in sorted(removed):
                if name not in standing or not self._reader.form.is_client(standing[name].entry):
                    raise no_such_client(name, self._reader.names())
            items = list(self._removals(standing[name] for name in sorted(gone)))
            going = {item.dn for item in items if item.new is None}
            clashes.refuse(self._connection, self._options.clients, changed, standing, going)
            items += self._items(changed, standing, besides or {}, _note(author, message))
            if items:
                if any(item.old is None for item in items):
                    make_container(self._connection, self._options.clients)
                writing.make(self._connection, self._journal, items, author.who, message)
                self._take_note(items, changed)
            self._seen_marks = {}

    def _finish(self) -> None:
        pending = self._journal.load()
        if pending is not None:
            writing.finish(self._connection, self._journal, pending)

    def _refuse_stale(self, standing: Mapping[str, SearchResult], names: Iterable[str]) -> None:
        """Raise LockedError if what this object has read isn't so any more: all of it, or those alone that it has
        read.
        """
        marks = {name: row.entry.get(CSN, [b""])[0].decode() for name, row in standing.items()}
        is_stale = any(self._seen_marks[name] != marks.get(name) for name in names if name in self._seen_marks)
        if self._seen is not None:
            seen = self._seen.revision
            is_stale = self.revision() != seen or is_stale
        if is_stale:
            raise LockedError("the directory has changed since it was read", "run the command again")

    def _removals(self, rows: Iterable[SearchResult]) -> Iterator[Item]:
        """Entries that we made go; of others, what is ours."""
        who = None
        for dn, entry in rows:
            mark, creator = taken(entry)
            who = self._connection.who().lower() if who is None else who
            yield Item(dn, entry, None if creator.lower() == who else self._reader.form.bared(entry), mark)

    def _items(
        self,
        changed: Mapping[str, Client],
        standing: Mapping[str, SearchResult],
        besides: Mapping[str, Entry],
        note: str,
    ) -> Iterator[Item]:
        form = self._reader.form
        for name, client in changed.items():
            row = standing.get(name)
            if row is None:
                entry = form.entry_of(client, besides.get(name))
                yield Item(f"cn={name},{self._options.clients}", None, self._noted(entry, note))
                continue
            mark, _ = taken(row.entry)
            if name in besides:
                entry = form.entry_of(client, self._with(row.entry, besides[name]))
                same = not difference(row.entry, entry)
            else:
                entry = form.entry_of(client, row.entry)
                same = form.is_client(row.entry) and self._reader.client(row.dn, row.entry, mark) == client
            if not same:
                yield Item(row.dn, row.entry, self._noted(entry, note), mark)

    def _with(self, entry: dict[str, list[bytes]], besides: Entry) -> dict[str, list[bytes]]:
        """An entry with what else it is to hold."""
        kept = {name: values for name, values in entry.items() if name in ("cn", _CHANGE)}
        return {**{name: list(values) for name, values in besides.items()}, **kept}

    def _noted(self, entry: dict[str, list[bytes]], note: str) -> dict[str, list[bytes]]:
        return {**entry, _CHANGE: [note.encode()]} if self._options.mode is Mode.SCHEMA else entry

    def _take_note(self, items: Sequence[Item], changed: Mapping[str, Client]) -> None:
        """What we changed ourselves is no news to us."""
        if self._seen is not None:
            found = self._reader.standing(list(changed)).values()
            rows = [row for row in found if self._reader.form.is_client(row.entry)]
            self._seen = self._seen.after((item.dn for item in items), rows)


def taken(entry: dict[str, list[bytes]]) -> tuple[str, str]:
    """The mark and the creator of an entry, which are no part of what it holds."""
    mark, creator = entry.pop(CSN, [b""])[0].decode(), entry.pop(CREATOR, [b""])[0].decode("utf-8", "replace")
    return mark, creator


def _note(author: Signature, message: str) -> str:
    when = time.strftime(_TIME, time.gmtime(author.when))
    return f"{when} {author.who} {message.strip().splitlines()[0][:500] if message.strip() else ''}".strip()


def _seconds(text: str) -> int:
    try:
        return calendar.timegm(time.strptime(text, _TIME))
    except ValueError:
        return 0
