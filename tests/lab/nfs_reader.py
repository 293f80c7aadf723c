"""Reads a whole tree over NFS version 4 with libnfs.

By ctypes on Debian's libnfs.so, not by PyPI's libnfs: that one decodes names as UTF-8 and fails on all others, and
its readlink has no length.

What libnfs does not show over version 4: device numbers, ACLs, attributes, hard-link groups by inode. It fails below
some 90 levels, because a path is one compound request. A directory whose mode has the sticky bit and no x bit is
unreadable by any client of Ganesha, and so is its parent: the server takes it for a referral (NFS4ERR_MOVED).
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
import pickle
import stat
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

CHUNK = 1 << 20


class Seen(NamedTuple):
    """An entry as a client sees it; `content` is a file's SHA-256 in hex, a link's target, else empty."""

    type: str
    mode: int
    uid: int
    gid: int
    size: int
    content: str | bytes
    mtime_ns: int


Tree = dict[bytes, Seen]
"""Entries by their path below the directory that was read, which itself is the empty path."""

_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFSOCK: "socket",
}


class _Attributes(ctypes.Structure):
    """`struct nfs_stat_64`."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in (
            *("dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks", "atime", "mtime"),
            *("ctime", "atime_nsec", "mtime_nsec", "ctime_nsec", "used"),
        )
    )


class _Entry(ctypes.Structure):
    """The part of `struct nfsdirent` that is used."""

    _fields_ = (("next", ctypes.c_void_p), ("name", ctypes.c_char_p))


class _Url(ctypes.Structure):
    """`struct nfs_url`."""

    _fields_ = (("server", ctypes.c_char_p), ("path", ctypes.c_char_p), ("file", ctypes.c_char_p))


class Mount:
    """One mount. Errors become OSError with libnfs's words."""

    def __init__(self, url: str) -> None:
        self.library = _library()
        self.context = self.library.nfs_init_context()
        parsed = self.library.nfs_parse_url_dir(self.context, url.encode())
        if not parsed:
            raise ValueError(f"libnfs cannot parse {url}")
        self._do("nfs_mount", parsed.contents.server, parsed.contents.path)

    def names(self, path: bytes) -> list[bytes]:
        """The names in a directory, sorted."""
        directory = ctypes.c_void_p()
        self._do("nfs_opendir", path, ctypes.byref(directory))
        try:
            return sorted(name for name in self._entries(directory) if name not in (b".", b".."))
        finally:
            self.library.nfs_closedir(self.context, directory)

    def look(self, path: bytes) -> Seen:
        """An entry, its content included; the last link of the path is not followed."""
        found = _Attributes()
        self._do("nfs_lstat64", path, ctypes.byref(found))
        kind = _TYPES[stat.S_IFMT(found.mode)]
        content: str | bytes = ""
        if kind == "file":
            content = self._digest(path)
        elif kind == "link":
            content = self._target(path, found.size)
        seconds = ctypes.c_int64(found.mtime).value
        return Seen(
            type=kind,
            mode=stat.S_IMODE(found.mode),
            uid=found.uid & 0xFFFFFFFF,
            gid=found.gid & 0xFFFFFFFF,
            size=found.size,
            content=content,
            mtime_ns=seconds * 10**9 + found.mtime_nsec,
        )

    def _entries(self, directory: ctypes.c_void_p) -> Iterator[bytes]:
        while entry := self.library.nfs_readdir(self.context, directory):
            yield entry.contents.name

    def _digest(self, path: bytes) -> str:
        handle = ctypes.c_void_p()
        self._do("nfs_open", path, os.O_RDONLY, ctypes.byref(handle))
        digest = hashlib.sha256()
        buffer = ctypes.create_string_buffer(CHUNK)
        try:
            while count := self._do("nfs_read", handle, CHUNK, buffer):
                digest.update(memoryview(buffer)[:count])
        finally:
            self.library.nfs_close(self.context, handle)
        return digest.hexdigest()

    def _target(self, path: bytes, size: int) -> bytes:
        """A link's target, cut to its size because libnfs 4 doesn't end it."""
        buffer = ctypes.create_string_buffer(2 * 4096)
        self._do("nfs_readlink", path, buffer, len(buffer))
        return buffer.raw[:size]

    def _do(self, function: str, *arguments: object) -> int:
        result: int = getattr(self.library, function)(self.context, *arguments)
        if result < 0:
            words = (self.library.nfs_get_error(self.context) or b"").decode(errors="backslashreplace")
            raise OSError(-result, f"{function}{arguments[:1]}: {words or errno.errorcode.get(-result, '?')}")
        return result


def read(mount: Mount, below: bytes) -> Tree:
    """The tree below a directory of the export, without recursion."""
    tree: Tree = {}
    waiting = [b""]
    while waiting:
        path = waiting.pop()
        place = b"/" + b"/".join(part for part in (below, path) if part)
        tree[path] = mount.look(place)
        if tree[path].type == "dir":
            waiting += [path + b"/" + name if path else name for name in mount.names(place)]
    return tree


def _library() -> Any:
    """libnfs with its signatures; later versions than these turn nfs_read's arguments round."""
    library = _load("libnfs.so.13", "libnfs.so.14")
    context, text, pointer = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
    for name, result, arguments in (
        ("nfs_init_context", context, ()),
        ("nfs_parse_url_dir", ctypes.POINTER(_Url), (text,)),
        ("nfs_mount", ctypes.c_int, (text, text)),
        ("nfs_get_error", text, ()),
        ("nfs_opendir", ctypes.c_int, (text, pointer)),
        ("nfs_readdir", ctypes.POINTER(_Entry), (pointer,)),
        ("nfs_closedir", None, (pointer,)),
        ("nfs_lstat64", ctypes.c_int, (text, pointer)),
        ("nfs_readlink", ctypes.c_int, (text, pointer, ctypes.c_int)),
        ("nfs_open", ctypes.c_int, (text, ctypes.c_int, pointer)),
        ("nfs_read", ctypes.c_int, (pointer, ctypes.c_uint64, pointer)),
        ("nfs_close", ctypes.c_int, (pointer,)),
    ):
        function = getattr(library, name)
        function.restype = result
        function.argtypes = arguments if name == "nfs_init_context" else (context, *arguments)
    return library


def _load(*names: str) -> Any:
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise OSError(errno.ENOENT, f"missing: one of {', '.join(names)} (Debian: libnfs-utils)")


def main() -> None:
    """The program: a URL in its arguments, a directory of the export on stdin, a pickled `Tree` on stdout."""
    sys.stdout.buffer.write(pickle.dumps(read(Mount(sys.argv[1]), sys.stdin.buffer.read())))
