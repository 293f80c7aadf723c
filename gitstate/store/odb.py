"""Every object that a repository can read: its own, those of alternates, and those of a quarantine or a preview."""

from __future__ import annotations

import os
import re
import threading
import zlib
from collections.abc import Iterator
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from gitstate.core import fs, git, process
from gitstate.core.errors import DamagedError
from gitstate.store.deltas import Bases, read_delta, size_of_delta
from gitstate.store.objects import TreeItem, Type, object_id, parse_tree, tagged
from gitstate.store.reader import Pack, Whole, is_version_1

_DEEPEST: Final = 5  # git follows alternates of alternates no further
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\["\\])*)"')


class ObjectDirectory:
    """The packs and loose objects below one ``objects`` directory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._packs: list[Pack] = []
        self._lock = threading.Lock()
        self._seen = -1

    def find(self, oid: bytes) -> tuple[Pack, int] | None:
        """The pack that holds ``oid``, and its place in that pack's index; None if no pack has it."""
        packs = self._packs
        for pack in packs:
            place = pack.find(oid)
            if place is not None:
                return pack, place
        return self.find(oid) if self._has_more(packs) else None

    def _has_more(self, packs: list[Pack]) -> bool:
        """Open what is new; False if ``packs`` are all. Old ones stay open, so a repack takes nothing away from us."""
        directory = self.path / "pack"
        with self._lock:
            if self._packs is not packs:  # another thread has opened them
                return True
            changed_at = directory.stat().st_mtime_ns if fs.has_directory(directory) else -1
            if changed_at == self._seen:
                return False
            self._seen = changed_at
            known = {pack.path for pack in self._packs}
            fresh = []
            for index in (directory / name for name in fs.list_names(directory) if name.endswith(".idx")):
                if index.with_suffix(".pack") in known:
                    continue
                try:
                    _renew_index(index)
                    fresh.append(Pack(index))
                except FileNotFoundError:  # repacked this moment
                    self._seen = -1
                except ValueError as error:
                    raise DamagedError(f"{index.name}: {error}", "run: gitstate fsck") from None
            self._packs = [*fresh, *self._packs]
            return bool(fresh)

    def alternates(self) -> list[Path]:
        """The further object directories that ``info/alternates`` names (gitrepository-layout(5))."""
        try:
            lines = (self.path / "info" / "alternates").read_bytes().splitlines()
        except FileNotFoundError:
            return []
        quoted = [(line, _QUOTED.fullmatch(line)) for line in lines if line and not line.startswith(b"#")]
        names = [re.sub(rb"\\(.)", rb"\1", found[1]) if found else line for line, found in quoted]
        return [self.path / os.fsdecode(name) for name in names]


def _renew_index(index: Path) -> None:
    """Replace an index of version 1, which git writes where ``pack.indexVersion`` says so, by one of version 2.

    It lacks the entries' checksums; git computes them. Raises FileNotFoundError if it has gone meanwhile, HostError if
    it can't be written, DamagedError if the pack is damaged.
    """
    if not is_version_1(index):
        return
    fresh = index.with_name(f"tmp_idx_{os.getpid()}")  # a name that git's own clean-up knows
    words = ("index-pack", "--index-version=2", "-o", str(fresh), str(index.with_suffix(".pack")))
    try:
        process.run(git.command(*words, config={"pack.writeReverseIndex": "false"}))
        os.rename(fresh, index)
    finally:
        fresh.unlink(missing_ok=True)


class Objects:
    """The objects of the repository at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._own = ObjectDirectory(path / "objects")
        self._bases = Bases()

    @cached_property
    def _others(self) -> tuple[ObjectDirectory, ...]:
        """The directories of alternates."""
        return tuple(_alternates(self._own, _DEEPEST))

    def including(self, directory: Path) -> Self:
        """The same with the objects in ``directory``: a quarantine (git-receive-pack(1)), or packs of a preview."""
        wider = copy(self)
        wider._others = (ObjectDirectory(directory), *self._others)
        return wider

    def size_of(self, oid: bytes) -> int:
        """The size of an object in bytes. Raises DamagedError if it is missing."""
        found = self.find(oid)
        if found is None:
            return len(self.read(oid))
        entry = found[0].whole(found[1])
        return entry.size if entry else size_of_delta(*found)

    def read(self, oid: bytes) -> bytes:
        """The content of any object. Raises DamagedError if it is missing or corrupt."""
        return self.typed(oid)[1]

    def typed(self, oid: bytes) -> tuple[Type, bytes]:
        """Type and content of any object. Raises DamagedError if it is missing or corrupt."""
        found = self.find(oid)
        if found is not None:
            entry = found[0].whole(found[1])
            return (entry.kind, entry.read()) if entry else read_delta(*found, oid, self._bases)
        for directory in (self._own, *self._others):
            loose = read_loose(directory.path, oid)
            if loose is not None:
                return loose
        hint = "run: gitstate fsck, then fetch it from a clone or a backup"
        raise DamagedError(f"object {oid.hex()} is missing", hint)

    def peeled(self, oid: bytes) -> tuple[bytes, Type, bytes]:
        """Id, type and content of the object that ``oid`` is, or that a tag leads to. Raises DamagedError."""
        kind, data = self.typed(oid)
        while kind is Type.TAG:
            oid = tagged(data)
            kind, data = self.typed(oid)
        return oid, kind, data

    def commit(self, oid: bytes) -> tuple[bytes, bytes]:
        """Id and content of the commit that ``oid`` is, or that a tag leads to. Raises DamagedError."""
        oid, kind, data = self.peeled(oid)
        if kind is not Type.COMMIT:
            raise DamagedError(f"{oid.hex()} is no commit", "run: gitstate fsck")
        return oid, data

    def tree(self, oid: bytes) -> list[TreeItem]:
        """The items of a tree object. Raises DamagedError."""
        return parse_tree(self.read(oid))

    def whole(self, oid: bytes) -> Whole | None:
        """The whole pack entry that holds ``oid``; None if it is a delta, loose or missing."""
        found = self.find(oid)
        return found[0].whole(found[1]) if found else None

    def find(self, oid: bytes) -> tuple[Pack, int] | None:
        """The pack that holds ``oid``, and its place in that pack's index; None if no pack has it."""
        found = self._own.find(oid)
        if found is None:
            for directory in self._others:
                if found := directory.find(oid):
                    break
        return found

    def has_packed(self, oid: bytes) -> bool:
        """Whether some pack holds ``oid``, reachable or not."""
        return self.find(oid) is not None


def _alternates(directory: ObjectDirectory, depth: int) -> Iterator[ObjectDirectory]:
    for path in directory.alternates() if depth else ():
        other = ObjectDirectory(path)
        yield other
        yield from _alternates(other, depth - 1)


# --- loose objects: libgit2 1.9 loops for ever on a truncated one -----------------------------------------------------

_HEADER: Final = re.compile(rb"(commit|tree|blob|tag) (0|[1-9][0-9]{0,18})\0")
_LONGEST_HEADER: Final = 32


def read_loose(objects: Path, oid: bytes) -> tuple[Type, bytes] | None:
    """Type and content of the object ``oid`` in the directory ``objects``; None without one. Raises DamagedError."""
    name = oid.hex()
    try:
        packed = (objects / name[:2] / name[2:]).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        inflate = zlib.decompressobj()
        head = inflate.decompress(packed, _LONGEST_HEADER)
        header = _HEADER.match(head)
        if header is None:
            raise _damaged(name)
        kind, size = Type[header[1].decode().upper()], int(header[2])
        rest = size - len(head) + header.end()
        data = head[header.end() :] + (inflate.decompress(inflate.unconsumed_tail, rest + 1) if rest > 0 else b"")
    except zlib.error:
        raise _damaged(name) from None
    if len(data) != size or object_id(kind, data) != oid:
        raise _damaged(name)
    return kind, data


def _damaged(name: str) -> DamagedError:
    hint = "run: gitstate fsck, then fetch it from a clone or a backup"
    return DamagedError(f"the loose object {name} is corrupt", hint)
