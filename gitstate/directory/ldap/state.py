"""What entries there are and how new they are: what one object has seen of the directory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gitstate.core.errors import ConfigError
from gitstate.directory.ldap.connection import SearchResult
from gitstate.directory.ldap.entry_mappings import name_of

CSN = "entryCSN"
"""The server's own mark of an entry's last change."""


@dataclass(frozen=True, slots=True)
class State:
    """Entries by their place in the tree, with the marks of their last change."""

    csns: Mapping[str, str]
    others: Mapping[str, str] = field(default_factory=dict)
    """The same for channels and hardware classes."""

    @property
    def revision(self) -> str:
        """Another one after any change; empty where there is nothing."""
        if not self.csns and not self.others:
            return ""
        lines = sorted(f"{dn}\n{csn}\n" for dn, csn in [*self.csns.items(), *self.others.items()])
        return hashlib.sha1("".join(lines).encode(), usedforsecurity=False).hexdigest()

    def after(self, gone: Iterable[str], new: Iterable[SearchResult]) -> State:
        """When these are gone, and those have changed."""
        dropped = set(gone)
        kept = {dn: csn for dn, csn in self.csns.items() if dn not in dropped}
        return State({**kept, **take_csns(new)}, self.others)


def take_csns(rows: Iterable[SearchResult]) -> dict[str, str]:
    """The marks of entries, which are taken out of them."""
    return {dn: entry.pop(CSN, [b""])[0].decode() for dn, entry in rows}


def by_name(uri: str, rows: Iterable[tuple[str, Mapping[str, list[bytes]]]]) -> dict[str, str]:
    """Where the host of each name stands. Raises ConfigError if two have one name."""
    found: dict[str, str] = {}
    for dn, entry in rows:
        name = name_of(dn, entry)
        if found.setdefault(name, dn) != dn:
            raise ConfigError(f"{uri}: two entries are {name}: {found[name]} and {dn}", "rename or remove one of them")
    return found
