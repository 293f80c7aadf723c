"""The state of a listed file, in the live trees of the prototype and of the base layer."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from enum import StrEnum

from gitstate.core.errors import NotFoundError
from gitstate.core.fs import DescriptorTree
from gitstate.tree.local.listing import content_path, link_target, local_directory


class State(StrEnum):
    """What is at a path that should be a link."""

    OK = "ok"
    REPLACED = "replaced"
    """By a file: a package has installed a new one, or the link was never made."""
    MISSING = "missing"
    DANGLING = "dangling"
    """The link is correct, but its target is missing."""
    BLOCKED = "blocked"
    """Another link or a directory, which gitstate doesn't replace, or ``local`` is no directory."""


class Original(StrEnum):
    """The base layer's copy of a file, compared with the prototype's."""

    SAME = "same"
    OTHER = "other"
    TEMPLATE = "template"
    NONE = "none"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class File:
    """A file of the list."""

    path: bytes
    state: State
    original: Original


@dataclass(frozen=True, slots=True)
class Trees:
    """The live trees of a prototype and of the base layer, if there is one."""

    live: DescriptorTree
    layer: DescriptorTree | None

    @property
    def base(self) -> DescriptorTree:
        """The base layer's. Raises NotFoundError."""
        if self.layer is None:
            raise NotFoundError("there is no layer base for the originals", "gitstate layer create base")
        return self.layer

    def file(self, path: bytes) -> File:
        """The state of the file at ``path``."""
        state = self._state(path)
        source = path if state is State.REPLACED else content_path(path)
        return File(path, state, self._original(path, source))

    def _state(self, path: bytes) -> State:
        if not _is_clear(self.live, local_directory(path)) or not _is_clear(self.live, path.rpartition(b"/")[0]):
            return State.BLOCKED
        found = self.live.lstat(path)
        if found is None:
            return State.MISSING
        if stat.S_ISREG(found.st_mode):
            return State.REPLACED
        if self.live.link_target(path) != link_target(path):
            return State.BLOCKED
        content = self.live.lstat(content_path(path))
        if content is None:
            return State.DANGLING
        return State.OK if stat.S_ISREG(content.st_mode) else State.BLOCKED

    def _original(self, path: bytes, source: bytes) -> Original:
        if self.layer is None:
            return Original.NONE
        if self.layer.lstat(path + b".j2"):
            return Original.TEMPLATE
        if not _is_clear(self.layer, path.rpartition(b"/")[0]):
            return Original.BLOCKED
        found = self.layer.lstat(path)
        if found is None:
            return Original.NONE
        if not stat.S_ISREG(found.st_mode):
            return Original.BLOCKED
        return Original.SAME if same(self.live, source, self.layer, path) else Original.OTHER


def _is_clear(tree: DescriptorTree, path: bytes) -> bool:
    """Whether ``path`` is a directory, or its first missing parent is below one."""
    parts = path.split(b"/") if path else []
    for number in range(1, len(parts) + 1):
        parent = b"/".join(parts[:number])
        if tree.lstat(parent) is None:
            return True
        if not tree.is_directory(parent):
            return False
    return True


def same(one: DescriptorTree, path: bytes, other: DescriptorTree, other_path: bytes) -> bool:
    """Whether both are regular files with the same content, owner, mode and attributes; times don't count."""
    first, second = one.meta(path), other.meta(other_path)
    if first is None or second is None or first._replace(time=0) != second._replace(time=0):
        return False
    sizes = [found.st_size for found in (one.lstat(path), other.lstat(other_path)) if found]
    if sizes[0] != sizes[-1]:
        return False
    return all(a == b for a, b in zip(one.pieces(path), other.pieces(other_path), strict=False))
