"""Hard links between and within exports: what may be linked from the nearest, and what belongs together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Groups:
    """Hard links of the new snapshot: each member's group, and the paths that must not be linked from the old export.

    A group that the old export has exactly so links member by member like any other file.
    """

    of: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    unlinkable: frozenset[bytes] = frozenset()
    above: frozenset[bytes] = frozenset()


def compare_groups(new: Iterable[tuple[bytes, ...]], old: Iterable[tuple[bytes, ...]]) -> Groups:
    """The groups of a snapshot whose nearest export has the groups ``old``."""
    now, before = set(new), set(old)
    unlinkable = frozenset(path for group in before ^ now for path in group)
    above: set[bytes] = set()
    for path in unlinkable:
        parent = path
        while parent:
            parent = parent.rpartition(b"/")[0]
            above.add(parent)
    return Groups({path: group for group in now for path in group}, unlinkable, frozenset(above))
