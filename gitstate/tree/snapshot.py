"""git's trees to directories with metadata and back: the format of docs/format.md over a store of objects."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache, partial
from typing import Final, NamedTuple, TypeVar

from gitstate.core.entry import FORMAT, Directory, Entry, Kind, Meta, ReadDirectory
from gitstate.core.errors import ConfigError, DamagedError
from gitstate.core.fs import not_regular
from gitstate.core.names import LINKS, RECORDS, display, from_octal, join, octal, real_name, stored_name
from gitstate.store.objects import EXECUTABLE, FILE, GITLINK, SYMLINK, TREE, TreeItem, format_tree, parse_tree
from gitstate.tree.limits import RepeatedEntries, require_possible
from gitstate.tree.manifest import (
    NO_RECORDS,
    Records,
    canonical_head,
    format_directory,
    parse_directory,
    parse_links,
    resolve,
)

ReadObject = Callable[[bytes], bytes]
"""Reads the content of an object by its raw id; raises DamagedError."""

Value = TypeVar("Value")

PLAIN_DIRECTORY: Final = Meta(Kind.DIRECTORY, 0o755, time=0)
EMPTY: Final = Directory(PLAIN_DIRECTORY, {}, {})

_GIT_KINDS: Final = {
    FILE: (Kind.FILE, False),
    0o100664: (Kind.FILE, False),  # written by git before 1.0 and accepted ever since
    EXECUTABLE: (Kind.FILE, True),
    SYMLINK: (Kind.SYMLINK, False),
}
_REGULAR: Final = frozenset(mode for mode, (kind, _) in _GIT_KINDS.items() if kind is Kind.FILE)


class TreeParts(NamedTuple):
    """The items of a git tree by real name, and the ids of gitstate's own two files in it."""

    items: dict[bytes, TreeItem]
    records: bytes | None
    links: bytes | None


def split_tree(tree: bytes, where: bytes) -> TreeParts:
    """Split a tree object's bytes; ``where`` is the directory's path. Raises DamagedError."""
    items: dict[bytes, TreeItem] = {}
    ours: dict[bytes, TreeItem] = {}
    for item in parse_tree(tree):
        is_ours = item.name == RECORDS or (item.name == LINKS and not where)
        kept, name = (ours, item.name) if is_ours else (items, real_name(item.name))
        if name in kept:
            hint = "remove one of them with plain git"
            raise DamagedError(f"/{display(join(where, name))} is twice in its tree", hint)
        if is_ours and item.mode not in _REGULAR:
            raise DamagedError(f"/{display(join(where, name))} is no regular file", "take it from an older commit")
        kept[name] = item
    return TreeParts(items, *(ours[name].oid if name in ours else None for name in (RECORDS, LINKS)))


def read_directory(read: ReadObject, tree: bytes, where: bytes) -> Directory:
    """The directory that the tree object ``tree`` holds at path ``where``. Raises DamagedError."""
    return join_tree(read, split_tree(read(tree), where), where)


class BoundedReader:
    """Reads directories as ``read_directory`` does, of trees that nobody has looked at: a ``ReadDirectory``.

    Raises DamagedError for what no file system can hold, and for a tree that repeats its directories without end.
    """

    def __init__(self, read: ReadObject) -> None:
        self._read = read
        self._repeated = RepeatedEntries()

    def __call__(self, tree: bytes, where: bytes) -> Directory:
        parts = split_tree(self._read(tree), where)
        records = read_records(self._read, parts.records, where)
        self._repeated.count(tree, len(parts.items) + 1)
        if parts.records is not None:
            self._repeated.count(parts.records, len(records.entries))
        directory = _join(parts, records, where)
        require_possible(where, directory)
        return directory


def join_tree(read: ReadObject, parts: TreeParts, where: bytes) -> Directory:
    """The directory at ``where``: its git tree joined with its records. Raises DamagedError."""
    return _join(parts, read_records(read, parts.records, where), where)


