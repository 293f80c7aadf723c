"""Reading whole pack entries ourselves: in several threads, and big blobs in pieces.

pygit2 takes three times a blob's size in memory and holds the interpreter's lock while it inflates.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
import weakref
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple, cast

from isal import igzip_lib, isal_zlib

from gitstate.core.errors import DamagedError
from gitstate.store.objects import Type

_INDEX_MAGIC: Final = b"\xfftOc\0\0\0\2"
_FANOUT: Final = 1024
_TABLES: Final = 8 + _FANOUT
_CHECKSUM: Final = 20
_CHUNK: Final = 1 << 20
_MOST_PER_BYTE: Final = 1032  # deflate can't shrink more
_LONGEST_HEADER: Final = 20  # no longer than the checksum at the end of a pack
_LARGE: Final = 1 << 31  # from here on an offset stands in a table of its own
_SMALL: Final = 1 << 20
_SLACK: Final = 64
_FEW: Final = 64
_LARGEST_READ: Final = 1 << 30  # one pread gives 2 GiB at most
_CORRUPT: Final = cast("type[Exception]", igzip_lib.IsalError)  # its stub calls it an instance


def _room(size: int) -> int:
    """The largest deflated size of ``size`` bytes."""
    return size + size // 8 + _SLACK


def _inflated(raw: memoryview, size: int) -> tuple[bytes, int] | None:
    """The ``size`` bytes inflated from the beginning of ``raw``, and how much of it they took; None if corrupt."""
    inflate = isal_zlib.decompressobj()
    try:
        data = inflate.decompress(raw, size + 1)
    except _CORRUPT:
        return None
    return (data, len(raw) - len(inflate.unused_data)) if inflate.eof and len(data) == size else None


class Whole(NamedTuple):
    """A whole (not deltified) entry: its offset, the sizes of header and object, its CRC-32."""

    pack: Pack
    kind: Type
    size: int
    offset: int
    header: int
    checksum: int

    def read(self) -> bytes:
        """The object's content. Raises DamagedError."""
        if self.size <= _SMALL and not self.pack.is_read_much():
            data = self._read_alone()
            if data is not None:
                return data
        end = self.pack.end(self.offset)
        if end - self.offset > _LARGEST_READ:
            return b"".join(self.chunks())
        raw = os.pread(self.pack.descriptor, end - self.offset, self.offset)
        if isal_zlib.crc32(raw) != self.checksum:
            raise self.pack.damaged("an object's checksum is wrong")
        try:
            room = min(self.size, len(raw) * _MOST_PER_BYTE) or 1
            data = isal_zlib.decompress(memoryview(raw)[self.header :], bufsize=room)
        except _CORRUPT as error:
            raise self.pack.damaged(str(error)) from None
        if len(data) != self.size:
            raise self.pack.damaged("an object has the wrong size")
        return bytes(data)

    def _read_alone(self) -> bytes | None:
        """The content, read without knowing the entry's end, which takes a sort of all offsets. None if that fails."""
        raw = self.pack.raw(self.offset, self.header + _room(self.size))
        found = _inflated(memoryview(raw)[self.header :], self.size)
        if found is None or isal_zlib.crc32(raw[: self.header + found[1]]) != self.checksum:
            return None
        return found[0]

    def chunks(self) -> Iterator[bytes]:
        """The object's content in pieces of about a megabyte. Raises DamagedError, at the latest after the last one."""
        inflate = isal_zlib.decompressobj()
        checksum = isal_zlib.crc32(os.pread(self.pack.descriptor, self.header, self.offset))
        position, end, seen = self.offset + self.header, self.pack.end(self.offset), 0
        try:
            while not inflate.eof:
                pending = inflate.unconsumed_tail
                if not pending:
                    pending = os.pread(self.pack.descriptor, max(0, min(_CHUNK, end - position)), position)
                    position += len(pending)
                    checksum = isal_zlib.crc32(pending, checksum)
                piece = inflate.decompress(pending, _CHUNK)
                seen += len(piece)
                if piece:
                    yield piece
                elif not pending:
                    break
        except _CORRUPT as error:
            raise self.pack.damaged(str(error)) from None
        if position != end or checksum != self.checksum:
            raise self.pack.damaged("an object's checksum is wrong")
        if seen != self.size:
            raise self.pack.damaged("an object has the wrong size")


def is_version_1(index: Path) -> bool:
    """Whether a pack's index is a sound one of version 1: no magic number, and 24 bytes for each object."""
    with open(index, "rb") as file:
        head = file.read(_FANOUT)
        if len(head) < _FANOUT or head.startswith(_INDEX_MAGIC):
            return False
        size = _FANOUT + 24 * int.from_bytes(head[-4:], "big") + 2 * _CHECKSUM
        if os.fstat(file.fileno()).st_size != size:
            return False
        digest = hashlib.sha1(head + file.read(size - _FANOUT - _CHECKSUM), usedforsecurity=False)
        return digest.digest() == file.read()


