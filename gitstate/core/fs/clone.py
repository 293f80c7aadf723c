"""Reflinks: files that share their blocks on disk, on btrfs and XFS (ioctl_ficlone(2))."""

from __future__ import annotations

import errno
import fcntl
import os
from typing import Final

from gitstate.core.fs.read import open_file

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
