"""Entries -> an archive's bytes; equal entries make equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Final

from gitstate.core.cpio.member import HEADER, LONGEST_NAME, MAGIC, TRAILER, Member
from gitstate.core.entry import FORMAT_BY_KIND, IN_GIT, Kind, Meta
from gitstate.core.names import display

_BLOCK: Final = 512
_LARGEST: Final = 2**32 - 1
_SECOND: Final = 10**9


def write(members: Iterable[Member]) -> Iterator[bytes]:
    """The archive of ``members`` in pieces, sorted by path, so that a directory comes before what it holds.

    Inode numbers count from 1, no hard links are made, and a time that 32 bits don't hold becomes the nearest one.
    Raises ValueError for what can't be written: a path that isn't plain or comes twice, a member whose directory
    isn't one (the kernel makes none), extended attributes, content of four gigabytes.
    """
    directories = {b""}
    previous, length = b"", 0
    for number, member in enumerate(sorted(members, key=attrgetter("path")), 1):
        path, meta = member.path, member.meta
        _check(member, directories, previous)
        if meta.kind is Kind.DIRECTORY:
            directories.add(path)
        previous = path
        for piece in (_header(number, path, meta, len(member.content)), _padded(member.content)):
            length += len(piece)
            yield piece
    trailer = _header(0, TRAILER, None, 0)
    yield trailer + bytes(-(length + len(trailer)) % _BLOCK)


def _check(member: Member, directories: set[bytes], previous: bytes) -> None:
    path, meta = member.path, member.meta
    parts = path.split(b"/")
    if {b"", b".", b".."} & set(parts) or b"\0" in path or len(path) > LONGEST_NAME or path == TRAILER:
        raise ValueError(f"{display(path)} can't be a member's path")
    if path == previous:
        raise ValueError(f"{display(path)} comes twice")
    if path.rpartition(b"/")[0] not in directories:
        raise ValueError(f"{display(path)} is in no directory of this archive")
    if meta.xattrs:
        raise ValueError(f"{display(path)} has extended attributes, which the format doesn't hold")
    if member.content and meta.kind not in IN_GIT:
        raise ValueError(f"{display(path)} is a {meta.kind.value} with content")
    if meta.kind is Kind.SYMLINK and not 0 < len(member.content) <= LONGEST_NAME:
        raise ValueError(f"{display(path)} is a link without a target that can be")
    if len(member.content) > _LARGEST:
        raise ValueError(f"{display(path)} is larger than the format allows")


def _header(number: int, path: bytes, meta: Meta | None, size: int) -> bytes:
    """Header and name, padded; ``meta`` None for the trailer."""
    mode = FORMAT_BY_KIND[meta.kind] | meta.mode if meta else 0
    links = 2 if meta and meta.kind is Kind.DIRECTORY else 1
    uid, gid = (meta.uid, meta.gid) if meta else (0, 0)
    seconds = min(max((meta.time or 0) // _SECOND, 0), _LARGEST) if meta else 0
    major, minor = meta.device or (0, 0) if meta else (0, 0)
    numbers = (number, mode, uid, gid, links, seconds, size, 0, 0, major, minor, len(path) + 1, 0)
    text = MAGIC + b"".join([b"%08x" % one for one in numbers]) + path + b"\0"
    assert len(text) == HEADER + len(path) + 1
    return _padded(text)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
