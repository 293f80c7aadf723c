"""Reading a tar file in one pass, in bounded memory; its content isn't trusted."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from math import floor
from typing import IO, Final, NamedTuple, cast

from gitstate.core.compression import Damaged, Pieces
from gitstate.core.entry import Kind, Meta
from gitstate.core.names import display

_PIECE: Final = 1 << 20
_MOST_BESIDE: Final = 8 << 20
"""Bytes of headers and the like before one member."""
_XATTR: Final = "SCHILY.xattr."
_SECOND: Final = 10**9
_EARLIEST: Final = -(2**63) // _SECOND
_LATEST: Final = 2**63 // _SECOND
_LARGEST_ID: Final = (1 << 32) - 2
_BY_TYPE: Final = {
    **dict.fromkeys((tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE), Kind.FILE),
    tarfile.DIRTYPE: Kind.DIRECTORY,
    tarfile.SYMTYPE: Kind.SYMLINK,
    tarfile.CHRTYPE: Kind.CHARACTER,
    tarfile.BLKTYPE: Kind.BLOCK,
    tarfile.FIFOTYPE: Kind.FIFO,
}


class Member(NamedTuple):
    """A member by its path from the root, which is empty. ``target`` is a symlink's, ``link`` a hard link's."""

    path: bytes
    meta: Meta
    size: int = 0
    target: bytes = b""
    link: bytes | None = None


@dataclass
class Archive:
    """The members of the tar file that ``source`` has."""

    source: Pieces
    _stream: _Stream | None = field(default=None, init=False)
    _open: tarfile.TarFile | None = field(default=None, init=False)
    _current: tarfile.TarInfo | None = field(default=None, init=False)

    def members(self) -> Iterator[Member]:
        """One after the other. Raises DamagedError, also for a name that leads out."""
        stream = self._stream = _Stream(self.source)
        damaged = self.source.damaged
        try:
            self._open = tarfile.TarFile(fileobj=cast("IO[bytes]", stream), encoding="utf-8", errors="surrogateescape")
            while True:
                self._open.members.clear()  # type: ignore[attr-defined]  # it keeps them all
                self._current = self._open.next()
                if self._current is None:
                    break
                yield _member(self._current, damaged)
                stream.allow()
        except (tarfile.TarError, EOFError, UnicodeError, ValueError, OverflowError) as error:
            raise damaged(f"no tar file: {error}") from None
        if not stream.ended_by_zeros:
            raise damaged("it ends too early")

    def pieces(self) -> Iterator[bytes]:
        """The content of the file that ``members`` gave last. Raises DamagedError."""
        assert self._open is not None
        assert self._current is not None
        assert self._stream is not None
        content = self._open.extractfile(self._current)
        left = self._current.size
        while content is not None and left:
            self._stream.allow()
            piece = content.read(min(_PIECE, left))
            if not piece:
                raise self.source.damaged(f"{display(_raw(self._current.name))} is cut")
            left -= len(piece)
            yield piece


class _Stream:
    """Pieces as the file that tarfile reads: forward only, and not much of it before ``allow`` is called again."""

    def __init__(self, source: Pieces) -> None:
        self._source = source
        self._left = _MOST_BESIDE
        self.ended_by_zeros = False

    def allow(self) -> None:
        """Something was read that was expected."""
        self._left = _MOST_BESIDE

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes, as a file has them."""
        if not 0 <= size <= self._left:
            raise self._source.damaged("its headers are too large")
        self._left -= size
        parts = []
        while size:
            parts.append(self._source.some(size))
            if not parts[-1]:
                break
            size -= len(parts[-1])
        data = b"".join(parts)
        self.ended_by_zeros = len(data) == tarfile.BLOCKSIZE and not any(data)
        return data

    def tell(self) -> int:
        """How much of it was read."""
        return self._source.position

    def seek(self, position: int) -> None:
        """Pass over what comes before ``position``."""
        if position < self._source.position:
            raise self._source.damaged("it leads back")
        self._source.skip(position - self._source.position)


def _member(info: tarfile.TarInfo, damaged: Damaged) -> Member:
    path = _path(_raw(info.name), damaged)
    shown = display(path) or "."
    uid, gid = owner_of(info, damaged)
    xattrs = {
        _raw(key.removeprefix(_XATTR)): _raw(value) for key, value in info.pax_headers.items() if key.startswith(_XATTR)
    }
    kind = Kind.FILE if info.islnk() else _BY_TYPE.get(info.type)
    if kind is None:
        raise damaged(f"{shown} is of a type that isn't known, {info.type!r}")
    device = (info.devmajor, info.devminor) if kind in (Kind.CHARACTER, Kind.BLOCK) else None
    time = time_of(info, damaged)
    meta = Meta(kind, info.mode & 0o7777, uid, gid, time, device, tuple(sorted(xattrs.items())))
    if info.islnk():
        return Member(path, meta, link=_path(_raw(info.linkname), damaged))
    target = _raw(info.linkname) if kind is Kind.SYMLINK else b""
    return Member(path, meta, info.size if kind is Kind.FILE else 0, target)


def owner_of(info: tarfile.TarInfo, damaged: Damaged) -> tuple[int, int]:
    """User and group. Raises DamagedError for numbers that no file has."""
    if not (0 <= info.uid <= _LARGEST_ID and 0 <= info.gid <= _LARGEST_ID):
        raise damaged(f"{display(_raw(info.name))} has an owner that there can't be")
    return info.uid, info.gid


def time_of(info: tarfile.TarInfo, damaged: Damaged) -> int:
    """The modification time in nanoseconds: pax has it in decimals, which tarfile makes a float.

    Raises DamagedError for one that no record holds.
    """
    if not _EARLIEST <= info.mtime < _LATEST:
        raise damaged(f"{display(_raw(info.name))} has a time that there can't be")
    try:
        return floor(Decimal(info.pax_headers["mtime"]) * _SECOND)
    except (KeyError, InvalidOperation):
        return floor(info.mtime) * _SECOND


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _path(name: bytes, damaged: Damaged) -> bytes:
    """A name (``./a``, ``a/``, ``/a``) as a path from the root. Raises DamagedError for one that leads out."""
    parts = [part for part in name.split(b"/") if part not in (b"", b".")]
    if b".." in parts or b"\0" in name:
        raise damaged(f"{display(name)} leads out of it")
    return b"/".join(parts)


def index(file: IO[bytes], damaged: Damaged) -> dict[bytes, tuple[int, int]]:
    """Where the regular files of an uncompressed tar file are, offset and size by path, as far as it can be read.

    Empty if it is none. Raises DamagedError for headers that would fill the memory, OSError.
    """
    found: dict[bytes, tuple[int, int]] = {}
    with suppress(tarfile.TarError, EOFError, UnicodeError, ValueError, OverflowError):
        bounded = cast("IO[bytes]", _Bounded(file, damaged))
        archive = tarfile.TarFile(fileobj=bounded, encoding="utf-8", errors="surrogateescape")
        while info := archive.next():
            archive.members.clear()  # type: ignore[attr-defined]
            if info.isreg() and not info.issparse():
                found[_raw(info.name).removeprefix(b"./")] = info.offset_data, info.size
    return found


class _Bounded:
    """A file of which little is read at a time."""

    def __init__(self, file: IO[bytes], damaged: Damaged) -> None:
        self._file = file
        self._damaged = damaged
        self.tell, self.seek = file.tell, file.seek

    def read(self, size: int = -1) -> bytes:
        """At most ``size`` bytes."""
        if not 0 <= size <= _MOST_BESIDE:
            raise self._damaged("its headers are too large")
        return self._file.read(size)
