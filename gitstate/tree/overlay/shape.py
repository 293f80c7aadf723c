"""Which paths of a snapshot still show through an upper directory, and where. Pure."""

from __future__ import annotations

from bisect import insort
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


def merged_links(text: bytes, root: Shape, fresh: Iterable[list[bytes]]) -> bytes:
    """The ``.gitstate-links`` of the overlay, of the snapshot's ``text`` and the upper directory's groups, ``fresh``.

    Lines that the upper directory has nothing to do with aren't parsed. Raises DamagedError.
    """
    moved, plain = list(root.moved()), text.endswith(b"\n") and b"\n#" not in text and text[:1] != b"#"
    paths = [octal(path).encode() for path in (*root.hidden(), *_lowers(moved))]
    concerned = _concerned(text, paths) if plain else text.splitlines()
    groups = [sorted({*_places(group, root, moved)}) for group in parse_links(b"\n".join(concerned))]
    new = [sorted(group) for group in [*groups, *fresh] if len(group) > 1]
    if not concerned and not new:
        return text
    gone = frozenset(concerned)
    lines = [line for line in text.splitlines() if line not in gone]
    if len(new) > len(lines):
        return format_links([*parse_links(b"\n".join(lines)), *new])
    for group in new:
        insort(lines, format_links([group]).rstrip(b"\n"), key=_group)
    return b"".join([line + b"\n" for line in lines])


def _group(line: bytes) -> list[bytes]:
    """What lines are sorted by. Raises DamagedError."""
    return list(parse_links(line)[0])


def _lowers(moved: Iterable[Shape]) -> Iterator[bytes]:
    return (shape.lower for shape in moved if shape.lower is not None)


def _concerned(text: bytes, paths: list[bytes]) -> list[bytes]:
    """The lines that may hold one of ``paths``, or a path below one."""
    if len(paths) * len(text) > _SEARCHED:
        return text.splitlines()
    found = {}
    for path in paths:
        place = text.find(path)
        while place >= 0:
            start, end = text.rfind(b"\n", 0, place) + 1, text.find(b"\n", place)
            found[start] = text[start:end]
            place = text.find(path, end)
    return [found[start] for start in sorted(found)]


def _places(group: Iterable[bytes], root: Shape, moved: list[Shape]) -> Iterator[bytes]:
    """Where the paths of the snapshot show in the overlay."""
    for path in group:
        places = [root.place(path)]
        for shape in moved:
            if shape.lower is not None and path.startswith(shape.lower + b"/"):
                places.append(shape.place(path[len(shape.lower) + 1 :]))
        yield from (place for place in places if place is not None)
