"""The data of an export: where it links from, what it has done, and what is under way."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gitstate.core.entry import Entry, Meta


@dataclass(frozen=True, slots=True)
class NearestExport:
    """An existing export to share files with: its directory and its snapshot's commit and root tree.

    ``linkable``: files may be hard-linked from it; otherwise only cloned (reflinks), as the user may change the copy.
    """

    path: Path
    commit: bytes
    tree: bytes
    linkable: bool = True


@dataclass(slots=True)
class Counts:
    """What an export has made: entries by how, the bytes written, and how many times the file system didn't keep."""

    linked: int = 0
    cloned: int = 0
    written: int = 0
    directories: int = 0
    bytes: int = 0
    inexact_times: int = 0


@dataclass(slots=True)
class Frame:
    """A directory being made: ``new`` and ``old`` are descriptors, ``old`` -1 where the old export has none."""

    path: bytes
    new: int
    old: int
    own: Meta
    pending: list[tuple[bytes, bytes, bytes | None]]
    waiting: int = 0

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self.new)
        if self.old >= 0:
            os.close(self.old)


class EntryTask(NamedTuple):
    """An entry for a thread to make; ``source`` is a directory with a file of the same name and content, or -1."""

    frame: Frame
    entry: Entry
    source: int


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
