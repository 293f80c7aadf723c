"""Compare two snapshots: an ordered walk of both that skips equal trees."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, TypeAlias

from gitstate.core.entry import Directory, Entry, Kind, Meta, ReadDirectory
from gitstate.core.names import display, join


@dataclass(frozen=True, slots=True)
class Added:
    """An entry that only the new snapshot has."""

    path: bytes
    meta: Meta

    letter: ClassVar[str] = "A"
    is_time_only: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Removed:
    """An entry that only the old snapshot has."""

    path: bytes
    meta: Meta

    letter: ClassVar[str] = "D"
    is_time_only: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Modified:
    """An entry that both have. ``content``: its blob differs (never for a directory, whose entries differ)."""

    path: bytes
    old: Meta
    new: Meta
    content: bool

    @property
    def letter(self) -> str:
        """git's status letter: T where the type has changed, else M."""
        return "M" if self.old.kind is self.new.kind else "T"

    @property
    def is_time_only(self) -> bool:
        """Whether only the modification time differs."""
        return not self.content and self.old._replace(time=None) == self.new._replace(time=None)


Change: TypeAlias = Added | Removed | Modified
ReadPair = Callable[[bytes, bytes, bytes], tuple[Directory, Directory]]
"""Reads a directory of two snapshots: old and new tree id, and its path; may leave out files that are equal."""


# --- walking ------------------------------------------------------------------------------------------------


class _DirectoryPair(NamedTuple):
    """A directory in both snapshots, to be compared."""

    path: bytes
    old: Directory
    new: Directory


_ABSENT: Final = Directory(Meta(Kind.DIRECTORY, 0), {}, {})


def compare(
    read: ReadDirectory,
    old: bytes | None,
    new: bytes | None,
    *,
    within: Callable[[bytes], bool] = lambda path: True,
    read_pair: ReadPair | None = None,
) -> Iterator[Change]:
    """The changes from root tree ``old`` to ``new`` (None: empty), in bytewise order of paths.

    So a directory comes before its contents. Equal trees are not read. Paths for which ``within`` is false are left
    out, with everything below them. ``read_pair`` reads a directory that both have, perhaps without what is equal.
    """
    if old == new:
        return
    readers = _Readers(read, read_pair)
    top = readers.open(b"", old, new)
    yield from _difference(b"", _own(top.old), _own(top.new))
    stack = [_inside(readers, top, within)]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
        elif isinstance(step, _DirectoryPair):
            stack.append(_inside(readers, step, within))
        else:
            yield step


class _Readers(NamedTuple):
    single: ReadDirectory
    pair: ReadPair | None

    def open(self, path: bytes, old: bytes | None, new: bytes | None) -> _DirectoryPair:
        """A directory in both snapshots."""
        if self.pair and old and new:
            return _DirectoryPair(path, *self.pair(old, new, path))
        read = self.single
        return _DirectoryPair(path, read(old, path) if old else _ABSENT, read(new, path) if new else _ABSENT)


def _inside(
    readers: _Readers, pair: _DirectoryPair, within: Callable[[bytes], bool]
) -> Iterator[Change | _DirectoryPair]:
    """The changes in one directory, and its subdirectories: ``etc`` sorts as ``etc/``, behind ``etc-old``."""
    path, old, new = pair
    files = {name for name, entry in new.files.items() if old.files.get(name) != entry}
    files |= old.files.keys() - new.files.keys()
    directories = {name for name, _ in old.subdirectories.items() ^ new.subdirectories.items()}
    opened: dict[bytes, _DirectoryPair] = {}
    for key in sorted(files | directories | {name + b"/" for name in directories}):
        if key.endswith(b"/"):
            if below := opened.pop(key[:-1], None):
                yield below
        elif within(where := join(path, key)):
            before, after = old.files.get(key), new.files.get(key)
            if key in directories:
                below = readers.open(where, old.subdirectories.get(key), new.subdirectories.get(key))
                opened[key] = below
                before, after = before or _own(below.old), after or _own(below.new)
            yield from _difference(where, before, after)


def _own(directory: Directory) -> Entry | None:
    return None if directory is _ABSENT else Entry(b"", directory.own)


def _difference(path: bytes, old: Entry | None, new: Entry | None) -> Iterator[Change]:
    if old is None and new is not None:
        yield Added(path, new.meta)
    elif new is None and old is not None:
        yield Removed(path, old.meta)
    elif old is not None and new is not None and (old.meta, old.oid) != (new.meta, new.oid):
        yield Modified(path, old.meta, new.meta, old.oid != new.oid)


# --- hard links ---------------------------------------------------------------------------------------------


_Group = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class LinksChanged:
    """A hard-link group that was joined from ``parts``, or split into them."""

    joined: bool
    parts: tuple[_Group, ...]

    @property
    def words(self) -> str:
        """``a = b + c``: c was joined to a and b, one file before; ``a | b``: no longer one file."""
        return (" + " if self.joined else " | ").join(
            " = ".join(display(path, word=True) for path in part) for part in self.parts
        )

    def __str__(self) -> str:
        return f"hard links {'joined' if self.joined else 'split'}: {self.words}"


Groups = Iterable[Iterable[bytes]]


def compare_links(old: Groups, new: Groups) -> list[LinksChanged]:
    """The changes of hard-link groups, sorted: first joined, then split ones."""
    before, after = [tuple(sorted(group)) for group in old], [tuple(sorted(group)) for group in new]
    joined = [LinksChanged(True, parts) for parts in _parts(after, before)]
    return joined + [LinksChanged(False, parts) for parts in _parts(before, after)]


def _parts(groups: list[_Group], others: list[_Group]) -> list[tuple[_Group, ...]]:
    """Those of ``groups`` that aren't one group in ``others``, split as they are there."""
    home = {path: group[0] for group in others for path in group}
    found = []
    for group in groups:
        parts: dict[bytes, list[bytes]] = {}
        for path in group:
            parts.setdefault(home.get(path, path), []).append(path)
        if len(parts) > 1:
            found.append(tuple(sorted(map(tuple, parts.values()))))
    return sorted(found)
