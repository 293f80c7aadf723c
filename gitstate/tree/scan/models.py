"""The data of a scan: the base snapshot, the result, and a directory under way."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gitstate.core.entry import Entry, Meta
from gitstate.tree.policy import Refusal
from gitstate.tree.scan.cache import Row
from gitstate.tree.snapshot import ReadObject, TreeParts, Written


@dataclass(frozen=True, slots=True)
class BaseSnapshot:
    """The snapshot that a live tree was last recorded as; ``tree`` None before the first check-in.

    ``has_object``: whether the repository has an object at all, reachable or not; cheap.
    """

    read: ReadObject
    has_object: Callable[[bytes], bool]
    tree: bytes | None = None


@dataclass(slots=True)
class Findings:
    """What a scan reports besides the tree. Paths are raw; ``unrecorded`` holds ``(path, why)``.

    ``own_data``: where the site itself lies in the live tree, of which only mode and owner are recorded.
    """

    entries: int = 0
    bytes_read: int = 0
    unrecorded: list[tuple[bytes, str]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    sockets: list[bytes] = field(default_factory=list)
    mounts: list[bytes] = field(default_factory=list)
    own_data: list[bytes] = field(default_factory=list)

    def sort(self) -> None:
        """Sort by path: threads report in any order."""
        self.refusals.sort(key=lambda refusal: refusal.path)
        for found in (self.unrecorded, self.sockets, self.mounts):
            found.sort()


@dataclass(frozen=True, slots=True)
class Scan:
    """The root tree of a live tree; ``rows`` is the new stat cache, None on file systems where none can be trusted."""

    tree: bytes
    findings: Findings
    rows: list[tuple[bytes, Row]] | None


@dataclass(slots=True)
class Frame:
    """A directory being recorded.

    ``base`` is its tree in the base snapshot, ``parts`` that tree split, once needed. ``row`` is its cached row if it
    is clean, ``own`` its metadata if it is dirty; ``kept`` are files that look as cached, ``entries`` all others.
    ``children`` maps finished subdirectories to tree ids; ``waiting`` counts what isn't finished: the walk through it,
    files that threads read, subdirectories.
    """

    path: bytes
    name: bytes
    parent: Frame | None
    descriptor: int
    base: bytes | None
    status: os.stat_result
    packed: bytes
    row: Row | None
    pending: list[bytes] = field(default_factory=list)
    parts: TreeParts | None = None
    own: Meta | None = None
    entries: list[Entry] = field(default_factory=list)
    kept: Mapping[bytes, Written] = field(default_factory=dict)
    children: dict[bytes, bytes] = field(default_factory=dict)
    untrusted: list[bytes] = field(default_factory=list)
    waiting: int = 1
    child_vanished: bool = False
