"""Mounting on open descriptors, so that no symlink on the way to a mount point counts, and unmounting.

A live tree may hold any symlink, and its root may change it at any moment: a path that was looked at proves nothing.
"""

from __future__ import annotations

import ctypes
import os
from enum import IntFlag
from typing import Final

from gitstate.core.fs.kernel import mount_id
from gitstate.core.fs.read import by_descriptor

_NEW_MOUNTS: Final = 0x20000  # CLONE_NEWNS, linux/sched.h
_BIND: Final = 4096  # MS_*, linux/mount.h
_RECURSIVE: Final = 16384
_PRIVATE: Final = 1 << 18
_DETACH: Final = 2  # MNT_DETACH, sys/mount.h
_NO_FOLLOW: Final = 8
_libc = ctypes.CDLL(None, use_errno=True)


class Flag(IntFlag):
    """What a mount doesn't allow: MS_* of linux/mount.h."""

    NONE = 0
    READ_ONLY = 1
    NO_SETUID = 2
    NO_DEVICES = 4
    NO_PROGRAMS = 8


def leave_mounts() -> None:
    """Give this process mounts of its own: what it mounts from now on, only it and its children see. Raises OSError."""
    _check(_libc.unshare(_NEW_MOUNTS), b"unshare")
    _mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, b"")


def mount(kind: bytes, source: bytes, target: int, flags: Flag = Flag.NONE, options: bytes = b"") -> None:
    """Mount a new file system on the open directory ``target``; ``source`` is only shown. Raises OSError."""
    _mount(source, by_descriptor(b".", target), kind, int(flags), options)


def bind(source: bytes, target: int) -> None:
    """Mount the file or directory at the path ``source`` on the open one ``target``. Raises OSError."""
    _mount(source, b"/proc/self/fd/%d" % target, None, _BIND, b"")


def unmount(parent: int, name: bytes, *, lazily: bool) -> None:
    """Unmount what is mounted on ``name`` in an open directory; if ``lazily``, with all below it and though it is used.

    Raises OSError.
    """
    _check(_libc.umount2(by_descriptor(name, parent), _NO_FOLLOW | (_DETACH if lazily else 0)), name)


def mounted_on(parent: int, name: bytes) -> int:
    """The id of the uppermost mount on ``name`` in an open directory; that of the directory, if there is none."""
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        return mount_id(descriptor)
    finally:
        os.close(descriptor)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int, options: bytes) -> None:
    _check(_libc.mount(source, target, kind, ctypes.c_ulong(flags), options), target)


def _check(result: int, where: bytes) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), where)
