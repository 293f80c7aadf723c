"""The data of a restore: what is asked for, what it will take, and what was done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from gitstate.core.entry import Entry, Meta
from gitstate.store import Repository
from gitstate.tree.history.arguments import Paths
from gitstate.tree.snapshot import ReadObject


@dataclass(frozen=True, slots=True)
class Request:
    """Make ``paths`` (none: everything) of a live tree as they are in the root tree ``target``.

    ``source`` reads its objects. What no snapshot has, neither ``target`` nor the one that the live tree was last
    recorded as, is removed only with ``delete``.
    """

    source: Repository
    live: Path
    target: bytes
    paths: Paths = field(default_factory=Paths)
    delete: bool = False


class EntryStep(NamedTuple):
    """An entry to be made in an existing directory; ``in_place``: its content is right, and its metadata can be set."""

    path: bytes
    entry: Entry
    in_place: bool = False


class TreeStep(NamedTuple):
    """A directory to be made with all that is in it."""

    path: bytes
    tree: bytes


@dataclass(slots=True)
class Steps:
    """What a restore will do, in this order. Paths are raw.

    ``parents`` are directories made for the sake of what is in them, ``trees`` those made with all that is in them.
    ``directories``: metadata of directories that stand. ``times``: those of directories outside the paths that are
    asked for, of which the time alone is set, where it isn't to stay.
    """

    removals: list[bytes] = field(default_factory=list)
    parents: list[tuple[bytes, Meta]] = field(default_factory=list)
    entries: list[EntryStep] = field(default_factory=list)
    trees: list[TreeStep] = field(default_factory=list)
    directories: dict[bytes, Meta] = field(default_factory=dict)
    times: dict[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a restore will do.

    ``read`` reads the live tree as scanned (root tree ``tree``) and the target. Nothing newer than ``since``, in
    nanoseconds, is sure to be as scanned; what is ``unread`` was never. ``groups`` are the hard-link groups to hold, of
    which ``ready`` paths stand already. ``kept`` are new entries that no snapshot has; ``skipped`` what is left alone,
    with the reason.
    """

    request: Request
    read: ReadObject
    tree: bytes
    since: int
    unread: frozenset[bytes]
    steps: Steps
    groups: Mapping[bytes, tuple[bytes, ...]]
    ready: frozenset[bytes]
    kept: tuple[bytes, ...]
    skipped: tuple[tuple[bytes, str], ...]
    selinux: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        steps = self.steps
        return not (steps.removals or steps.parents or steps.entries or steps.trees or steps.directories)


@dataclass(slots=True)
class Counts:
    """What a restore has done: entries written, linked to another name, of which the metadata was set, and removed."""

    written: int = 0
    linked: int = 0
    metadata: int = 0
    removed: int = 0
    left: list[tuple[bytes, str]] = field(default_factory=list)
    """What couldn't be done without losing something that isn't recorded, and why."""
    bytes: int = 0
    unfinished: bool = False
    """Whether an entry isn't as in the target: somebody edited it since the scan, or something holds it."""
