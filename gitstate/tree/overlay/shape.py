"""Which paths of a snapshot still show through an upper directory, and where. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from gitstate.core.names import join, octal
from gitstate.tree.manifest import format_links, parse_links

_SEARCHED: Final = 1 << 24
"""Bytes to be searched from which on it is cheaper to parse all groups."""


@dataclass(slots=True)
class Shape:
    """A directory of an upper directory: ``path`` in the overlay, ``lower`` what it lies over, None for nothing.

    ``names`` are the entries that it has itself, with the shape of each that is a directory, None for all others.
    """

    path: bytes = b""
    lower: bytes | None = b""
    names: dict[bytes, Shape | None] = field(default_factory=dict)

    def hidden(self) -> Iterator[bytes]:
        """Paths of the snapshot that don't show where they were, without those below them."""
        todo = [self]
        while todo:
            here = todo.pop()
            for name, below in here.names.items():
                if below is not None:
                    todo.append(below)
                if here.lower is not None and (below is None or below.lower != join(here.lower, name)):
                    yield join(here.lower, name)

    def moved(self) -> Iterator[Shape]:
        """Directories that lie over another path than their own."""
        todo = [self]
        while todo:
            here = todo.pop()
            for name, below in here.names.items():
                if below is not None:
                    todo.append(below)
                    over = None if here.lower is None else join(here.lower, name)
                    if below.lower is not None and below.lower != over:
                        yield below

    def place(self, path: bytes) -> bytes | None:
        """Where the entry ``path`` of what lies below, from there, shows; None if it doesn't."""
        here, rest = self, path
        while True:
            name, slash, deeper = rest.partition(b"/")
            if name not in here.names:
                return join(here.path, rest)
            below = here.names[name]
            if not slash or below is None or here.lower is None or below.lower != join(here.lower, name):
                return None
            here, rest = below, deeper


def merged_links(text: bytes, root: Shape, fresh: Iterable[Iterable[bytes]]) -> bytes:
    """The ``.gitstate-links`` of the overlay: the groups of the snapshot below in ``text``, as far as they show, and
    those of the upper directory, ``fresh``. Raises DamagedError.
    """
    new = [list(group) for group in fresh]
    moved = list(root.moved())
    hidden = list(root.hidden())
    if not new and not moved and not _may_concern(text, hidden):
        return text
    groups = [sorted({place for path in group for place in _places(path, root, moved)}) for group in parse_links(text)]
    return format_links([group for group in [*groups, *new] if len(group) > 1])


def _may_concern(text: bytes, hidden: list[bytes]) -> bool:
    if not text:
        return False
    return len(hidden) * len(text) > _SEARCHED or any(octal(path).encode() in text for path in hidden)


def _places(path: bytes, root: Shape, moved: list[Shape]) -> Iterator[bytes]:
    place = root.place(path)
    if place is not None:
        yield place
    for shape in moved:
        assert shape.lower is not None
        if path.startswith(shape.lower + b"/"):
            place = shape.place(path[len(shape.lower) + 1 :])
            if place is not None:
                yield place
