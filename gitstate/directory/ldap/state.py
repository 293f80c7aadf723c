"""Which entries one object has read from the directory, and their change sequence numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gitstate.core.errors import ConfigError
from gitstate.directory.ldap.connection import SearchResult
from gitstate.directory.ldap.entry_mappings import name_of

CSN = "entryCSN"
"""The server's change sequence number of an entry."""


@dataclass(frozen=True, slots=True)
class State:
    """Change sequence numbers by DN."""

    csns: Mapping[str, str]
    others: Mapping[str, str] = field(default_factory=dict)
    """The same for channels and hardware classes."""

    @property
    def revision(self) -> str:
        """Return an id that differs after any change; empty for an empty directory."""
        if not self.csns and not self.others:
            return ""
        lines = sorted(f"{dn}\n{csn}\n" for dn, csn in [*self.csns.items(), *self.others.items()])
        return hashlib.sha1("".join(lines).encode(), usedforsecurity=False).hexdigest()

    def after(self, gone: Iterable[str], new: Iterable[SearchResult]) -> State:
        """Return the state without the entries ``gone`` and with those of ``new``."""
        dropped = set(gone)
        kept = {dn: csn for dn, csn in self.csns.items() if dn not in dropped}
        return State({**kept, **take_csns(new)}, self.others)


def take_csns(rows: Iterable[SearchResult]) -> dict[str, str]:
    """Return the entries' change sequence numbers and remove them from the entries."""
    return {dn: entry.pop(CSN, [b""])[0].decode() for dn, entry in rows}


def by_name(uri: str, rows: Iterable[tuple[str, Mapping[str, list[bytes]]]]) -> dict[str, str]:
    """Return the DN of each host by name. Raises ConfigError if two hosts have one name."""
    found: dict[str, str] = {}
    for dn, entry in rows:
        name = name_of(dn, entry)
        if found.setdefault(name, dn) != dn:
            raise ConfigError(f"{uri}: two entries are {name}: {found[name]} and {dn}", "rename or remove one of them")
    return found