def _join(parts: TreeParts, records: Records, where: bytes) -> Directory:
    files: dict[bytes, Entry] = {}
    subdirectories: dict[bytes, bytes] = {}
    for name, item in parts.items.items():
        if item.mode == TREE:
            subdirectories[name] = item.oid
        else:
            files[name] = _entry(name, item, records, where)
    for name, entry in records.entries.items():
        if entry.meta.kind not in (Kind.FILE, Kind.SYMLINK) and name not in parts.items:
            files[name] = entry._replace(oid=b"")
    return Directory(records.own or PLAIN_DIRECTORY, _sorted(files), _sorted(subdirectories))


def _sorted(mapping: dict[bytes, Value]) -> dict[bytes, Value]:
    return dict(sorted(mapping.items()))


def _entry(name: bytes, item: TreeItem, records: Records, where: bytes) -> Entry:
    if item.mode not in _GIT_KINDS:
        what = "a submodule" if item.mode == GITLINK else f"of mode {item.mode:o}"
        hint = "a snapshot holds files, symlinks and directories"
        raise DamagedError(f"/{display(join(where, name))} is {what}", hint)
    kind, executable = _GIT_KINDS[item.mode]
    return resolve(name, kind, executable, item.oid, records)


def read_records(read: ReadObject, oid: bytes | None, where: bytes) -> Records:
    """The records of the directory at ``where``; none for no ``.gitstate``. Raises DamagedError, ConfigError."""
    if oid is None:
        return NO_RECORDS
    return _parse(read(oid), where)


def _parse(text: bytes, where: bytes) -> Records:
    records = parse_directory(text, f"/{display(join(where, RECORDS))}", root=not where)
    if records.version is not None and records.version > FORMAT:
        hint = "install a newer gitstate"
        raise ConfigError(f"the snapshot is of format {records.version}; this gitstate reads format {FORMAT}", hint)
    return records


class Written(NamedTuple):
    """How an entry stands in a directory: the line of its record, and its item in git's tree."""

    line: bytes
    item: TreeItem


NOTHING_WRITTEN: Final[Mapping[bytes, Written]] = {}


def make_directory(
    own: Meta,
    files: Collection[Entry],
    subdirectories: Iterable[tuple[bytes, bytes]],
    *,
    root: bool,
    kept: Mapping[bytes, Written] = NOTHING_WRITTEN,
) -> tuple[bytes, list[TreeItem]]:
    """The ``.gitstate`` of a directory, and the tree's items without it; ``files`` in bytewise order.

    ``kept`` are further files, by name, that stand as they did in another tree.
    """
    items = [
        TreeItem(
            SYMLINK if meta.kind is Kind.SYMLINK else EXECUTABLE if meta.mode & 0o100 else FILE, _stored(name), oid
        )
        for name, meta, oid in files
        if oid
    ]
    items += [TreeItem(TREE, _stored(name), oid) for name, oid in subdirectories]
    items += [written.item for written in kept.values()]
    lines = [(name, written.line) for name, written in kept.items()]
    return format_directory(own, files, root=root, kept=lines), items


_stored = lru_cache(maxsize=65536)(stored_name)


# --- directories of which little is wanted ---------------------------------------------------------------------------

_ITEM: Final = re.compile(rb"([0-7]+) ([^\0]+)\0(.{20})", re.DOTALL)
_WITH_OID: Final = re.compile(rb"^([^ \n]+)( type=link)?(?: (?!type=)[^ \n]+)* oid=([0-9a-f]{8})$", re.MULTILINE)
_NOT_READ: Final = frozenset((RECORDS, LINKS))
_HEADS: Final = frozenset((b"#mtree", b"#gitstate", b"/set", b""))


