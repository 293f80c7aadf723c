"""Hard links between and within exports: what may be linked from the nearest, and what belongs together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gitstate import fs
from gitstate.names import join

Refused = Callable[[OSError, bytes, bytes, int, int], None]
"""Told of a link that can't be: why, the directory's path, the name, where to and where from."""


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


# --- a whole tree ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Level:
    """A directory on the way down: ``new`` is being made, ``old`` linked from."""

    path: bytes
    new: int
    old: int
    pending: list[bytes] = field(default_factory=list)

    def close(self) -> None:
        fs.close(self.new)
        fs.close(self.old)


def link_tree(path: bytes, new: int, old: int, refused: Refused, made: Callable[[int], None]) -> int:
    """Make the empty directory ``new`` all that ``old`` is, by links, and close both; how many directories it took.

    ``refused`` is told of a link that can't be, ``made`` of a directory's links. Raises OSError.

    Most of an export goes through here: git isn't asked, and most of the time is the kernel's, for linkat(2).
    """
    directories = 0
    levels = [_Level(path, new, old)]
    try:
        made(_link_files(levels[-1], refused))
        while levels:
            level = levels[-1]
            if level.pending:
                name = level.pending.pop()
                source = fs.open_directory(name, level.old)
                levels.append(_Level(join(level.path, name), fs.make_directory(name, level.new), source))
                made(_link_files(levels[-1], refused))
            else:
                fs.seal_like(level.new, level.old)
                levels.pop().close()
                directories += 1
    finally:
        for level in levels:
            level.close()
    return directories


def _link_files(level: _Level, refused: Refused) -> int:
    """Link everything but the subdirectories, which are pending then; how many."""
    linked = 0
    with os.scandir(level.old) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                level.pending.append(os.fsencode(entry.name))
                continue
            try:
                os.link(entry.name, entry.name, src_dir_fd=level.old, dst_dir_fd=level.new, follow_symlinks=False)
            except OSError as error:
                refused(error, level.path, os.fsencode(entry.name), level.new, level.old)
            else:
                linked += 1
    return linked
