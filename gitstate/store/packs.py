"""Writing packs and their indexes directly (gitformat-pack(5), version 2): whole entries, never loose objects.

A pack is staged in a directory of the repository's own, where no ``git prune`` looks, and enters ``objects/pack`` in an
order that survives both a crash and a ``git repack -ad`` running beside it; see ``StagedPack.publish``.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import zlib
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

from isal import isal_zlib

from gitstate.core import fs
from gitstate.core.failures import of_system
from gitstate.store.objects import Type

LEVEL: Final = 1
"""isal's level 1: 5 % smaller than zlib's level 1 at seven times its speed (docs/design.md)."""

_SAMPLE: Final = 16 * 1024
_BUFFER: Final = 1 << 20
_HASH_CHUNK: Final = 1 << 20
_JOINED: Final = 1 << 13
_LARGE_OFFSET: Final = 1 << 31


def entry_header(kind: int, size: int) -> bytes:
    """The variable-length type and size in front of a pack entry."""
    byte = kind << 4 | size & 15
    size >>= 4
    header = bytearray()
    while size:
        header.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    header.append(byte)
    return bytes(header)


def deflate(data: bytes) -> bytes:
    """``data`` as a zlib stream; stored uncompressed where compression gains nothing."""
    if _is_incompressible(data):
        return zlib.compress(data, 0)
    return isal_zlib.compress(data, LEVEL)


def _deflater(beginning: bytes) -> _Deflater:
    """A compressor for a stream, chosen by its beginning."""
    return zlib.compressobj(0) if _is_incompressible(beginning) else isal_zlib.compressobj(LEVEL)


def _is_incompressible(data: bytes) -> bool:
    """Whether a sample from the middle of ``data`` doesn't shrink, as of what is compressed already."""
    if len(data) <= 4 * _SAMPLE:
        return False
    middle = len(data) // 2
    return len(isal_zlib.compress(data[middle : middle + _SAMPLE], LEVEL)) > _SAMPLE * 31 // 32


