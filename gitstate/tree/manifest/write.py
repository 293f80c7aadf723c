"""Format entries as ``.gitstate`` and ``.gitstate-links`` (docs/format.md, sections 2 and 3)."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from gitstate.core.entry import FORMAT, IN_GIT, Entry, Kind, Meta, Xattrs
from gitstate.core.names import octal

HEAD: Final = "#mtree\n"
VERSION: Final = f"#gitstate {FORMAT}\n"
_SET: Final = "/set type=file mode=0644 uid=0 gid=0\n"
NS: Final = 1_000_000_000


def format_time(time: int) -> str:
    """Nanoseconds since the epoch as floor seconds, a point and nine digits."""
    seconds, nanoseconds = divmod(time, NS)
    return f"{seconds}.{nanoseconds:09d}"


@lru_cache(maxsize=4096)
def _ordinary(kind: Kind, mode: int, uid: int, gid: int) -> str:
    """The keywords that differ from ``/set``; few combinations make up a whole system."""
    words = []
    if kind is not Kind.FILE:
        words.append(f" type={kind.value}")
    if mode != 0o644:
        words.append(f" mode={mode:04o}")
    if uid:
        words.append(f" uid={uid}")
    if gid:
        words.append(f" gid={gid}")
    return "".join(words)


def format_xattrs(xattrs: Xattrs) -> str:
    """`` xattr.NAME=BASE64`` for each attribute, in the order given."""
    return "".join(
        f" xattr.{octal(name)}={binascii.b2a_base64(value, newline=False).decode('ascii')}" for name, value in xattrs
    )


def _record(name: str, meta: Meta, oid: bytes) -> str:
    kind, mode, uid, gid, time, device, xattrs, uname, gname = meta
    line = name + _ordinary(kind, mode, uid, gid)
    if uname:
        line += f" uname={octal(uname)}"
    if gname:
        line += f" gname={octal(gname)}"
    if time is not None:
        line += f" time={time // NS}.{time % NS:09d}"
    if device is not None:
        line += f" device=native,{device[0]},{device[1]}"
    if xattrs:
        line += format_xattrs(xattrs)
    return f"{line} oid={oid[:4].hex()}\n" if oid else line + "\n"


def format_directory(
    own: Meta, entries: Iterable[Entry], *, root: bool, kept: Sequence[tuple[bytes, bytes]] = ()
) -> bytes:
    """The ``.gitstate`` of a directory with metadata ``own``; ``entries`` in bytewise order of their names.

    ``kept`` are names and whole records of further entries, without line ends.
    """
    head = canonical_head(root=root) + _record(".", own, b"").encode("ascii")
    records = [
        (name, _record(octal(name), meta, oid if meta.kind in IN_GIT else b"").encode("ascii"))
        for name, meta, oid in entries
        if meta.kind is not Kind.DIRECTORY
    ]
    if kept:
        records = sorted([*records, *[(name, line + b"\n") for name, line in kept]])
    return b"".join([head, *[record for _, record in records]])


def canonical_head(*, root: bool) -> bytes:
    """The lines with which every ``.gitstate`` of ours begins."""
    return f"{HEAD}{VERSION if root else ''}{_SET}".encode("ascii")


def format_links(groups: Iterable[Iterable[bytes]]) -> bytes:
    """The ``.gitstate-links`` of hard-link groups, in canonical order; empty without groups."""
    lines = sorted(sorted(group) for group in groups)
    return "".join(" ".join(octal(path) for path in group) + "\n" for group in lines).encode("ascii")
