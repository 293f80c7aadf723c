"""What a run of a package manager changed, from the lists of installed packages before and after it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Final

from gitstate.core.wording import some_of

_line: Final = re.compile(rb"([A-Za-z0-9][!-~]{0,199}) ([!-~]{1,200})").fullmatch
_NAMED: Final = 3
"""At most this many packages are named in a message's first line."""

Installed = Mapping[str, Set[str]]
"""Package -> its installed versions: of kernels there may be several."""


@dataclass(frozen=True, slots=True)
class Packages:
    """``upgraded`` have their old and their new version; a downgrade is one, too."""

    upgraded: tuple[tuple[str, str, str], ...]
    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]

    def lines(self) -> Iterator[str]:
        """A line for each package."""
        yield from (f"{name} {old} -> {new}" for name, old, new in self.upgraded)
        yield from (f"+{name} {version}" for name, version in self.added)
        yield from (f"-{name} {version}" for name, version in self.removed)

    def summary(self) -> str:
        """All in one line: each by name, if they are few; else upgrades by name, and how many came and went."""
        every = list(self.lines())
        if len(every) <= _NAMED:
            return ", ".join(every) or "no package changed"
        upgrades = some_of(every[: len(self.upgraded)], _NAMED)
        counts = [f"{sign}{len(some)}" for sign, some in (("+", self.added), ("-", self.removed)) if some]
        return ", ".join(filter(None, (upgrades, " ".join(counts))))


def parse(text: bytes) -> Installed:
    """Lines ``NAME VERSION``; whatever is none is left out."""
    found: dict[str, set[str]] = defaultdict(set)
    for match in filter(None, map(_line, text.split(b"\n"))):
        found[match[1].decode()].add(match[2].decode())
    return found


def compare(before: Installed, after: Installed) -> Packages:
    """What has changed, by name."""
    upgraded, added, removed = [], [], []
    for name in sorted(before.keys() | after.keys()):
        had, has = set(before.get(name, ())), set(after.get(name, ()))
        old, new = had - has, has - had
        if len(old) == len(new) == 1:
            upgraded.append((name, old.pop(), new.pop()))
            continue
        added += [(name, version) for version in sorted(new)]
        removed += [(name, version) for version in sorted(old)]
    return Packages(tuple(upgraded), tuple(added), tuple(removed))


def message(program: str, changes: Packages) -> str:
    """The message of the check-in after a run of ``program``: the summary, and all packages if that names not all."""
    first = f"{program}: {changes.summary()}"
    every = list(changes.lines())
    return first if len(every) <= _NAMED else "\n".join([first, "", *every])
