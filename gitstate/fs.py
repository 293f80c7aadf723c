"""The only hands that touch a live or exported tree: reading it without being led astray, writing it faithfully.

Everything goes through directory descriptors and follows no symlink: a prototype may hold any symlink, and paths may
be longer than PATH_MAX.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import resource
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gitstate.entry import ACL_ACCESS, ACL_DEFAULT, CAPABILITY, FORMAT_BY_KIND, Entry, Kind, Meta, Xattrs
from gitstate.errors import EnvironmentFault, StorageFault
from gitstate.names import octal

SELINUX: Final = b"security.selinux"
_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def allow_many_descriptors() -> None:
    """Raise the soft limit of open files to the hard one: a descriptor is held for every level of a deep tree."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# --- what Python's os module doesn't offer --------------------------------------------------------------------------

_libc = ctypes.CDLL(None, use_errno=True)
_AT_EMPTY_PATH: Final = 0x1000
_STATX_MNT_ID: Final = 0x1000
_STATX_MASK_OFFSET: Final = 0
_STATX_MNT_ID_OFFSET: Final = 144  # offsetof(struct statx, stx_mnt_id), linux/stat.h
_SUPER_MAGIC_TMPFS: Final = 0x01021994  # linux/magic.h


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount_id(descriptor: int) -> int:
    """The id of the mount that ``descriptor`` was opened on; unlike st_dev it tells a bind mount from its source."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_MNT_ID, buffer), "statx")
    return int.from_bytes(buffer[_STATX_MNT_ID_OFFSET : _STATX_MNT_ID_OFFSET + 8], "little")


def sync_file_system(descriptor: int) -> None:
    """Write out everything dirty on the file system of ``descriptor``. Raises StorageFault."""
    try:
        _check(_libc.syncfs(descriptor), "syncfs")
    except OSError as error:
        raise StorageFault(str(error), "look at the kernel's log") from None


def is_tmpfs(descriptor: int) -> bool:
    """Whether ``descriptor`` is on a tmpfs, whose mmap writes move no time stamp."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.fstatfs(descriptor, buffer), "fstatfs")
    return int.from_bytes(buffer[:8], "little") == _SUPER_MAGIC_TMPFS


# --- reading --------------------------------------------------------------------------------------------------------


def open_tree(path: Path) -> int:
    """A descriptor of the directory ``path``, symlinks in ``path`` itself followed. Raises EnvironmentFault."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise EnvironmentFault(f"{path}: {error.strerror}", "is it the right directory, and is it mounted?") from None


def close(descriptor: int) -> None:
    """Let go of a descriptor."""
    os.close(descriptor)


def open_directory(name: bytes, parent: int) -> int:
    """A descriptor of the subdirectory ``name``. Raises OSError."""
    return os.open(name, _DIRECTORY_FLAGS, dir_fd=parent)


def open_file(name: bytes, parent: int) -> int:
    """A descriptor to read the regular file ``name``; never blocks, never follows. Raises OSError."""
    try:
        return os.open(name, _FILE_FLAGS | os.O_NOATIME, dir_fd=parent)
    except PermissionError:  # O_NOATIME is for owners
        return os.open(name, _FILE_FLAGS, dir_fd=parent)


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


def read_below(root: int, path: bytes, limit: int) -> bytes | None:
    """The first ``limit`` bytes of the regular file ``path`` below ``root``, no symlink followed; None if it isn't one."""
    *parents, name = path.split(b"/")
    opened: list[int] = []
    try:
        current = root
        for part in parents:
            current = open_directory(part, current)
            opened.append(current)
        opened.append(open_file(name, current))
        if not stat.S_ISREG(os.fstat(opened[-1]).st_mode):
            return None
        return os.read(opened[-1], limit)
    except OSError:
        return None
    finally:
        for descriptor in opened:
            os.close(descriptor)


