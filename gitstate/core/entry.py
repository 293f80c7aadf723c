"""Entries of a snapshot and their metadata."""

from __future__ import annotations

import enum
import stat
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

FORMAT: Final = 1
"""The version of the on-disk format that is written, and the newest that is read (docs/format.md)."""


class Kind(enum.Enum):
    """Entry types; the values are mtree(5)'s words."""

    FILE = "file"
    DIRECTORY = "dir"
    SYMLINK = "link"
    CHARACTER = "char"
    BLOCK = "block"
    FIFO = "fifo"


KIND_BY_FORMAT: Final = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER,
    stat.S_IFBLK: Kind.BLOCK,
    stat.S_IFIFO: Kind.FIFO,
}
FORMAT_BY_KIND: Final = {kind: fmt for fmt, kind in KIND_BY_FORMAT.items()}

IN_GIT: Final = frozenset({Kind.FILE, Kind.SYMLINK})
"""Kinds whose content is a blob; directories are trees, the rest are records alone."""

CAPABILITY: Final = b"security.capability"
ACL_ACCESS: Final = b"system.posix_acl_access"
ACL_DEFAULT: Final = b"system.posix_acl_default"

Xattrs = tuple[tuple[bytes, bytes], ...]


class Meta(NamedTuple):
    """All that a record holds besides the name: equal metas restore to equal metadata.

    ``mode`` is 12 bits; ``time`` the modification time in nanoseconds since the epoch, None where none is recorded
    (directories whose content is not recorded); ``device`` (major, minor); ``xattrs`` sorted by name. ``uname`` and
    ``gname``, in layers, name the owner among the accounts of the root that they are laid over.
    """

    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    time: int | None = None
    device: tuple[int, int] | None = None
    xattrs: Xattrs = ()
    uname: bytes = b""
    gname: bytes = b""


class Entry(NamedTuple):
    """A directory entry by its real name. ``oid`` is the raw id of its blob or tree, empty for devices and fifos."""

    name: bytes
    meta: Meta
    oid: bytes = b""


class Directory(NamedTuple):
    """One directory of a snapshot, records and git's tree joined.

    ``own`` is the directory's metadata; ``files`` everything in it but directories, by real name; ``subdirectories``
    the raw tree ids by real name. Both in bytewise order of the names.
    """

    own: Meta
    files: Mapping[bytes, Entry]
    subdirectories: Mapping[bytes, bytes]


ReadDirectory = Callable[[bytes, bytes], Directory]
"""Reads the directory of a tree id that is at a path; raises DamagedError."""
