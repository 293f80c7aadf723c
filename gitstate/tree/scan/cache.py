"""The stat cache: what every directory looked like to ``lstat`` when it was last recorded.

A directory's *signature* is one bytes object, compared whole: own and entries' inode, size, mtime, ctime, mode, uid
and gid, packed. A million entries are some 60 MB of file and no Python objects. The file belongs to one commit and one
policy; anything else than a perfect match means that it is not used.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from gitstate.core.state_file import StateFormat

_FORMAT: Final = StateFormat("stat cache", 1)
_ROW: Final = struct.Struct("<III20s")
_STAT: Final = struct.Struct("<QQqqIII")
UNKNOWN: Final = bytes(_STAT.size)
"""Equals no file's stat, so an entry that has it is read again."""
_DAY: Final = 86_400 * 10**9


class Row(NamedTuple):
    """What is known of a directory: its tree's id, its number of entries without subdirectories, its signature."""

    tree: bytes
    entries: int
    signature: bytes


def pack_stat(status: os.stat_result) -> bytes:
    """The fields of a file's lstat that change with the file, packed."""
    return _pack(status, status.st_mode)


def _pack(status: os.stat_result, mode: int, pack: Callable[..., bytes] = _STAT.pack) -> bytes:
    ino, mtime, ctime = status.st_ino, status.st_mtime_ns, status.st_ctime_ns
    try:
        return pack(ino, status.st_size, mtime, ctime, mode, status.st_uid, status.st_gid)
    except struct.error:  # a time before 1677 or after 2262 is packed as one that differs by 584 years
        return pack(ino, status.st_size, _wrapped(mtime), _wrapped(ctime), mode, status.st_uid, status.st_gid)


def _wrapped(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


def signature(own: os.stat_result, entries: Iterable[tuple[bytes, os.stat_result]]) -> bytes:
    """The signature of a directory. Subdirectories count by name only: they have rows of their own."""
    is_directory = stat.S_ISDIR
    parts = [b"\0", pack_stat(own)]
    for name, status in entries:
        mode = status.st_mode
        if is_directory(mode):
            parts.append(name + b"/\0")
        else:
            parts += (name + b"\0", _pack(status, mode))
    return b"".join(parts)


def split_signature(packed: bytes) -> dict[bytes, bytes]:
    """A signature as packed stat by name, the directory's own under the empty name, subdirectories left out."""
    found: dict[bytes, bytes] = {}
    start, end, size = 0, len(packed), _STAT.size
    while start < end:
        zero = packed.index(b"\0", start)
        name = packed[start:zero]
        start = zero + 1
        if not name.endswith(b"/"):
            found[name] = packed[start : start + size]
            start += size
    return found


def without_racy(packed: bytes, since: int, untrusted: Iterable[bytes]) -> bytes:
    """The signature ``packed``, with UNKNOWN for ``untrusted`` names and what changed at or after ``since`` (ns).

    A modification time far ahead was set by hand: such a file isn't read for ever.
    """
    names = set(untrusted)
    parts = []
    start, end, size = 0, len(packed), _STAT.size
    while start < end:
        zero = packed.index(b"\0", start) + 1
        name = packed[start:zero]
        parts.append(name)
        start = zero
        if not name.endswith(b"/\0"):
            data = packed[start : start + size]
            _, _, mtime, ctime, _, _, _ = _STAT.unpack(data)
            racy = ctime >= since or since <= mtime < since + _DAY
            parts.append(UNKNOWN if racy or name[:-1] in names else data)
            start += size
    return b"".join(parts)


class StatCache:
    """Rows by directory path."""

    def __init__(self, rows: dict[bytes, Row]) -> None:
        self._rows = rows

    def get(self, path: bytes) -> Row | None:
        """What is known of the directory at ``path``."""
        return self._rows.get(path)


NO_CACHE: Final = StatCache({})


def load(path: Path, commit: bytes, policy: bytes) -> StatCache:
    """The cache at ``path`` if it belongs to ``commit`` and ``policy``, else, and for bad data, an empty one."""
    data = _FORMAT.read(path, commit + policy)
    if data is None:
        return NO_CACHE
    rows = {}
    start, end = 0, len(data)
    while start < end:
        path_length, length, entries, tree = _ROW.unpack_from(data, start)
        start += _ROW.size
        name = data[start : start + path_length]
        start += path_length
        rows[name] = Row(tree, entries, data[start : start + length])
        start += length
    return StatCache(rows)


def save(path: Path, commit: bytes, policy: bytes, rows: Iterable[tuple[bytes, Row]]) -> None:
    """Write the cache of ``commit`` in one step."""
    parts: list[bytes] = []
    for name, (tree, entries, packed) in rows:
        parts += [_ROW.pack(len(name), len(packed), entries, tree), name, packed]
    _FORMAT.write(path, parts, commit + policy)
