"""Single entries of a live tree, read and changed by their path from its root.

No symlink is followed and no other mount is entered, so nothing outside the tree can be reached through it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gitstate.core.entry import Kind, Meta
from gitstate.core.failures import of_system
from gitstate.core.fs.kernel import mount_id
from gitstate.core.fs.read import (
    by_descriptor,
    descriptor_xattrs,
    list_directory,
    not_regular,
    open_directory,
    open_file,
    open_tree,
)
from gitstate.core.fs.remove import remove_entry
from gitstate.core.fs.write import apply_metadata, copy_metadata
from gitstate.core.names import display

_NOTHING_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV)
_PIECE: Final = 1 << 20
PARTIAL: Final = b".gitstate.partial"
WORKPLACE: Final = b".gitstate.restore"
"""A directory of the root in which entries are made before they get their names. No snapshot records it."""
_PARTIAL_DIRECTORY: Final = b".gitstate.partial.d"
"""Names of a file and of a directory that are being written."""


class DescriptorTree:
    """A directory and everything below it on the same mount. Paths are relative and have no ``..``."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._home = mount_id(root)

    @contextmanager
    def directory(self, path: bytes, *, make: bool = False) -> Iterator[int]:
        """A descriptor of the directory ``path``, created if ``make``. Raises OSError; EXDEV if it is a mount point."""
        current = os.dup(self._root)
        try:
            for part in path.split(b"/") if path else []:
                made = make and _make(part, current)
                above, current = current, open_directory(part, current)
                os.close(above)
                if made:
                    os.fchmod(current, 0o755)
                if mount_id(current) != self._home:
                    raise OSError(errno.EXDEV, "something is mounted there", path)
            yield current
        finally:
            os.close(current)

    @contextmanager
    def _parent(self, path: bytes, *, make: bool = False) -> Iterator[tuple[int, bytes]]:
        above, _, name = path.rpartition(b"/")
        with self.directory(above, make=make) as descriptor:
            yield descriptor, name

    # --- reading ---

    def lstat(self, path: bytes) -> os.stat_result | None:
        """The lstat of ``path``; None if it doesn't exist, or not on this mount."""
        try:
            with self._parent(path) as (parent, name):
                return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NOTHING_THERE:
                return None
            raise

    def is_file(self, path: bytes) -> bool:
        """Whether ``path`` is a regular file."""
        found = self.lstat(path)
        return found is not None and stat.S_ISREG(found.st_mode)

    def is_directory(self, path: bytes) -> bool:
        """Whether ``path`` is a directory and no mount point."""
        try:
            with self.directory(path):
                return True
        except OSError as error:
            if error.errno in _NOTHING_THERE:
                return False
            raise

    def read(self, path: bytes) -> bytes | None:
        """The content of a regular file; None if there is none."""
        return b"".join(self.pieces(path)) if self.is_file(path) else None

    def configuration(self, path: bytes) -> bytes | None:
        """The content of a file that counts only as a file; None if nothing is there.

        Raises ConfigError if something else is there, or on the way to it.
        """
        try:
            with self._parent(path) as (parent, name):
                found = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if stat.S_ISREG(found.st_mode):
                    return b"".join(self.pieces(path))
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in _NOTHING_THERE:
                raise of_system(error, f"/{display(path)}") from None
        raise not_regular(f"/{display(path)}")

    def pieces(self, path: bytes) -> Iterator[bytes]:
        """The content of a regular file, piece by piece. Raises OSError."""
        with self._parent(path) as (parent, name), open(open_file(name, parent), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            while piece := file.read(_PIECE):
                yield piece

    def meta(self, path: bytes) -> Meta | None:
        """All the metadata of a regular file; None if there is none."""
        if not self.is_file(path):
            return None
        with self._parent(path) as (parent, name):
            descriptor = open_file(name, parent)
            try:
                found = os.fstat(descriptor)
                mode, time = stat.S_IMODE(found.st_mode), found.st_mtime_ns
                xattrs = descriptor_xattrs(descriptor)
                return Meta(Kind.FILE, mode, found.st_uid, found.st_gid, time, xattrs=xattrs)
            finally:
                os.close(descriptor)

    def link_target(self, path: bytes) -> bytes | None:
        """The target of a symlink; None if there is none."""
        found = self.lstat(path)
        if found is None or not stat.S_ISLNK(found.st_mode):
            return None
        with self._parent(path) as (parent, name):
            return os.readlink(name, dir_fd=parent)

    def names(self, path: bytes) -> list[tuple[bytes, os.stat_result]]:
        """The entries of a directory with their lstat, in bytewise order; empty if there is no directory."""
        try:
            with self.directory(path) as descriptor:
                return list_directory(descriptor)
        except OSError as error:
            if error.errno in _NOTHING_THERE:
                return []
            raise

    def walk(self, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
        """Everything below a directory, parents first; other mounts are left out."""
        todo = [path]
        while todo:
            above = todo.pop()
            deeper = []
            for name, found in self.names(above):
                whole = above + b"/" + name
                yield whole, found
                if stat.S_ISDIR(found.st_mode):
                    deeper.append(whole)
            todo += reversed(deeper)

    # --- writing ---

    def write(self, path: bytes, data: bytes, mode: int, time: int | None = None) -> None:
        """Write or replace a file owned by root, atomically; creates the directories above it."""
        with self._parent(path, make=True) as (parent, name):
            temporary = b".%s.gitstate" % name
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(temporary, flags, 0o600, dir_fd=parent), "wb") as file:
                file.write(data)
                file.flush()
                os.fchmod(file.fileno(), mode)
                if time is not None:
                    os.utime(file.fileno(), ns=(time, time))
                os.fsync(file.fileno())
            os.rename(temporary, name, src_dir_fd=parent, dst_dir_fd=parent)

    def put(self, path: bytes, pieces: Iterable[bytes], meta: Meta) -> None:
        """Write or replace a file with all its metadata, atomically and durably."""
        with self._parent(path) as (parent, name):
            _clear(parent)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                with open(os.open(PARTIAL, flags, 0o600, dir_fd=parent), "wb") as file:
                    for piece in pieces:
                        file.write(piece)
                    file.flush()
                    apply_metadata(file.fileno(), meta)
                    os.fsync(file.fileno())
                os.rename(PARTIAL, name, src_dir_fd=parent, dst_dir_fd=parent)
            except BaseException:
                with suppress(OSError):
                    os.unlink(PARTIAL, dir_fd=parent)
                raise
            os.fsync(parent)

    def alias(self, old: bytes, new: bytes) -> None:
        """Hard-link the file ``old`` as ``new``, atomically and durably, replacing any file there."""
        with self._parent(old) as (source, name), self._parent(new) as (parent, other):
            _clear(parent)
            os.link(name, PARTIAL, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            os.rename(PARTIAL, other, src_dir_fd=parent, dst_dir_fd=parent)
            with suppress(FileNotFoundError):  # of one inode, and then rename does nothing
                os.unlink(PARTIAL, dir_fd=parent)
            os.fsync(parent)

    def make_like(self, path: bytes, model: DescriptorTree, pattern: bytes) -> None:
        """Create the directory ``path`` unless it exists, atomically, with the metadata of ``pattern`` in ``model``."""
        with self._parent(path) as (parent, name), model.directory(pattern) as like:
            if self.lstat(path):
                return
            with suppress(FileNotFoundError):
                os.rmdir(_PARTIAL_DIRECTORY, dir_fd=parent)
            os.mkdir(_PARTIAL_DIRECTORY, 0o700, dir_fd=parent)
            descriptor = open_directory(_PARTIAL_DIRECTORY, parent)
            try:
                copy_metadata(descriptor, like)
            finally:
                os.close(descriptor)
            os.rename(_PARTIAL_DIRECTORY, name, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)

    def link(self, path: bytes, target: bytes) -> None:
        """Create or replace a symlink, atomically and durably."""
        with self._parent(path, make=True) as (parent, name):
            _clear(parent)
            os.symlink(target, PARTIAL, dir_fd=parent)
            os.rename(PARTIAL, name, src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)

    def rename(self, old: bytes, new: bytes) -> None:
        """Rename the file ``old`` within its directory, durably."""
        with self._parent(old) as (parent, name):
            os.rename(name, new.rpartition(b"/")[2], src_dir_fd=parent, dst_dir_fd=parent)
            os.fsync(parent)

    def move(self, old: bytes, new: bytes) -> None:
        """Rename the file ``old`` to ``new``, replacing any file there; creates the directories above it."""
        with self._parent(old) as (source, name), self._parent(new, make=True) as (parent, other):
            os.rename(name, other, src_dir_fd=source, dst_dir_fd=parent)

    def truncate(self, path: bytes) -> None:
        """Empty a regular file. Raises OSError."""
        with self._parent(path) as (parent, name):
            flags = os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
            descriptor = os.open(name, flags, dir_fd=parent)
            try:
                os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)

    def touch(self, path: bytes, time: int) -> None:
        """Set the modification time of ``path``, in nanoseconds."""
        with self._parent(path) as (parent, name):
            os.utime(name, ns=(time, time), dir_fd=parent, follow_symlinks=False)

    def make_directory(self, path: bytes, mode: int) -> None:
        """Create a directory with this mode, and those above it."""
        with self._parent(path, make=True) as (parent, name):
            os.mkdir(name, mode, dir_fd=parent)
            os.chmod(by_descriptor(name, parent), mode)

    def remove_empty(self, path: bytes) -> None:
        """Remove a directory if it is empty."""
        try:
            with self._parent(path) as (parent, name):
                os.rmdir(name, dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, *_NOTHING_THERE):
                raise

    def remove(self, path: bytes) -> None:
        """Remove the file or tree at ``path``. Raises HostError for a mount point."""
        with self._parent(path) as (parent, name):
            remove_entry(name, parent)


def _clear(parent: int) -> None:
    """Remove the partial file of a process that was killed."""
    with suppress(FileNotFoundError):
        os.unlink(PARTIAL, dir_fd=parent)


def _make(name: bytes, parent: int) -> bool:
    """Create a directory; False if it existed."""
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return False
    return True


@contextmanager
def open_descriptor_tree(path: Path) -> Iterator[DescriptorTree]:
    """Open the tree at ``path``. Raises HostError."""
    root = open_tree(path)
    try:
        yield DescriptorTree(root)
    finally:
        os.close(root)