class RawDirectory:
    """A directory's tree and records in lines: to parse them all is nearly all of the work. Raises DamagedError."""

    def __init__(self, read: ReadObject, tree: bytes, where: bytes) -> None:
        self._where = where
        self._tree = read(tree)
        found = _ITEM.findall(self._tree)
        self.items: dict[bytes, TreeItem] = {name: TreeItem(int(mode, 8), name, oid) for mode, name, oid in found}
        records = self.items.get(RECORDS)
        self._text = read(records.oid) if records is not None and records.mode in _REGULAR else b""
        self._lines = self._text.split(b"\n")
        self._heads = [line.partition(b" ")[0] for line in self._lines]
        self.lines = dict(zip(self._heads, self._lines, strict=True))
        canonical = self._text.startswith(canonical_head(root=not where)) and len(self.lines) == len(self._lines)
        self.is_plain = canonical and sum(22 + len(mode) + len(name) for mode, name, _ in found) == len(self._tree)
        """Whether each line and item has its meaning alone, and no two are for one name."""

    def only(self, names: Iterable[bytes]) -> Directory:
        """The directory with these entries alone, as far as it has them; all of them if it isn't plain."""
        if not self.is_plain:
            return _join(split_tree(self._tree, self._where), self._records(self._text), self._where)
        wanted = set(names)
        heads = {octal(name).encode() for name in wanted} | {b".", *_HEADS}
        stored = {_stored(name) for name in wanted}
        text = b"\n".join([line if head in heads else b"" for head, line in zip(self._heads, self._lines, strict=True)])
        tree = format_tree(item for name, item in self.items.items() if name in stored)
        return _join(split_tree(tree, self._where), self._records(text), self._where)

    def _records(self, text: bytes) -> Records:
        return _parse(text, self._where) if RECORDS in self.items else NO_RECORDS

    def written(self, name: bytes) -> Written | None:
        """What stands in both texts for the file or symlink ``name``, if anything does."""
        line, item = self.lines.get(octal(name).encode()), self.items.get(_stored(name))
        return None if line is None or item is None or item.mode == TREE else Written(line, item)

    def all_written(self, without: Collection[bytes]) -> dict[bytes, Written]:
        """``written`` for all files and symlinks but those ``without``; for a plain directory."""
        named = [
            (real_name(item.name), item)
            for item in self.items.values()
            if item.mode != TREE and item.name not in _NOT_READ
        ]
        return {name: Written(self.lines[octal(name).encode()], item) for name, item in named if name not in without}

    def without_item(self) -> set[bytes]:
        """The names of records that stand alone: devices and fifos, and what has been removed with plain git.

        Raises ValueError for a record's name that is none.
        """
        names = (from_octal(head) for head in self.lines if head not in _HEADS and head != b"." and head[:1] != b"#")
        return {name for name in names if _stored(name) not in self.items}

    def loose(self) -> set[bytes]:
        """The names of entries whose record isn't that of their content: their time is the directory's."""
        recorded = {name: (bool(link), oid) for name, link, oid in _WITH_OID.findall(self._text)}
        return {
            name
            for stored, (mode, _, oid) in self.items.items()
            if mode != TREE and stored not in _NOT_READ
            if recorded.get(octal(name := real_name(stored)).encode()) != (mode == SYMLINK, oid[:4].hex().encode())
        }


def read_different(read: ReadObject, old: bytes, new: bytes, where: bytes) -> tuple[Directory, Directory]:
    """Two directories as ``read_directory`` reads them, most of the files that are equal in both left out.

    Raises DamagedError.
    """
    one, other = RawDirectory(read, old, where), RawDirectory(read, new, where)
    if one.is_plain and other.is_plain:
        with suppress(ValueError):  # a name that is none: whoever parses all says in which line
            names = _differing(one, other)
            return one.only(names), other.only(names)
    return read_directory(read, old, where), read_directory(read, new, where)


def _differing(one: RawDirectory, other: RawDirectory) -> set[bytes]:
    """The names of entries that may differ. Raises ValueError for a record's name that is none."""
    items = {item.name for item in set(one.items.values()) ^ set(other.items.values())}
    heads = {head for head, _ in one.lines.items() ^ other.lines.items() if not head.startswith(b"#")}
    names = {real_name(name) for name in items - _NOT_READ} | {from_octal(head) for head in heads - _HEADS}
    return names | one.loose() | other.loose() if b"." in names else names


# --- hard links -----------------------------------------------------------------------------------------------------


def read_links(read: ReadObject, root: bytes) -> list[tuple[bytes, ...]]:
    """The hard-link groups of the snapshot with root tree ``root`` as recorded. Raises DamagedError."""
    oid = split_tree(read(root), b"").links
    return [] if oid is None else parse_links(read(oid))


