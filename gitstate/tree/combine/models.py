"""The data of a merge: its result, and what two sides changed in ways that don't go together."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from gitstate.store.objects import Type
from gitstate.tree.snapshot import ReadObject


class Reason(enum.Enum):
    """Why an entry can't be merged; the values are what people read."""

    CONTENT = "both sides changed its content"
    METADATA = "both sides changed its mode, owner or attributes"
    ADDED = "both sides added it, with different content"
    TYPE = "the sides made different types of it"
    REMOVED = "one side removed it, the other changed it"
    LINKS = "one side linked it, the other changed only some of its names"


class Conflict(NamedTuple):
    """An entry by its raw path, and why it can't be merged."""

    path: bytes
    reason: Reason


class TextMerge(NamedTuple):
    """A merged text; with conflict markers unless ``is_clean``."""

    text: bytes
    is_clean: bool


MergeText = Callable[[bytes, bytes, bytes], TextMerge | None]
"""Merges the contents of a file, in the order base, ours, theirs; None for what is no text."""


@dataclass(frozen=True, slots=True)
class MergedTree:
    """The root tree of a merge. With ``conflicts`` (sorted by path) it is for showing alone.

    In a conflict it has our entry, and conflict markers in a text. ``objects`` are those that only the merge has, by
    id.
    """

    tree: bytes
    conflicts: tuple[Conflict, ...] = ()
    objects: Mapping[bytes, tuple[Type, bytes]] = field(default_factory=dict)

    def reader(self, read: ReadObject) -> ReadObject:
        """A reader of the merge's objects besides those that ``read`` has."""

        def read_either(oid: bytes) -> bytes:
            return self.objects[oid][1] if oid in self.objects else read(oid)

        return read_either
