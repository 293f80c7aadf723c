"""Reading the members of an initrd in one pass; its content isn't trusted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from gitstate.core.compression import Pieces, unpacked, unreadable
from gitstate.core.cpio.member import HEADER, LONGEST_NAME, MAGIC, TRAILER, Member, plain
from gitstate.core.entry import KIND_BY_FORMAT, Kind, Meta
from gitstate.core.errors import DamagedError, HostError
from gitstate.core.names import display

_MAGICS: Final = (MAGIC, b"070702")  # the second has checksums, at which the kernel doesn't look, either
_NUMBERS: Final = re.compile(rb"[0-9a-fA-F]{104}")
_FORMAT: Final = 0o170000
_SECOND: Final = 10**9
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of an archive: bytes unpacked, members, and the size of a file that is read."""

    unpacked: int = 4 << 30
    members: int = 1_000_000
    content: int = 16 << 20


LIMITS: Final = Limits()


class OpaqueArchiveError(HostError):
    """An archive compressed in a way that gitstate can't read."""


def damaged(why: str) -> DamagedError:
    """The error for an archive."""
    return DamagedError(f"not an initrd: {why}", "make it again: gitstate prepare, then check in")


def members(
    source: Iterable[bytes], wanted: Callable[[bytes], bool] = lambda path: False, limits: Limits = LIMITS
) -> Iterator[Member]:
    """The members of an initrd given in pieces: archives in a row, plain or compressed.

    Content is read of the files whose path is ``wanted``. A member that comes twice comes twice here; the kernel
    takes the last. What is no entry of ours (a socket) is left out. Raises DamagedError, Opaque.
    """
    return _Reader(wanted, limits).initrd(Pieces(source, limits.unpacked, damaged))


class _Reader:
    def __init__(self, wanted: Callable[[bytes], bool], limits: Limits) -> None:
        self._wanted = wanted
        self._limits = limits
        self._count = 0

    def initrd(self, source: Pieces) -> Iterator[Member]:
        """All members: of plain archives, and of compressed ones."""
        while head := _ahead(source):
            if head in _MAGICS:
                yield from self._archive(source)
                continue
            pieces = unpacked(source)
            if name := unreadable(source) if pieces is None else "":
                hint = "set COMPRESS=zstd in etc/initramfs-tools/initramfs.conf, and make it again: gitstate prepare"
                raise OpaqueArchiveError(f"the initrd is compressed with {name}, and gitstate can't look inside", hint)
            if pieces is None:
                raise damaged(f"at byte {source.position} is no archive, nor anything compressed that is known")
            inner = Pieces(pieces, self._limits.unpacked, damaged)
            while head := _ahead(inner):
                if head not in _MAGICS:
                    raise damaged("its compressed part holds something else than an archive")
                yield from self._archive(inner)

    def _archive(self, source: Pieces) -> Iterator[Member]:
        """The members of one archive, up to the trailer."""
        if source.position % 4:
            raise damaged(f"the archive at byte {source.position} doesn't begin at a multiple of four")
        while True:
            header = source.take(HEADER)
            if header[:6] not in _MAGICS or not _NUMBERS.fullmatch(header, 6):
                raise damaged(f"no member stands where one should, at byte {source.position - HEADER}")
            self._count += 1
            if self._count > self._limits.members:
                raise damaged(f"it has more than {self._limits.members} members")
            name = _name(source, int(header[94:102], 16))
            if name == TRAILER:
                return
            member = self._member(plain(name), header, source)
            if member is not None:
                yield member

    def _member(self, path: bytes, header: bytes, source: Pieces) -> Member | None:
        """The member ``path`` of this header; ``source`` is behind it then."""
        mode, uid, gid, _, time, size, _, _, major, minor = (
            int(header[start : start + 8], 16) for start in range(14, 94, 8)
        )
        kind = KIND_BY_FORMAT.get(mode & _FORMAT)
        content = b""
        if kind is Kind.SYMLINK or (kind is Kind.FILE and self._wanted(path)):
            if size > (LONGEST_NAME + 1 if kind is Kind.SYMLINK else self._limits.content):
                raise damaged(f"{display(path[:_SHOWN])} has {size} bytes, which is too much to read")
            content = source.take(size)
        else:
            source.skip(size)
        source.skip(-size % 4)
        if kind is None:
            return None
        device = (major, minor) if kind in (Kind.CHARACTER, Kind.BLOCK) else None
        return Member(path, Meta(kind, mode & 0o7777, uid, gid, time * _SECOND, device), content, size)


def _ahead(source: Pieces) -> bytes:
    """The first bytes of the next archive, plain or compressed; empty at the end."""
    source.skip_zeros()
    return source.peek(6)


def _name(source: Pieces, length: int) -> bytes:
    if not 0 < length <= LONGEST_NAME + 1:
        raise damaged(f"a name of {length} bytes")
    name = source.take(length)
    source.skip(-(HEADER + length) % 4)
    if not name.endswith(b"\0"):
        raise damaged("a name that doesn't end")
    return name.partition(b"\0")[0]
