"""Netgroups as the LDAP server has them (nisNetgroup, RFC 2307), those that they include expanded."""

from __future__ import annotations

from typing import Final

from gitstate.core.errors import NotFoundError
from gitstate.directory.ldap.connection import Connection
from gitstate.directory.ldap.entry_mappings import equals
from gitstate.directory.netgroups import hosts_of_triples, netgroup_name

_CLASS: Final = "(objectClass=nisNetgroup)"


def hosts(connection: Connection, base: str, name: str) -> list[str]:
    """The short names of a netgroup's machines, sorted.

    Raises NotFoundError, UsageError for one that holds any machine.
    """
    triples: list[str] = []
    seen: set[str] = set()
    waiting = [netgroup_name(name)]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        rows = connection.search(base, f"(&{_CLASS}{equals('cn', one)})", ("nisNetgroupTriple", "memberNisNetgroup"))
        if not rows:
            whose = f", which {name} includes" if one != name else ""
            raise NotFoundError(f"no netgroup {one}{whose}", f"netgroups are looked for below {base}")
        for _, entry in rows:
            triples += [value.decode("utf-8", "replace") for value in entry.get("nisNetgroupTriple", ())]
            waiting += [value.decode("utf-8", "replace") for value in entry.get("memberNisNetgroup", ())]
    return hosts_of_triples(name, triples)
