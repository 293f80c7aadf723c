"""Writing a tree: entries with their metadata, and files replaced atomically."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

from gitstate.core.entry import FORMAT_BY_KIND, Entry, Kind, Meta
from gitstate.core.fs.read import by_descriptor, descriptor_xattrs, open_directory, open_file


def create_file(name: bytes, parent: int) -> int:
    """Create the file ``name`` with mode 0600; its descriptor. Raises OSError, FileExistsError included."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(name, flags, 0o600, dir_fd=parent)


NS: Final = 1_000_000_000
_TYPICAL: Final = 1_000_000_002 * NS - 1
"""The last nanosecond of two seconds, as FAT counts them."""

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


def apply_metadata(descriptor: int, meta: Meta) -> None:
    """Apply recorded metadata to an open file or directory.

    The order matters: chown clears setuid and capabilities, an ACL implies the mode it was read with, time comes
    last.
    """
    os.fchown(descriptor, meta.uid, meta.gid)
    os.fchmod(descriptor, meta.mode)
    for name, value in meta.xattrs:
        os.setxattr(descriptor, name, value)
    time = meta.time or 0
    os.utime(descriptor, ns=(time, time))


def set_metadata(descriptor: int, meta: Meta, *, selinux: bool = False) -> None:
    """``apply_metadata``, and nothing of what else is recorded stays; without a recorded time it keeps its own."""
    wanted = {name for name, _ in meta.xattrs}
    for name, _ in descriptor_xattrs(descriptor, selinux=selinux):
        if name not in wanted:
            os.removexattr(descriptor, name)
    own_time = meta.time is None
    apply_metadata(descriptor, meta._replace(time=os.fstat(descriptor).st_mtime_ns) if own_time else meta)


class KeptTimes(NamedTuple):
    """The modification times that a file system keeps: the first and the last, in steps; all in nanoseconds."""

    first: int
    last: int
    step: int

    def keeps(self, time: int) -> bool:
        """Whether ``time`` stays as it is."""
        return self.first <= time <= self.last and not time % self.step


def kept_times(directory: int) -> KeptTimes:
    """Find out by giving times to an open directory of our own: the kernel takes the nearest that can be kept."""
    first, step, last = (_stored(directory, time) for time in (-(2**63) * NS, _TYPICAL, (2**63 - 1) * NS))
    return KeptTimes(min(first, _TYPICAL), max(last, _TYPICAL), max(_TYPICAL - step, 0) + 1)


def _stored(directory: int, time: int) -> int:
    try:
        os.utime(directory, ns=(time, time))
    except OSError:  # some refuse it
        return time
    return os.fstat(directory).st_mtime_ns


def copy_metadata(descriptor: int, model: int) -> None:
    """Copy all metadata of the open directory ``model`` to another one."""
    status = os.fstat(model)
    xattrs = descriptor_xattrs(model, selinux=True)
    own = Meta(Kind.DIRECTORY, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns)
    apply_metadata(descriptor, own._replace(xattrs=xattrs) if xattrs else own)


def apply_metadata_by_name(name: bytes, parent: int, meta: Meta) -> None:
    """``apply_metadata`` for a symlink, device or fifo, which can't be opened."""
    os.chown(name, meta.uid, meta.gid, dir_fd=parent, follow_symlinks=False)
    if meta.kind is not Kind.SYMLINK:
        os.chmod(name, meta.mode, dir_fd=parent)
    for attribute, value in meta.xattrs:
        os.setxattr(by_descriptor(name, parent), attribute, value, follow_symlinks=False)
    time = meta.time or 0
    os.utime(name, ns=(time, time), dir_fd=parent, follow_symlinks=False)


def make_special(entry: Entry, parent: int) -> None:
    """Create a device or fifo with its metadata."""
    major, minor = entry.meta.device or (0, 0)
    os.mknod(entry.name, FORMAT_BY_KIND[entry.meta.kind] | 0o600, os.makedev(major, minor), dir_fd=parent)
    apply_metadata_by_name(entry.name, parent, entry.meta)


def make_directory(name: bytes, parent: int) -> int:
    """Create a directory with mode 0700; its descriptor."""
    os.mkdir(name, 0o700, dir_fd=parent)
    return open_directory(name, parent)


def make_path(path: bytes, root: int) -> int:
    """A descriptor of the directory ``path`` below ``root``; what is missing is made with mode 0700. Raises OSError."""
    current = os.dup(root)
    for part in path.split(b"/") if path else []:
        try:
            with suppress(FileExistsError):
                os.mkdir(part, 0o700, dir_fd=current)
            below = open_directory(part, current)
        finally:
            os.close(current)
        current = below
    return current


@contextmanager
def usual_umask() -> Iterator[None]:
    """Make files with umask 022 here and in children: what a machine gets doesn't depend on the caller's."""
    before = os.umask(0o022)
    try:
        yield
    finally:
        os.umask(before)


def sync_directory(path: Path) -> None:
    """fsync the directory ``path`` after renames and creations."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Replace the file ``path`` atomically and durably; after a crash it is the old or the new one."""
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


# --- reflinks: files that share their blocks, on btrfs and XFS (ioctl_ficlone(2)) -------------------------------------

_FICLONE: Final = 0x40049409  # linux/fs.h
_NOT_HERE: Final = frozenset(
    (errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS, errno.EXDEV, errno.EINVAL, errno.EPERM, errno.ENOENT)
)
"""Errors after which the file is copied instead: no reflinks here, another file system, or the source is gone."""


def clone_file(name: bytes, parent: int, descriptor: int) -> bool:
    """Make the new file ``descriptor`` a reflink of the file ``name``; False if that isn't possible. Raises OSError."""
    try:
        source = open_file(name, parent)
        try:
            fcntl.ioctl(descriptor, _FICLONE, source)
        finally:
            os.close(source)
    except OSError as error:
        if error.errno in _NOT_HERE:
            return False
        raise
    return True


def why_no_clones(source: int, target: int) -> int:
    """0 if files in the open directory ``target`` can be reflinks of files in ``source``, else an errno."""
    nameless: list[int] = []
    try:
        for directory in (source, target):
            nameless.append(os.open(b".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=directory))
        fcntl.ioctl(nameless[1], _FICLONE, nameless[0])
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        for descriptor in nameless:
            os.close(descriptor)
    return 0
