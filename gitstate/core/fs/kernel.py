"""System calls that Python's os module lacks: mount ids, file system types, syncfs, OFD locks."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from gitstate.core.failures import of_system

_libc = ctypes.CDLL(None, use_errno=True)
_AT_EMPTY_PATH: Final = 0x1000
_AT_SYMLINK_NOFOLLOW: Final = 0x100
_STATX_MNT_ID: Final = 0x1000
_STATX_MASK_OFFSET: Final = 0
_STATX_MNT_ID_OFFSET: Final = 144  # offsetof(struct statx, stx_mnt_id), linux/stat.h
_ALL_OWNERS: Final = (1 << 32) - 1
_UNHEARD: Final = int(signal.SIGURG)
_SUPER_MAGIC_TMPFS: Final = 0x01021994  # linux/magic.h
_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2  # linux/fs.h


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def mount_id(descriptor: int) -> int:
    """The id of the mount ``descriptor`` is on; unlike st_dev, it tells a bind mount from its source."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.statx(descriptor, b"", _AT_EMPTY_PATH, _STATX_MNT_ID, buffer), "statx")
    return _mount_id(buffer.raw)


def is_mounted(name: bytes, parent: int, home: int) -> bool:
    """Whether ``name``, which can't be opened (a device, a socket), is on another mount than ``home``."""
    buffer = ctypes.create_string_buffer(256)
    if _libc.statx(parent, name, _AT_SYMLINK_NOFOLLOW, _STATX_MNT_ID, buffer) < 0:  # gone meanwhile
        return False
    return _mount_id(buffer.raw) != home


def _mount_id(statx: bytes) -> int:
    return int.from_bytes(statx[_STATX_MNT_ID_OFFSET : _STATX_MNT_ID_OFFSET + 8], "little")


def sync_file_system(descriptor: int) -> None:
    """syncfs(2) on the file system of ``descriptor``. Raises StorageError, HostError."""
    try:
        _check(_libc.syncfs(descriptor), "syncfs")
    except OSError as error:
        raise of_system(error) from None


def exchange(one: Path, other: Path) -> None:
    """Give each of two paths the other's name, in one step. Raises OSError: EINVAL where the file system can't."""
    names = os.fsencode(one), os.fsencode(other)
    _check(_libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE), f"{one} <-> {other}")


def is_tmpfs(descriptor: int) -> bool:
    """Whether ``descriptor`` is on a tmpfs, whose mmap writes move no time stamp."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.fstatfs(descriptor, buffer), "fstatfs")
    return int.from_bytes(buffer.raw[:8], "little") == _SUPER_MAGIC_TMPFS


_UUID_TYPES: Final = frozenset((0xEF53, 0x9123683E, 0xF2F52010))
"""ext, btrfs and F2FS, whose f_fsid comes of their UUID; XFS has its device number there, NFS nothing."""


def lasting_identity(descriptor: int) -> str:
    """Which directory of which file system an open one is, by what a reboot doesn't change."""
    buffer = ctypes.create_string_buffer(256)
    _check(_libc.fstatfs(descriptor, buffer), "fstatfs")
    kind = int.from_bytes(buffer.raw[:8], "little")
    of_file_system = os.fstatvfs(descriptor).f_fsid if kind in _UUID_TYPES else 0
    return f"{kind:x}-{of_file_system:x}-{os.fstat(descriptor).st_ino}"


def is_read_only(descriptor: int) -> bool:
    """Whether ``descriptor`` is on a read-only file system or mount."""
    return bool(os.fstatvfs(descriptor).f_flag & os.ST_RDONLY)


