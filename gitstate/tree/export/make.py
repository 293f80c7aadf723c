"""Make one entry of an export from the repository."""

from __future__ import annotations

import errno
import os
from typing import Final

from gitstate.core import fs
from gitstate.core.entry import Entry, Kind, Meta
from gitstate.core.errors import HostError
from gitstate.core.names import display
from gitstate.store import Repository
from gitstate.tree.limits import require_possible_target
from gitstate.tree.snapshot import PLAIN_DIRECTORY

_LARGE: Final = 32 << 20
"""Files from this size on (bytes) are inflated in pieces."""

_PLACE_ERRORS: Final = {
    errno.EOPNOTSUPP: "export to a file system with ACLs and attributes",
    errno.EEXIST: "export to a file system that tells all names apart, capitals too",
    errno.EILSEQ: "export to a file system that takes any name",
    errno.EPERM: "run it where root may make devices, change owners and set capabilities: not in this container",
}
_OTHER_ERRORS: Final = frozenset(
    (errno.ENAMETOOLONG, errno.EINVAL, errno.ERANGE, errno.E2BIG, errno.EOVERFLOW, errno.ENOENT)
)
_OTHER_HINT: Final = "export to a file system that holds more, such as XFS or btrfs"


def _translated(error: Exception, path: bytes, meta: Meta, directory: int) -> Exception:
    """HostError for what can't be made in the open ``directory``, the error itself for any other failure.

    What no file system can hold was refused before.
    """
    code = error.errno if isinstance(error, OSError) else None
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if code == errno.EINVAL and not fs.knows_all_owners():
        code = errno.EPERM
    elif code == errno.ENOSPC and meta.xattrs and _has_room(directory):
        code, why = errno.E2BIG, "its attributes don't fit"
    if code is not None and code not in _PLACE_ERRORS and code not in _OTHER_ERRORS:
        return error
    return HostError(f"/{display(path)} can't be made here: {why}", _PLACE_ERRORS.get(code or 0, _OTHER_HINT))


def _has_room(directory: int) -> bool:
    """Whether attributes of any size would fit on the disk; an inode's may have less room (ext4: one block)."""
    status = os.fstatvfs(directory)
    return status.f_bavail * status.f_frsize > _LARGE and (status.f_favail > 0 or not status.f_files)


class Maker:
    """Makes entries in open directories. Raises DamagedError, HostError, OSError.

    ``inexact`` are the paths of those whose times the file system doesn't keep.
    """

    def __init__(self, repository: Repository, times: fs.KeptTimes) -> None:
        self._repository = repository
        self._clones = True
        self._times = times
        self.inexact: list[bytes] = []

    def directory(self, path: bytes, name: bytes, parent: int) -> int:
        """Make a directory; its descriptor."""
        try:
            return fs.make_directory(name, parent)
        except OSError as error:
            raise _translated(error, path, PLAIN_DIRECTORY, parent) from None

    def entry(self, path: bytes, entry: Entry, parent: int, source: int = -1) -> int | None:
        """Make a file, symlink, device or fifo with its metadata; the bytes written, None for a clone. Thread-safe.

        ``source`` is a directory of an export with a file of the same name and content, -1 for none.
        """
        self._note_time(path, entry.meta)
        try:
            if entry.meta.kind is Kind.FILE:
                return self._file(entry, parent, source)
            if entry.meta.kind is Kind.SYMLINK:
                target = self._repository.read(entry.oid)
                require_possible_target(path, target)
                os.symlink(target, entry.name, dir_fd=parent)
                fs.apply_metadata_by_name(entry.name, parent, entry.meta)
            else:
                fs.make_special(entry, parent)
        except (OSError, ValueError, OverflowError) as error:
            raise _translated(error, path, entry.meta, parent) from None
        return 0

    def _file(self, entry: Entry, parent: int, source: int) -> int | None:
        descriptor = fs.create_file(entry.name, parent)
        try:
            cloned = source >= 0 and self._clone(entry.name, source, descriptor)
            size = None if cloned else self._fill(entry.oid, descriptor)
            fs.apply_metadata(descriptor, entry.meta)
        finally:
            os.close(descriptor)
        return size

    def _clone(self, name: bytes, source: int, descriptor: int) -> bool:
        """Clone unless it has failed before: most file systems have no clones."""
        self._clones = self._clones and fs.clone_file(name, source, descriptor)
        return self._clones

    def _fill(self, oid: bytes, descriptor: int) -> int:
        """Write the blob ``oid``; its size."""
        whole = self._repository.whole(oid)
        size = 0
        if whole is not None and whole.size >= _LARGE:
            for piece in whole.chunks():
                fs.write_sparse(descriptor, piece, size)
                size += len(piece)
        else:
            data = whole.read() if whole is not None else self._repository.read(oid)
            size = len(data)
            fs.write_sparse(descriptor, data, 0)
        os.ftruncate(descriptor, size)
        return size

    def apply_metadata(self, path: bytes, descriptor: int, own: Meta) -> None:
        """Give a directory its metadata, once nothing more is made in it."""
        self._note_time(path, own)
        try:
            fs.apply_metadata(descriptor, own)
        except (OSError, OverflowError) as error:
            raise _translated(error, path, own, descriptor) from None

    def _note_time(self, path: bytes, meta: Meta) -> None:
        if meta.time is not None and not self._times.keeps(meta.time):
            self.inexact.append(path)
