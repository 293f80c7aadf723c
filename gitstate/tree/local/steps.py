"""The steps that change the two trees, as values: a plan can be printed before it is applied. Each is atomic."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from gitstate.core.fs import DescriptorTree
from gitstate.tree.local.listing import DIRECTORY, content_path, link_target, text
from gitstate.tree.local.state import Trees


@dataclass(frozen=True, slots=True)
class Step(ABC):
    """One step in the live tree ``tree``: of the ``prototype`` or of ``base``."""

    action: ClassVar[str]
    tree: ClassVar[str] = "prototype"
    path: bytes

    @abstractmethod
    def apply(self, trees: Trees) -> None: ...


@dataclass(frozen=True, slots=True)
class CopyToBase(Step):
    """Copy the prototype's file ``source`` to ``path`` in the base layer."""

    action: ClassVar[str] = "copy"
    tree: ClassVar[str] = "base"
    source: bytes

    def apply(self, trees: Trees) -> None:
        _make_parents(trees.base, self.path, trees.live)
        _copy(trees.live, self.source, trees.base, self.path)


@dataclass(frozen=True, slots=True)
class CopyFromBase(Step):
    """Copy the base layer's file ``source`` to ``path`` in the prototype."""

    action: ClassVar[str] = "copy"
    source: bytes

    def apply(self, trees: Trees) -> None:
        _copy(trees.base, self.source, trees.live, self.path)


@dataclass(frozen=True, slots=True)
class MakeDirectory(Step):
    """Make a directory ``local`` with the metadata of its parent."""

    action: ClassVar[str] = "make"

    def apply(self, trees: Trees) -> None:
        trees.live.make_like(self.path, trees.live, self.path.rpartition(b"/")[0])


@dataclass(frozen=True, slots=True)
class WriteList(Step):
    """Write the list, or remove it if it is empty."""

    action: ClassVar[str] = "write"
    paths: tuple[bytes, ...]

    def apply(self, trees: Trees) -> None:
        if self.paths:
            trees.live.write(self.path, text(self.paths), 0o644)
        elif trees.live.lstat(self.path):
            trees.live.remove(self.path)


@dataclass(frozen=True, slots=True)
class Link(Step):
    """Replace a file by a link, and move the file itself to the link's target."""

    action: ClassVar[str] = "link"

    @property
    def target(self) -> bytes:
        """The target of the link."""
        return link_target(self.path)

    def apply(self, trees: Trees) -> None:
        if trees.live.is_file(self.path):
            trees.live.alias(self.path, content_path(self.path))
        trees.live.link(self.path, self.target)


@dataclass(frozen=True, slots=True)
class Restore(Step):
    """Replace a link by its target."""

    action: ClassVar[str] = "restore"

    def apply(self, trees: Trees) -> None:
        trees.live.alias(content_path(self.path), self.path)


@dataclass(frozen=True, slots=True)
class Remove(Step):
    """Remove what is no link's target any more, and then an empty directory ``local``."""

    action: ClassVar[str] = "remove"

    def apply(self, trees: Trees) -> None:
        if trees.live.lstat(self.path):
            trees.live.remove(self.path)
        parent = self.path.rpartition(b"/")[0]
        if parent.rpartition(b"/")[2] == DIRECTORY:
            trees.live.remove_empty(parent)


def _copy(source: DescriptorTree, old: bytes, other: DescriptorTree, new: bytes) -> None:
    meta = source.meta(old)
    if meta is not None:
        other.put(new, source.pieces(old), meta)


def _make_parents(tree: DescriptorTree, path: bytes, model: DescriptorTree) -> None:
    """Make missing parents of ``path``, like those of the model."""
    parts = path.split(b"/")[:-1]
    for number in range(1, len(parts) + 1):
        parent = b"/".join(parts[:number])
        tree.make_like(parent, model, parent)
