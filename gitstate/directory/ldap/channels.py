"""Channels as entries of the LDAP server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gitstate.directory import channels
from gitstate.directory.channels import Channel, no_such_channel
from gitstate.directory.entries import Entry, Fault
from gitstate.directory.ldap import writing
from gitstate.directory.ldap.connection import Connection, check_schema
from gitstate.directory.ldap.journal import Item, Journal, overlaid
from gitstate.directory.ldap.state import CSN, marks
from gitstate.directory.ldap.ways import name_of
from gitstate.directory.options import LdapOptions
from gitstate.directory.text import checked_channel
from gitstate.errors import ConfigFault, UsageFault

_EVERY: Final = "(objectClass=gitstateChannel)"
_CHANGE: Final = "gitstateLastChange"


class LdapChannels:
    """The entries below ``channels``."""

    def __init__(self, options: LdapOptions, connection: Connection, journal: Journal) -> None:
        self._base = options.channels
        self._top = options.base
        self._connection = connection
        self._journal = journal

    def all(self) -> dict[str, Channel]:
        """Channels by name, sorted by name. Raises ConfigFault, Unreachable."""
        found = {}
        entries = self._entries()
        if not entries:
            check_schema(self._connection, self._top)
        for dn, entry in entries.items():
            entry.pop(CSN, None)
            try:
                channel = channels.channel_of(_name(dn, entry), entry)
            except Fault as fault:
                raise ConfigFault(
                    f"{self._connection.uri}: {dn}: {fault.why}", "mend that entry with the tools of the LDAP server"
                ) from None
            found[channel.name] = channel
        return dict(sorted(found.items()))

    def marks(self) -> dict[str, str]:
        """The marks of their last changes."""
        return marks(self._connection.search(self._base, _EVERY, (CSN,)))

    def _entries(self) -> dict[str, dict[str, list[bytes]]]:
        while True:
            pending = self._journal.load()
            rows = self._connection.search(self._base, _EVERY, ("*", CSN))
            after = self._journal.load()
            if (after and after.number) == (pending and pending.number):
                break
        below = f",{self._base}".lower()
        found = overlaid(rows, pending)
        return {dn: entry for dn, entry in found.items() if dn.lower().endswith(below)}

    def change(self, put: Iterable[Channel], remove: Iterable[str], note: str, who: str, message: str) -> None:
        """See ``Directory.change_channels``; the journal is locked."""
        standing = {_name(dn, entry): (dn, entry) for dn, entry in self._entries().items()}
        items = []
        left = set(standing)
        for name in remove:
            if name not in standing:
                raise no_such_channel(name, standing)
            dn, entry = standing.pop(name)
            left.discard(name)
            mark = entry.pop(CSN, [b""])[0].decode()
            items.append(Item(dn, entry, None, mark))
        removed = {item.dn: item for item in items}
        for channel in put:
            _refuse_twin(channel.name, left)
            left.add(channel.name)
            item = self._item(channel, standing, removed, note)
            if item is not None:
                items = [one for one in items if one.dn != item.dn] + [item]
        if items:
            if any(item.old is None for item in items):
                writing.make_container(self._connection, self._base)
            writing.make(self._connection, self._journal, items, who, message)

    def _item(
        self,
        channel: Channel,
        standing: dict[str, tuple[str, dict[str, list[bytes]]]],
        removed: dict[str, Item],
        note: str,
    ) -> Item | None:
        dn, had = standing.get(channel.name, (f"cn={channel.name},{self._base}", None))
        checked_channel(channel)
        if had is None:
            gone = removed.get(dn)
            new = channels.entry_of(channel) | {_CHANGE: [note.encode()]}
            return Item(dn, gone.old, new, gone.csn) if gone else Item(dn, None, new)
        mark = had.pop(CSN, [b""])[0].decode()
        if channels.channel_of(channel.name, had) == channel:
            return None
        kept = {name: values for name, values in had.items() if name != _CHANGE}
        return Item(dn, had, {**channels.entry_of(channel, kept), _CHANGE: [note.encode()]}, mark)


def _name(dn: str, entry: Entry) -> str:
    """A channel's name, whose case counts."""
    low = name_of(dn, entry)
    values = [one.decode("utf-8", "replace") for one in entry.get("cn", ())]
    return next((one for one in values if one.lower() == low), values[0] if values else low)


def _refuse_twin(name: str, others: Iterable[str]) -> None:
    twin = next((one for one in others if one != name and one.lower() == name.lower()), None)
    if twin is not None:
        raise UsageFault(f"there is a channel {twin} already", "names that differ in case are one to LDAP")
