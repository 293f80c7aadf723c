"""Duplicate addresses, searched for before anything is written: LDAP servers don't prevent them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from gitstate.core.errors import UsageError
from gitstate.directory.ldap.connection import Connection, SearchResult
from gitstate.directory.ldap.entry_mappings import any_of, equals, name_of
from gitstate.directory.ldap.reader import batches
from gitstate.directory.model.clients import Client, refuse_duplicate_addresses
from gitstate.directory.model.entries import Entry

_ATTRIBUTES: Final = ("macAddress", "ipHostNumber")
_MAC: Final = re.compile("[0-9a-f]{2}(?::[0-9a-f]{2}){5}")


def refuse_duplicates(
    connection: Connection,
    base: str,
    changed: Mapping[str, Client],
    current: Mapping[str, SearchResult],
    going: Collection[str],
) -> None:
    """Raise UsageError if another host has an address of a changed client; ``going`` are the DNs of removed entries."""
    refuse_duplicate_addresses((client for _, client in sorted(changed.items())), changed)
    asked: dict[str, str] = {}
    for name, client in changed.items():
        had = _addresses(current[name].entry) if name in current else set()
        asked |= {address: name for address in (*client.macs, *client.ips) if address not in had}
    ours = {current[name].dn for name in changed if name in current} | set(going)
    for some in batches(list(asked)):
        wanted = any_of(equals(_attribute(one), one) for one in some)
        for dn, entry in connection.search(base, wanted, ("cn", *_ATTRIBUTES)):
            if dn not in ours:
                address = next(iter(_addresses(entry) & set(some)), some[0])
                raise _taken(address, asked[address], dn, name_of(dn, entry))


def _attribute(address: str) -> str:
    return "macAddress" if _MAC.fullmatch(address) else "ipHostNumber"


def _addresses(entry: Entry) -> set[str]:
    return {one.decode("ascii", "replace").lower() for name in _ATTRIBUTES for one in entry.get(name, ())}


def _taken(address: str, name: str, dn: str, owner: str) -> UsageError:
    return UsageError(
        f"{address} can't be assigned to {name}: {owner} has it",
        f"see: gitstate client show {owner}; in LDAP: {dn}",
    )