def read_different_links(
    read: ReadObject, old: bytes, new: bytes
) -> tuple[list[tuple[bytes, ...]], list[tuple[bytes, ...]]]:
    """``read_links`` of two snapshots by their root trees, without groups that stand in both. Raises DamagedError."""
    oids = [split_tree(read(root), b"").links for root in (old, new)]
    if oids[0] == oids[1]:
        return [], []
    one, other = [frozenset(read(oid).splitlines()) if oid else frozenset() for oid in oids]
    return parse_links(b"\n".join(sorted(one - other))), parse_links(b"\n".join(sorted(other - one)))


def effective_links(read: ReadObject, root: bytes, directory: ReadDirectory | None = None) -> list[tuple[bytes, ...]]:
    """The hard-link groups in effect: only members that exist and have equal blobs and records.

    ``directory`` reads directories, for a caller that caches them.
    """
    recorded = read_links(read, root)
    return alike_groups(Lookup(read, root, directory), recorded) if recorded else []


def alike_groups(look_up: Lookup, recorded: Iterable[tuple[bytes, ...]]) -> list[tuple[bytes, ...]]:
    """Of recorded groups, those in effect in the snapshot of ``look_up``."""
    groups: list[tuple[bytes, ...]] = []
    for group in recorded:
        alike: dict[tuple[Meta, bytes], list[bytes]] = {}
        for path in group:
            entry = look_up(path)
            if entry is not None:
                alike.setdefault((entry.meta, entry.oid), []).append(path)
        groups += [tuple(sorted(members)) for members in alike.values() if len(members) > 1]
    return groups


class Lookup:
    """Entries of one snapshot by path; directories are read once."""

    def __init__(self, read: ReadObject, root: bytes, directory: ReadDirectory | None = None) -> None:
        self._directory = directory or partial(read_directory, read)
        self._known: dict[bytes, Directory | None] = {b"": self._directory(root, b"")}

    def __call__(self, path: bytes) -> Entry | None:
        """The file, symlink, device or fifo at ``path``, None if there is none."""
        parent, _, name = path.rpartition(b"/")
        directory = self.directory(parent)
        return directory.files.get(name) if directory else None

    def regular_file(self, path: bytes) -> bytes | None:
        """The blob of the file ``path``, None if nothing is there.

        Raises ConfigError if something else is there, or no directory on the way to it.
        """
        entry = self(path)
        if entry is not None and entry.meta.kind is Kind.FILE:
            return entry.oid
        place = path
        while place:
            above, _, name = place.rpartition(b"/")
            directory = self.directory(above)
            if directory is not None:
                if name in directory.files or (place == path and name in directory.subdirectories):
                    raise not_regular(f"/{display(path)}")
                return None
            place = above
        return None

    def directory(self, path: bytes) -> Directory | None:
        """The directory at ``path``, None if there is none."""
        if path not in self._known:
            self._known[path] = self._descend(path)
        return self._known[path]

    def _descend(self, path: bytes) -> Directory | None:
        """From the root down, as far as there is something: a path that leads nowhere may be of any length."""
        found, end = self._known[b""], -1
        while found is not None and end < len(path):
            start = end + 1
            end = path.find(b"/", start) if path.find(b"/", start) >= 0 else len(path)
            here = path[:end]
            if here not in self._known:
                tree = found.subdirectories.get(path[start:end])
                if tree is None:
                    return None
                self._known[here] = self._directory(tree, here)
            found = self._known[here]
        return found


# --- walking --------------------------------------------------------------------------------------------------------


def walk(read: ReadDirectory, root: bytes) -> Iterator[tuple[bytes, Directory]]:
    """Every directory of a snapshot with its path, parents first, siblings in bytewise order."""
    stack = [(b"", root)]
    while stack:
        path, tree = stack.pop()
        directory = read(tree, path)
        yield path, directory
        stack.extend(reversed([(join(path, name), oid) for name, oid in directory.subdirectories.items()]))
