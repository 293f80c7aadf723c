"""Hard-link groups of an export, compared with those of the nearest export."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LinkGroups:
    """The hard-link group of each path, the paths that can't be linked from the old export, and their ancestors.

    The members of a group that the old export has unchanged are linked one by one, like any other file.
    """

    by_path: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    unlinkable: frozenset[bytes] = frozenset()
    ancestors: frozenset[bytes] = frozenset()


def compare_groups(new: Iterable[tuple[bytes, ...]], old: Iterable[tuple[bytes, ...]]) -> LinkGroups:
    """The groups ``new`` of a snapshot whose nearest export has the groups ``old``."""
    now, before = set(new), set(old)
    unlinkable = frozenset(path for group in before ^ now for path in group)
    ancestors: set[bytes] = set()
    for path in unlinkable:
        parent = path
        while parent:
            parent = parent.rpartition(b"/")[0]
            ancestors.add(parent)
    return LinkGroups({path: group for group in now for path in group}, unlinkable, frozenset(ancestors))