class Pack:
    """One pack and its index, opened once; the descriptors outlive a repack that removes the files.

    The index is checked as a whole and tells each entry's CRC-32, so what can't be trusted is never handed out; git
    itself looks at neither when it reads.
    """

    def __init__(self, index: Path) -> None:
        self.path = index.with_suffix(".pack")
        with open(index, "rb") as file:
            self._index = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._index[:8] != _INDEX_MAGIC or len(self._index) < _TABLES + 40:
            raise self.damaged("its index is not version 2")
        self._fanout: tuple[int, ...] = struct.unpack(">256I", self._index[8:_TABLES])
        self.count = self._fanout[255]
        if len(self._index) < _TABLES + self.count * 28 + 40:
            raise self.damaged("its index is truncated")
        if hashlib.sha1(memoryview(self._index)[:-20], usedforsecurity=False).digest() != self._index[-20:]:
            raise self.damaged("its index has a wrong checksum")
        self._reads = 0
        self.descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self.close = weakref.finalize(self, os.close, self.descriptor)
        self._size = os.fstat(self.descriptor).st_size

    def damaged(self, why: str) -> DamagedError:
        """The error for this pack."""
        hint = "run: gitstate fsck, then fetch the objects from a clone or a backup"
        return DamagedError(f"{self.path.name}: {why}", hint)

    def find(self, oid: bytes) -> int | None:
        """The place of object ``oid`` in this pack's index; None if it isn't in there."""
        low = self._fanout[oid[0] - 1] if oid[0] else 0
        high = self._fanout[oid[0]]
        index = self._index
        while low < high:
            middle = (low + high) // 2
            place = _TABLES + middle * 20
            found = index[place : place + 20]
            if found == oid:
                return middle
            if found < oid:
                low = middle + 1
            else:
                high = middle
        return None

    def offset(self, place: int) -> int:
        """Where the entry at ``place`` in the index begins."""
        offset = self._number(_TABLES + self.count * 24 + place * 4, 4)
        return offset if offset < _LARGE else self._large(offset)

    def _large(self, offset: int) -> int:
        return self._number(_TABLES + self.count * 28 + (offset - _LARGE) * 8, 8)

    def _number(self, start: int, size: int) -> int:
        return int.from_bytes(self._index[start : start + size], "big")

    def is_read_much(self) -> bool:
        """Whether so much is read that sorting all offsets pays off; counts the call as a read."""
        self._reads += 1
        return self._reads > max(_FEW, self.count // _FEW)

    def end(self, offset: int) -> int:
        """Where the entry at ``offset`` ends: where the next one begins."""
        return self._ends[min(bisect_right(self._ends, offset), self.count)]

    @cached_property
    def _ends(self) -> list[int]:
        start = _TABLES + self.count * 24
        offsets = sorted(struct.unpack(f">{self.count}I", self._index[start : start + self.count * 4]))
        first = bisect_left(offsets, _LARGE)
        offsets[first:] = sorted(map(self._large, offsets[first:]))
        return [*offsets, self._size - 20]

    def whole(self, place: int) -> Whole | None:
        """The entry at ``place`` in the index, None if it is a delta. Raises DamagedError."""
        offset = self.offset(place)
        kind, size, start = self.head(offset)
        if kind not in (1, 2, 3, 4):
            return None
        checksum = self._number(_TABLES + self.count * 20 + place * 4, 4)
        return Whole(self, Type(kind), size, offset, start - offset, checksum)

    def head(self, offset: int) -> tuple[int, int, int]:
        """Type, size and the end of the header of the entry at ``offset``. Raises DamagedError."""
        head = self.raw(offset, _LONGEST_HEADER)
        if len(head) < _LONGEST_HEADER:
            raise self.damaged("it is truncated")
        kind, size, shift, used = head[0] >> 4 & 7, head[0] & 15, 4, 1
        while head[used - 1] & 0x80:
            if used >= len(head):
                raise self.damaged("an entry's size doesn't end")
            size |= (head[used] & 0x7F) << shift
            shift, used = shift + 7, used + 1
        return kind, size, offset + used

    def raw(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes of the pack as they are."""
        return os.pread(self.descriptor, max(0, min(size, self._size - offset)), offset)

    def inflate(self, offset: int, size: int) -> bytes:
        """The ``size`` bytes whose deflated form begins at ``offset``, unchecked. Raises DamagedError."""
        found = _inflated(memoryview(self.raw(offset, _room(size))), size)
        if found is None:
            raise self.damaged("a delta can't be inflated")
        return found[0]
