"""The root over which layers are laid: a prototype's snapshot, read as far as it is asked for."""

from __future__ import annotations

from functools import cached_property
from typing import Final, NamedTuple

from gitstate.core.entry import Entry, Kind, Meta
from gitstate.machine.render.paths import PathError, resolve_symlinks
from gitstate.store import Repository
from gitstate.tree.snapshot import Lookup

_MACHINES: Final = {3: "i386", 21: "ppc64", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
_PROGRAMS: Final = (b"usr/bin/sh", b"bin/sh", b"sbin/init", b"usr/lib/systemd/systemd")
_ELF_HEADER: Final = 20
_BIG_ENDIAN: Final = 2


class ImageEntry(NamedTuple):
    """An entry of the image; a directory's own metadata, a symlink's target."""

    meta: Meta
    oid: bytes = b""
    target: bytes = b""


class Image:
    """One snapshot; an image without repository holds nothing."""

    def __init__(self, repository: Repository | None, name: str, commit: bytes) -> None:
        self.name = name
        self.commit = commit
        self._repository = repository
        self._known: dict[bytes, ImageEntry | None] = {}
        self._look = Lookup(repository.read, repository.snapshot(commit).tree) if repository else None

    def __str__(self) -> str:
        return f"{self.name} {self.commit.hex()[:7]}" if self._repository else "the image"

    def at(self, path: bytes) -> ImageEntry | None:
        """What stands at a path, whose directories are no symlinks; None if nothing does. Raises DamagedError."""
        if path not in self._known:
            self._known[path] = self._find(path)
        return self._known[path]

    def _find(self, path: bytes) -> ImageEntry | None:
        if self._look is None:
            return None
        entry = self._look(path) if path else None
        if entry is not None:
            return ImageEntry(entry.meta, entry.oid, self._target(entry))
        directory = self._look.directory(path)
        return ImageEntry(directory.own) if directory else None

    def _target(self, entry: Entry) -> bytes:
        assert self._repository is not None
        return self._repository.read(entry.oid) if entry.meta.kind is Kind.SYMLINK else b""

    def read(self, path: bytes) -> tuple[Meta, bytes] | None:
        """Metadata and content of a regular file; None if there is none."""
        found = self.at(path)
        if self._repository is None or found is None or found.meta.kind is not Kind.FILE:
            return None
        return found.meta, self._repository.read(found.oid)

    def names(self, path: bytes | None) -> list[bytes]:
        """The names in a directory, in bytewise order; none if there is no directory."""
        directory = self._look.directory(path) if self._look and path is not None else None
        return sorted([*directory.files, *directory.subdirectories]) if directory else []

    def resolve(self, path: bytes) -> bytes | None:
        """A path without symlinks, the last part's included; None if it leads nowhere."""
        try:
            return resolve_symlinks(b"", path, self._link)
        except PathError:
            return None

    def _link(self, path: bytes) -> bytes | None:
        found = self.at(path)
        if found is None:
            raise PathError(path)
        return found.target if found.meta.kind is Kind.SYMLINK else None

    @cached_property
    def arch(self) -> str | None:
        """The machines that its programs are for, as ``uname -m`` has it; None if that can't be told."""
        for path in _PROGRAMS:
            place = self.resolve(path)
            found = self.at(place) if place else None
            if self._repository and found and found.meta.kind is Kind.FILE:
                whole = self._repository.whole(found.oid)
                head = next(iter(whole.chunks()), b"") if whole else self._repository.read(found.oid)
                if head[:4] == b"\x7fELF" and len(head) >= _ELF_HEADER:
                    return _MACHINES.get(int.from_bytes(head[18:20], "big" if head[5] == _BIG_ENDIAN else "little"))
        return None
