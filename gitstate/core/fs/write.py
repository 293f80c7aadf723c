"""Writing a tree: entries made and sealed with their metadata, files replaced in one step."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final

from gitstate.core.entry import FORMAT_BY_KIND, Entry, Kind, Meta
from gitstate.core.fs.read import by_descriptor, descriptor_xattrs, open_directory


def create_file(name: bytes, parent: int) -> int:
    """A new empty file ``name`` to write, its owner's alone. Raises OSError, FileExistsError included."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=parent)


_PAGE: Final = 4096
_ZEROS: Final = bytes(_PAGE)


def write_sparse(descriptor: int, data: bytes, offset: int) -> None:
    """Write ``data`` at ``offset``, leaving holes for pages of zeros; the caller truncates to the final size."""
    view, start = memoryview(data), 0
    if _ZEROS in data:
        for begin, end in _pages(offset, len(data)):
            if view[begin:end] == _ZEROS[: end - begin]:
                _write_all(descriptor, view[start:begin], offset + start)
                start = end
    _write_all(descriptor, view[start:], offset + start)


def _pages(offset: int, length: int) -> Iterator[tuple[int, int]]:
    """The file's pages that ``length`` bytes at ``offset`` touch, as slices of those bytes."""
    return pairwise([0, *range(-offset % _PAGE or _PAGE, length, _PAGE), length])


def _write_all(descriptor: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def seal_descriptor(descriptor: int, meta: Meta) -> None:
    """Give an open file or directory its recorded metadata.

    The order matters: chown clears setuid and capabilities, an ACL goes with the mode it was read with, and time
    comes last.
    """
    os.fchown(descriptor, meta.uid, meta.gid)
    os.fchmod(descriptor, meta.mode)
    for name, value in meta.xattrs:
        os.setxattr(descriptor, name, value)
    time = meta.time or 0
    os.utime(descriptor, ns=(time, time))


def seal_like(descriptor: int, model: int) -> None:
    """Give an open directory all the metadata of the open directory ``model``."""
    status = os.fstat(model)
    xattrs = descriptor_xattrs(model, selinux=True)
    own = Meta(Kind.DIRECTORY, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns)
    seal_descriptor(descriptor, own._replace(xattrs=xattrs) if xattrs else own)


def seal_name(name: bytes, parent: int, meta: Meta) -> None:
    """``seal_descriptor`` for a symlink, device or fifo."""
    os.chown(name, meta.uid, meta.gid, dir_fd=parent, follow_symlinks=False)
    if meta.kind is not Kind.SYMLINK:
        os.chmod(name, meta.mode, dir_fd=parent)
    for attribute, value in meta.xattrs:
        os.setxattr(by_descriptor(name, parent), attribute, value, follow_symlinks=False)
    time = meta.time or 0
    os.utime(name, ns=(time, time), dir_fd=parent, follow_symlinks=False)


def make_special(entry: Entry, parent: int) -> None:
    """A device or fifo, sealed."""
    major, minor = entry.meta.device or (0, 0)
    os.mknod(entry.name, FORMAT_BY_KIND[entry.meta.kind] | 0o600, os.makedev(major, minor), dir_fd=parent)
    seal_name(entry.name, parent, entry.meta)


def make_directory(name: bytes, parent: int) -> int:
    """A new directory, reachable by its owner only until it is sealed; its descriptor."""
    os.mkdir(name, 0o700, dir_fd=parent)
    return open_directory(name, parent)


def sync_directory(path: Path) -> None:
    """Make renames and creations in ``path`` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace ``path`` by ``data`` in one step, durably; a crash leaves the old file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)
