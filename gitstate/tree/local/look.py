"""How a listed file stands: in the prototype's live tree, and in that of the base layer."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from enum import StrEnum

from gitstate.core.errors import NotFoundError
from gitstate.core.fs import DescriptorTree
from gitstate.tree.local.listing import beside, place, target


class State(StrEnum):
    """What stands at a path that should be a link."""

    OK = "ok"
    REPLACED = "replaced"
    """A file: a package has put its new one there, or the link was never made."""
    MISSING = "missing"
    DANGLING = "dangling"
    """The link is right, and leads to nothing."""
    BLOCKED = "blocked"
    """Another link, a directory, or no directory to lead into: nothing that we would replace."""


class Original(StrEnum):
    """What the base layer has of a file."""

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
    """The live trees of a prototype and of the base layer, which may not be there."""

    live: DescriptorTree
    layer: DescriptorTree | None

    @property
    def base(self) -> DescriptorTree:
        """The base layer's. Raises NotFoundError."""
        if self.layer is None:
            raise NotFoundError(
                "there is no layer base, which holds the originals", "gitstate layer create base makes it"
            )
        return self.layer

    def look(self, path: bytes) -> File:
        """How a path stands."""
        state = self._state(path)
        source = path if state is State.REPLACED else place(path)
        return File(path, state, self._original(path, source))

    def _state(self, path: bytes) -> State:
        if not _is_clear(self.live, beside(path)) or not _is_clear(self.live, path.rpartition(b"/")[0]):
            return State.BLOCKED
        found = self.live.lstat(path)
        if found is None:
            return State.MISSING
        if stat.S_ISREG(found.st_mode):
            return State.REPLACED
        if self.live.link_target(path) != target(path):
            return State.BLOCKED
        content = self.live.lstat(place(path))
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
    """Whether a directory stands at ``path`` that we can go into, or nothing."""
    parts = path.split(b"/") if path else []
    for number in range(1, len(parts) + 1):
        above = b"/".join(parts[:number])
        if tree.lstat(above) is None:
            return True
        if not tree.is_directory(above):
            return False
    return True


def same(one: DescriptorTree, path: bytes, other: DescriptorTree, other_path: bytes) -> bool:
    """Whether both are regular files of equal content, owner, mode and attributes; times don't count."""
    first, second = one.meta(path), other.meta(other_path)
    if first is None or second is None or first._replace(time=0) != second._replace(time=0):
        return False
    sizes = [found.st_size for found in (one.lstat(path), other.lstat(other_path)) if found]
    if sizes[0] != sizes[-1]:
        return False
    return all(a == b for a, b in zip(one.pieces(path), other.pieces(other_path), strict=False))
