"""Loose objects, read by ourselves: libgit2 1.9 loops for ever on a truncated one."""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Final

from gitstate.core.errors import DamagedError
from gitstate.store.objects import Type, object_id

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