def scratch_time(descriptor: int) -> int | None:
    """The file system's current time in nanoseconds, taken from an O_TMPFILE; None where that isn't supported."""
    try:
        scratch = os.open(b".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=descriptor)
    except OSError:
        return None
    try:
        return os.fstat(scratch).st_mtime_ns
    finally:
        os.close(scratch)


def knows_all_owners() -> bool:
    """Whether every owner exists here; in a container's user namespace only some do, and chown to others is EINVAL."""
    lines = Path("/proc/self/uid_map").read_text().splitlines()
    return sum(int(line.split()[2]) for line in lines) >= _ALL_OWNERS


def is_open_for_writing(descriptor: int) -> bool | None:
    """Whether anybody has this file open, or mapped, for writing; None where the kernel doesn't tell.

    A read lease (fcntl(2)) is granted only if nobody has. It is given back at once: who opens the file in between
    waits for that long, and the signal that we would get is one that nobody minds.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, _UNHEARD)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:
        return None
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def allow_many_descriptors() -> None:
    """Raise the soft limit of open files to the hard one: each level of a deep tree holds a descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def mounts_below(path: Path) -> list[str]:
    """Mount points at or below ``path``, from /proc/self/mountinfo."""
    real = os.path.realpath(path)
    points = [os.fsdecode(_unescaped(fields[4])) for fields in _mounts()]
    return [point for point in points if point == real or point.startswith(real.rstrip("/") + "/")]


def overlay_options(upper: Path) -> list[str] | None:
    """The mount options of the overlay that has ``upper`` as its upper directory; None if none has, that we see."""
    found = os.stat(upper)
    for fields in _mounts():
        kind, _, *rest = fields[fields.index(b"-") + 1 :]
        options = os.fsdecode(_unescaped(rest[0])).split(",") if rest and kind == b"overlay" else []
        for option in options:
            word, _, path = option.partition("=")
            if word == "upperdir" and _is_same(Path(path.replace("\\,", ",")), found):
                return options
    return None


def _is_same(path: Path, found: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(path), found)
    except OSError:
        return False


class MountPoint(NamedTuple):
    """A line of /proc/self/mountinfo.

    The mount's id, where it is mounted, what it shows as ``place`` has it, the source that it was mounted with.
    """

    id: int
    point: bytes
    place: Path
    source: bytes


def mount_points(path: Path) -> list[MountPoint]:
    """The mounts below ``path``, none at itself, in the order in which they were made."""
    top = os.fsencode(os.path.realpath(path)).rstrip(b"/") + b"/"
    found = []
    for number, _, device, within, point, *rest in _mounts():
        if (mounted := _unescaped(point)).startswith(top):
            shown = Path(device.decode(), os.fsdecode(_unescaped(within)).lstrip("/"))
            found.append(MountPoint(int(number), mounted, shown, _unescaped(rest[rest.index(b"-") + 2])))
    return found


def place(path: Path) -> Path:
    """Where a directory is in its file system, below the device's numbers: equal for all its mounts. Raises OSError."""
    real = Path(os.path.realpath(path))
    descriptor = os.open(real, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        home = mount_id(descriptor)
    finally:
        os.close(descriptor)
    for number, _, device, above, point, *_ in _mounts():
        mounted = Path(os.fsdecode(_unescaped(point)))
        if int(number) == home and real.is_relative_to(mounted):
            within = os.fsdecode(_unescaped(above)).lstrip("/")
            return Path(device.decode(), within) / real.relative_to(mounted)
    return Path("?", *real.parts[1:])  # mounted in another namespace


def _mounts() -> list[list[bytes]]:
    """The fields of /proc/self/mountinfo: id, parent, device, path in the file system, mount point, and others."""
    return [line.split(b" ") for line in Path("/proc/self/mountinfo").read_bytes().splitlines()]


def _unescaped(field: bytes) -> bytes:
    return field.decode("unicode_escape").encode("latin-1")


@contextmanager
def shared_lock(descriptor: int, start: int, count: int) -> Iterator[bool]:
    """Hold a shared OFD lock on ``count`` bytes from ``start``; yields False if it is taken.

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


_FLOCK: Final = struct.Struct("hhqqi4x")
_SERVERS: Final = ("nfsd", "lockd", "ganesha")
"""Programs and kernel threads that lock files for machines elsewhere."""


def is_locked_for_others(descriptor: int) -> bool:
    """Whether an NFS server holds a lock on an open file for a client of its own. Raises OSError."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    if kind == fcntl.F_UNLCK:
        return False
    if pid <= 0:  # of no process: of an open file description, as Ganesha has them, or of lockd's
        return True
    try:
        return Path("/proc", str(pid), "comm").read_text().startswith(_SERVERS)
    except OSError:
        return False
