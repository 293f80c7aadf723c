"""What is done to the two trees, each step as one value that can be shown before. Every step is whole or not done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from gitstate.core.fs import DescriptorTree
from gitstate.tree.local.listing import DIRECTORY, LIST, place, target, text
from gitstate.tree.local.look import Trees


class Step(Protocol):
    """One thing to do. ``do`` is its verb; ``where`` the tree: ``prototype`` or ``base``."""

    do: ClassVar[str]
    where: ClassVar[str]

    @property
    def path(self) -> bytes: ...

    def apply(self, trees: Trees) -> None: ...


@dataclass(frozen=True, slots=True)
class CopyToBase:
    """Put the file ``source`` of the prototype into the base layer, at its natural path."""

    do: ClassVar[str] = "copy"
    where: ClassVar[str] = "base"
    path: bytes
    source: bytes

    def apply(self, trees: Trees) -> None:
        _make_above(trees.base, self.path, trees.live)
        _copy(trees.live, self.source, trees.base, self.path)


@dataclass(frozen=True, slots=True)
class CopyFromBase:
    """Put the base layer's file ``source`` into the prototype."""

    do: ClassVar[str] = "copy"
    where: ClassVar[str] = "prototype"
    path: bytes
    source: bytes

    def apply(self, trees: Trees) -> None:
        _copy(trees.base, self.source, trees.live, self.path)


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make the directory ``local``, like the one that it stands in."""

    do: ClassVar[str] = "make"
    where: ClassVar[str] = "prototype"
    path: bytes

    def apply(self, trees: Trees) -> None:
        trees.live.make_like(self.path, trees.live, self.path.rpartition(b"/")[0])


@dataclass(frozen=True, slots=True)
class WriteList:
    """Write the list; a list of nothing goes."""

    do: ClassVar[str] = "write"
    where: ClassVar[str] = "prototype"
    paths: tuple[bytes, ...]

    @property
    def path(self) -> bytes:
        return LIST

    def apply(self, trees: Trees) -> None:
        if self.paths:
            trees.live.write(LIST, text(self.paths), 0o644)
        elif trees.live.lstat(LIST):
            trees.live.remove(LIST)


@dataclass(frozen=True, slots=True)
class Link:
    """Put the link in a file's place. The file itself, not a copy, is then what the link leads to."""

    do: ClassVar[str] = "link"
    where: ClassVar[str] = "prototype"
    path: bytes

    @property
    def target(self) -> bytes:
        """What the link holds."""
        return target(self.path)

    def apply(self, trees: Trees) -> None:
        if trees.live.is_file(self.path):
            trees.live.alias(self.path, place(self.path))
        trees.live.link(self.path, self.target)


@dataclass(frozen=True, slots=True)
class Restore:
    """Put what the link leads to in the link's place."""

    do: ClassVar[str] = "restore"
    where: ClassVar[str] = "prototype"
    path: bytes

    def apply(self, trees: Trees) -> None:
        trees.live.alias(place(self.path), self.path)


@dataclass(frozen=True, slots=True)
class Drop:
    """Remove what no link leads to any more, and a directory ``local`` that is empty then."""

    do: ClassVar[str] = "remove"
    where: ClassVar[str] = "prototype"
    path: bytes

    def apply(self, trees: Trees) -> None:
        if trees.live.lstat(self.path):
            trees.live.remove(self.path)
        above = self.path.rpartition(b"/")[0]
        if above.rpartition(b"/")[2] == DIRECTORY:
            trees.live.remove_empty(above)


def _copy(source: DescriptorTree, old: bytes, other: DescriptorTree, new: bytes) -> None:
    meta = source.meta(old)
    if meta is not None:
        other.put(new, source.pieces(old), meta)


def _make_above(tree: DescriptorTree, path: bytes, model: DescriptorTree) -> None:
    """Make the directories above ``path`` that aren't there, as they are in the model."""
    parts = path.split(b"/")[:-1]
    for number in range(1, len(parts) + 1):
        above = b"/".join(parts[:number])
        tree.make_like(above, model, above)