class _Deflater(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class StagedPack:
    """A pack being written by several threads.

    ``add`` takes finished entries; an id that is already in this pack is dropped. Nothing is visible to git before
    ``publish``.
    """

    def __init__(self, staging: Path, name: str) -> None:
        self._path = staging / f"{name}.pack"
        try:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444)
        except OSError as error:
            raise of_system(error, staging) from None
        self._append(b"PACK" + struct.pack(">II", 2, 0))
        self._end = 12
        self._unwritten: list[bytes] = []
        self._unwritten_bytes = 0
        self._lock = threading.Lock()
        self._slots: dict[bytes, int] = {}
        self._offsets = array("Q")
        self._checksums = array("I")

    def __contains__(self, oid: bytes) -> bool:
        return oid in self._slots

    def __len__(self) -> int:
        return len(self._slots)

    def add(self, kind: Type, oid: bytes, size: int, deflated: bytes) -> bool:
        """Append one whole object; False if it was here already."""
        header = entry_header(kind, size)
        checksum = zlib.crc32(deflated, zlib.crc32(header))
        with self._lock:
            if oid in self._slots:
                return False
            self._enter(oid, checksum, self._end)
            self._end += len(header) + len(deflated)
            self._unwritten += (header, deflated)
            self._unwritten_bytes += len(header) + len(deflated)
            if self._unwritten_bytes >= _BUFFER:
                self._write_out()
        return True

    def read(self, oid: bytes) -> bytes | None:
        """The content of an object that has been added; None if it hasn't."""
        with self._lock:
            slot = self._slots.get(oid)
            if slot is None:
                return None
            self._write_out()
        offset = self._offsets[slot]
        while os.pread(self._file, 1, offset)[0] & 0x80:
            offset += 1
        offset += 1
        inflater, pieces = zlib.decompressobj(), []
        while not inflater.eof:
            chunk = os.pread(self._file, _HASH_CHUNK, offset)
            pieces.append(inflater.decompress(chunk))
            offset += len(chunk)
        return b"".join(pieces)

    def _write_out(self) -> None:
        self._append(b"".join(self._unwritten))
        self._unwritten, self._unwritten_bytes = [], 0

    def _enter(self, oid: bytes, checksum: int, offset: int) -> None:
        self._slots[oid] = len(self._slots)
        self._offsets.append(offset)
        self._checksums.append(checksum)

    def stream(self, kind: Type, size: int, chunks: Callable[[], bytes]) -> bytes:
        """Append one object of ``size`` bytes too big for memory, read by ``chunks`` until it returns nothing.

        This pack must be its own. Returns the id; raises ValueError if the chunks amount to another size.
        """
        digest = hashlib.sha1(b"%s %d\0" % (kind.word, size), usedforsecurity=False)
        header = entry_header(kind, size)
        checksum, seen = zlib.crc32(header), 0
        start, self._end = self._end, self._end + self._append(header)
        chunk = chunks()
        deflater = _deflater(chunk)
        while chunk:
            seen += len(chunk)
            digest.update(chunk)
            checksum = self._append_deflated(deflater.compress(chunk), checksum)
            chunk = chunks()
        checksum = self._append_deflated(deflater.flush(), checksum)
        if seen != size:
            raise ValueError(f"{seen} bytes instead of {size}")
        self._enter(digest.digest(), checksum, start)
        return digest.digest()

    def _append(self, data: bytes) -> int:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            raise of_system(error, self._path.parent) from None
        return len(data)

    def _append_deflated(self, data: bytes, checksum: int) -> int:
        self._end += self._append(data)
        return zlib.crc32(data, checksum)

    def finish(self) -> bytes:
        """Write count and trailer and make the pack durable; its checksum, which names it."""
        self._write_out()
        self._write_at(struct.pack(">I", len(self._slots)), 8)
        digest = hashlib.sha1(usedforsecurity=False)
        offset = 0
        while chunk := os.pread(self._file, _HASH_CHUNK, offset):
            digest.update(chunk)
            offset += len(chunk)
        self._write_at(digest.digest(), offset)
        os.fsync(self._file)
        return digest.digest()

    def _write_at(self, data: bytes, offset: int) -> None:
        """Write all of ``data``: on a full disk the kernel may write only its beginning, without an error."""
        while data:
            written = os.pwrite(self._file, data, offset)
            data, offset = data[written:], offset + written

    def publish(self, objects: Path, keep: bytes, kept: list[Path], step: Callable[[str], None]) -> None:
        """Enter ``objects/pack`` under a ``.keep`` holding ``keep``, which joins ``kept``, for the caller to remove.

        The keep file is written before the index makes the pack visible, and removed after a ref names its commit:
        a fresh pack that no ref reaches yet was lost to a concurrent ``git repack -ad``.
        """
        checksum = self.finish()
        step("pack")
        base = objects / "pack" / f"pack-{checksum.hex()}"
        index = self._path.with_suffix(".idx")
        self._write_index(index, checksum)
        keep_file = base.with_suffix(".keep")
        kept.append(keep_file)  # before it is there: an interruption may come at any moment
        fs.write_file(keep_file, keep, 0o600)
        try:
            os.rename(self._path, base.with_suffix(".pack"))
            os.rename(index, base.with_suffix(".idx"))
        except BaseException:
            if not base.with_suffix(".idx").exists():
                base.with_suffix(".pack").unlink(missing_ok=True)
            raise
        fs.sync_directory(base.parent)
        step("idx")
        self.close()

    def _write_index(self, path: Path, pack_checksum: bytes) -> None:
        data = format_index(self._slots, self._offsets, self._checksums, pack_checksum)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444), "wb") as file:
            for part in data:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())

    def drop(self) -> None:
        """Discard this pack and free its space."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and drop the ids; unpublished packs stay in the staging directory, which its owner removes."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        self._slots = {}


def format_index(
    slots: dict[bytes, int], offsets: Sequence[int], checksums: Sequence[int], pack_checksum: bytes
) -> list[bytes]:
    """A version 2 pack index as parts to be written one after the other."""
    names = sorted(slots)
    fanout = [0] * 256
    for name in names:
        fanout[name[0]] += 1
    for byte in range(1, 256):
        fanout[byte] += fanout[byte - 1]
    order = [slots[name] for name in names]
    small, large = array("I"), array("Q")
    for slot in order:
        offset = offsets[slot]
        if offset < _LARGE_OFFSET:
            small.append(offset)
        else:
            small.append(_LARGE_OFFSET | len(large))
            large.append(offset)
    sums = array("I", (checksums[slot] for slot in order))
    for numbers in (small, large, sums):
        numbers.byteswap()
    parts = [b"\xfftOc" + struct.pack(">I", 2), struct.pack(">256I", *fanout)]
    # join() takes 80 bytes for each of its arguments.
    parts += [b"".join(names[start : start + _JOINED]) for start in range(0, len(names), _JOINED)]
    parts += [sums.tobytes(), small.tobytes(), large.tobytes(), pack_checksum]
    digest = hashlib.sha1(usedforsecurity=False)
    for part in parts:
        digest.update(part)
    return [*parts, digest.digest()]
