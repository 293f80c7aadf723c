"""Writing a tree: entries made and sealed with their metadata, files replaced in one step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from gitstate.entry import FORMAT_BY_KIND, Entry, Kind, Meta
from gitstate.fs.read import by_descriptor, open_directory


def create_file(name: bytes, parent: int) -> int:
    """A new empty file ``name`` to write, its owner's alone. Raises OSError, FileExistsError included."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=parent)


_HOLE: Final = 64 * 1024
_ZEROS: Final = bytes(_HOLE)


def write_sparse(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Write ``data`` at ``offset``, leaving holes for blocks of zeros; the caller truncates to the final size."""
    if len(data) < _HOLE:
        os.pwrite(descriptor, data, offset)
        return
    view = memoryview(data)
    for start in range(0, len(view), _HOLE):
        block = view[start : start + _HOLE]
        if block != _ZEROS[: len(block)]:
            _write_all(descriptor, block, offset + start)


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
