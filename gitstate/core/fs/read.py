"""Reading a tree: descriptors, listings, symlinks, extended attributes. Follows no symlink and never blocks."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from gitstate.core.entry import ACL_ACCESS, ACL_DEFAULT, CAPABILITY, Xattrs
from gitstate.core.errors import ConfigError, HostError
from gitstate.core.failures import of_system

Identity = tuple[int, int]
"""Device and inode number."""

SELINUX: Final = b"security.selinux"
DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OTHERWISE: Final = (errno.ELOOP, errno.ENOTDIR, errno.ENXIO)
"""What opening a symlink, something below a file, and a socket gives."""
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_tree(path: Path) -> int:
    """A descriptor of the directory ``path``, symlinks in ``path`` itself followed. Raises HostError, StorageError."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HostError(f"{path}: {error.strerror}", "is it the right directory, and is it mounted?") from None
    except OSError as error:
        raise of_system(error) from None


def open_directory(name: bytes, parent: int) -> int:
    """A descriptor of the subdirectory ``name``. Raises OSError."""
    return os.open(name, DIRECTORY_FLAGS, dir_fd=parent)


def open_path(path: bytes, root: int) -> int:
    """A descriptor of the directory at ``path`` below an open one, no symlink followed. Raises OSError."""
    current = os.dup(root)
    for part in path.split(b"/") if path else []:
        try:
            below = open_directory(part, current)
        finally:
            os.close(current)
        current = below
    return current


def identity(directory: int | Path) -> Identity:
    """Which directory a descriptor or path is, by whatever name or mount it was reached. Raises OSError."""
    found = os.stat(directory)
    return found.st_dev, found.st_ino


def open_file(name: bytes, parent: int) -> int:
    """A descriptor to read the regular file ``name``; never blocks, never follows. Raises OSError."""
    try:
        return os.open(name, _FILE_FLAGS | os.O_NOATIME, dir_fd=parent)
    except PermissionError:  # O_NOATIME is for owners
        return os.open(name, _FILE_FLAGS, dir_fd=parent)


def extents(descriptor: int) -> Iterator[tuple[int, int]]:
    """Where a file has data: start and end of each extent; the rest is holes. All of it where nobody can tell."""
    position, size = 0, os.fstat(descriptor).st_size
    while position < size:
        start = _seek(descriptor, position, os.SEEK_DATA, position)
        stop = None if start is None else _seek(descriptor, start, os.SEEK_HOLE, size)
        if start is None or stop is None:
            return
        yield start, stop
        position = stop


def _seek(descriptor: int, offset: int, whence: int, otherwise: int) -> int | None:
    """None behind the last data, ``otherwise`` where the file system doesn't know."""
    try:
        return os.lseek(descriptor, offset, whence)
    except OSError as error:
        return None if error.errno == errno.ENXIO else otherwise


def pieces(descriptor: int, size: int) -> Iterator[bytes]:
    """A file's bytes, at most ``size`` at a time; holes aren't read. Ends early if the file is cut meanwhile."""
    position, end, zeros = 0, os.fstat(descriptor).st_size, bytes(size)
    for start, stop in [*extents(descriptor), (end, end)]:
        while position < start:
            yield zeros[: start - position]
            position = min(position + size, start)
        while position < stop:
            data = os.pread(descriptor, min(size, stop - position), position)
            if not data:
                return
            yield data
            position += len(data)


def list_directory(descriptor: int) -> list[tuple[bytes, os.stat_result]]:
    """The entries of an open directory with their lstat, in bytewise order; what vanishes meanwhile is left out."""
    found = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                found.append((os.fsencode(entry.name), entry.stat(follow_symlinks=False)))
    found.sort()
    return found


def read_link(name: bytes, parent: int) -> bytes:
    """The target of the symlink ``name``."""
    return os.fsencode(os.readlink(name, dir_fd=parent))


def read_below(root: int, path: bytes, limit: int, where: object) -> bytes | None:
    """The first ``limit`` bytes of the file ``path`` below ``root``; None if nothing is there.

    ``where`` names it in errors. No symlink is followed, and nothing but a file is taken for one: ConfigError. Raises
    StorageError, HostError.
    """
    above, _, name = path.rpartition(b"/")
    with ExitStack() as stack:
        try:
            parent = open_path(above, root)
            stack.callback(os.close, parent)
            descriptor = open_file(name, parent)
            stack.callback(os.close, descriptor)
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return os.read(descriptor, limit)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _OTHERWISE:
                raise of_system(error, where) from None
    raise not_regular(where)


def not_regular(where: object) -> ConfigError:
    """The error for a configuration file that is something else, or lies behind a symlink."""
    return ConfigError(
        f"{where} is no regular file, or lies behind a symlink", "make it a file in its own directory, or remove it"
    )


def by_descriptor(name: bytes, parent: int) -> bytes:
    """A path to ``name`` in the open directory ``parent`` for calls that take no directory descriptor."""
    return b"/proc/self/fd/%d/%s" % (parent, name)


_RECORDED: Final = frozenset({CAPABILITY, ACL_ACCESS, ACL_DEFAULT})


def is_recorded(name: bytes, *, selinux: bool) -> bool:
    """Whether an extended attribute of that name is recorded."""
    return name in _RECORDED or name.startswith(b"user.") or (selinux and name == SELINUX)


def _read_xattrs(target: int | bytes, selinux: bool) -> Xattrs:
    follow = isinstance(target, int)
    try:
        names = [os.fsencode(name) for name in os.listxattr(target, follow_symlinks=follow)]
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EOPNOTSUPP):
            return ()
        raise
    found = []
    for name in names:
        if is_recorded(name, selinux=selinux):
            with suppress(OSError):  # removed meanwhile: ENODATA
                found.append((name, os.getxattr(target, name, follow_symlinks=follow)))
    return tuple(sorted(found))


def descriptor_xattrs(descriptor: int, *, selinux: bool = False) -> Xattrs:
    """The recorded extended attributes of an open file or directory."""
    return _read_xattrs(descriptor, selinux)


def named_xattrs(name: bytes, parent: int, *, selinux: bool = False) -> Xattrs:
    """The recorded extended attributes of an entry that can't be opened: a symlink, device or fifo."""
    return _read_xattrs(by_descriptor(name, parent), selinux)


def prefixed_xattrs(name: bytes, parent: int, prefix: bytes) -> dict[bytes, bytes]:
    """The extended attributes of any entry whose names begin with ``prefix``, without it. Raises OSError."""
    target = by_descriptor(name, parent)
    try:
        names = [os.fsencode(one) for one in os.listxattr(target, follow_symlinks=False)]
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EOPNOTSUPP):
            return {}
        raise
    return {
        one.removeprefix(prefix): os.getxattr(target, one, follow_symlinks=False)
        for one in names
        if one.startswith(prefix)
    }