def scratch_time(descriptor: int) -> int | None:
    """The file system's own idea of now, in nanoseconds, from a nameless file; None where it has no such files."""
    try:
        scratch = os.open(b".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=descriptor)
    except OSError as error:
        if error.errno == errno.EROFS:
            raise EnvironmentFault("the live tree is on a read-only file system", "remount it read-write") from None
        return None
    try:
        return os.fstat(scratch).st_mtime_ns
    finally:
        os.close(scratch)


def _by_descriptor(name: bytes, parent: int) -> bytes:
    """A path to ``name`` in the open directory ``parent`` for calls that take no directory descriptor."""
    return b"/proc/self/fd/%d/%s" % (parent, name)


_RECORDED: Final = frozenset({CAPABILITY, ACL_ACCESS, ACL_DEFAULT})


def _is_recorded(name: bytes, selinux: bool) -> bool:
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
        if _is_recorded(name, selinux):
            with suppress(OSError):  # removed meanwhile: ENODATA
                found.append((name, os.getxattr(target, name, follow_symlinks=follow)))
    return tuple(sorted(found))


def descriptor_xattrs(descriptor: int, *, selinux: bool = False) -> Xattrs:
    """The recorded extended attributes of an open file or directory."""
    return _read_xattrs(descriptor, selinux)


def named_xattrs(name: bytes, parent: int, *, selinux: bool = False) -> Xattrs:
    """The recorded extended attributes of an entry that can't be opened: a symlink, device or fifo."""
    return _read_xattrs(_by_descriptor(name, parent), selinux)


@contextmanager
def shared_lock(descriptor: int, start: int, count: int) -> Iterator[bool]:
    """Hold a shared OFD lock on ``count`` bytes from ``start``; yields whether it could be had.

    OFD locks conflict with other programs' POSIX locks but aren't dropped when some other descriptor closes.
    """
    lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, start, count, 0)
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, lock)
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        unlock = struct.pack("hhqqi4x", fcntl.F_UNLCK, os.SEEK_SET, start, count, 0)
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, unlock)


# --- writing --------------------------------------------------------------------------------------------------------


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
        os.setxattr(_by_descriptor(name, parent), attribute, value, follow_symlinks=False)
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


def remove_tree(path: Path, observer: Callable[[int], None] | None = None) -> None:
    """Remove a tree however deep, whatever its modes, following nothing; never crosses a mount."""
    try:
        parent = os.open(path.parent, _DIRECTORY_FLAGS & ~os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        _remove_below(os.fsencode(path.name), parent, observer)
    finally:
        os.close(parent)


def _remove_below(name: bytes, parent: int, observer: Callable[[int], None] | None) -> None:
    """Depth first with a stack of ours: Python's own recursion ends at a thousand levels."""
    try:
        top = open_directory(name, parent)
    except FileNotFoundError:
        return
    home = mount_id(parent)
    stack: list[tuple[bytes, int, list[bytes]]] = []
    current, current_name = top, name
    pending = _empty_directory(current, home, current_name, observer)
    while True:
        if pending:
            child = pending.pop()
            stack.append((current_name, current, pending))
            current, current_name = open_directory(child, current), child
            pending = _empty_directory(current, home, current_name, observer)
            continue
        os.close(current)
        if not stack:
            os.rmdir(name, dir_fd=parent)
            return
        finished = current_name
        current_name, current, pending = stack.pop()
        os.rmdir(finished, dir_fd=current)


def _empty_directory(descriptor: int, home: int, name: bytes, observer: Callable[[int], None] | None) -> list[bytes]:
    """Unlink all but the subdirectories of an open directory; their names."""
    if mount_id(descriptor) != home:
        raise EnvironmentFault(f"something is mounted on {octal(name)}", "unmount it first: gitstate deletes nothing there")
    if not os.fstat(descriptor).st_mode & stat.S_IWUSR:
        with suppress(OSError):
            os.fchmod(descriptor, 0o700)
    subdirectories = []
    with os.scandir(descriptor) as entries:
        found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for child, is_directory in found:
        if is_directory:
            subdirectories.append(child)
        else:
            os.unlink(child, dir_fd=descriptor)
            if observer:
                observer(1)
    return subdirectories


def mounts_below(path: Path) -> list[str]:
    """Mount points at or below ``path``, from the kernel's own list."""
    real = os.path.realpath(path)
    found = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = os.fsdecode(line.split(b" ")[4].decode("unicode_escape").encode("latin-1"))
        if point == real or point.startswith(real.rstrip("/") + "/"):
            found.append(point)
    return found
