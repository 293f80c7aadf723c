"""The two roots that boot files are written below, ``SITE/tftp`` and the system's ``etc``.

Paths are ``tftp/…`` and ``etc/…``. Everything goes by directory descriptors. Below ``tftp`` no symlink is followed;
the directories of ``etc`` are the system's, and may be symlinks.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from gitstate.core import fs
from gitstate.core.errors import RefusedError
from gitstate.core.failures import is_in_the_way, of_system

TFTP: Final = "tftp"
ETC: Final = "etc"
_TEMPORARY: Final = ".gitstate-new"
_PIECE: Final = 1 << 20
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Rights(NamedTuple):
    """Modes of directories and files, and their group; the owner is root. ``gid`` is None until the group exists."""

    directory: int
    file: int
    gid: int | None


class Stamp(NamedTuple):
    """What identifies a file as the one that was written, and its content as what was written."""

    inode: int
    size: int
    mtime_ns: int
    digest: str

    def looks_like(self, status: os.stat_result) -> bool:
        """Whether a file with this stat is the one, as far as a look tells that reads nothing."""
        return self[:3] == (status.st_ino, status.st_size, status.st_mtime_ns)


def temporary_name(name: str) -> str:
    """The name under which ``name`` is written before it is committed."""
    return f".{name}{_TEMPORARY}"


def is_temporary(name: str) -> bool:
    """Whether ``name`` was left by a run that was killed."""
    return name.startswith(".") and name.endswith(_TEMPORARY)


class OutputRoot:
    """Both roots. Directories are opened once, and those of ``tftp`` listed once.

    With ``reads_content`` a file counts as untouched only if its content is what was written, which a disk may change
    behind everybody's back.
    """

    def __init__(self, tftp: Path, etc: Path, gid: int | None, *, reads_content: bool = False) -> None:
        self._reads_content = reads_content
        self._roots = {TFTP: tftp, ETC: etc}
        self._rights = {TFTP: Rights(0o750, 0o640, gid), ETC: Rights(0o755, 0o644, 0)}
        self._open: dict[str, int] = {}
        self._listed: dict[str, Mapping[str, os.stat_result]] = {}
        self._written: set[str] = set()

    def __enter__(self) -> OutputRoot:
        return self

    def __exit__(self, *error: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()

    def rights(self, path: str) -> Rights:
        """The rights that apply at ``path``."""
        return self._rights[path.partition("/")[0]]

    # --- reading ---

    def directory(self, path: str) -> int | None:
        """A descriptor of the directory at ``path``, None if there is none. Raises RefusedError for anything else."""
        if path in self._open:
            return self._open[path]
        above, _, name = path.rpartition("/")
        try:
            if not above:
                self._open[path] = os.open(self._roots[path], _DIRECTORY)
            else:
                parent = self.directory(above)
                if parent is None:
                    return None
                guard = os.O_NOFOLLOW if path.startswith(f"{TFTP}/") else 0
                self._open[path] = os.open(name, _DIRECTORY | guard, dir_fd=parent)
        except FileNotFoundError:
            return None
        except OSError as error:
            where = self.absolute(path)
            if is_in_the_way(error):
                raise RefusedError(f"{where} is no directory: {error.strerror}", "remove it, or move it away") from None
            raise of_system(error, where) from None
        return self._open[path]

    def names(self, path: str) -> Mapping[str, os.stat_result]:
        """The entries of the directory at ``path`` with their lstat; empty if there is no directory."""
        if path not in self._listed:
            found: dict[str, os.stat_result] = {}
            descriptor = self.directory(path)
            if descriptor is not None:
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        with suppress(FileNotFoundError):
                            found[entry.name] = entry.stat(follow_symlinks=False)
            self._listed[path] = found
        return self._listed[path]

    def lstat(self, path: str) -> os.stat_result | None:
        """The lstat of ``path``, None if nothing is there."""
        above, _, name = path.rpartition("/")
        if above in self._listed:
            return self._listed[above].get(name)
        descriptor = self.directory(above)
        with suppress(FileNotFoundError):
            return os.stat(name, dir_fd=descriptor, follow_symlinks=False) if descriptor is not None else None
        return None

    def has_rights(self, path: str, status: os.stat_result) -> bool:
        """Whether type, owner and mode are those of a boot file, or of a directory of boot files."""
        rights = self.rights(path)
        is_directory = stat.S_ISDIR(status.st_mode)
        mode = (stat.S_IFDIR | rights.directory) if is_directory else (stat.S_IFREG | rights.file)
        return status.st_mode == mode and status.st_uid == 0 and status.st_gid == rights.gid

    def is_untouched(self, path: str, written: Stamp) -> bool:
        """Whether the file at ``path`` is the one that was written there, with its rights."""
        status = self.lstat(path)
        if status is None or not written.looks_like(status) or not self.has_rights(path, status):
            return False
        return not self._reads_content or self._digest(path) == written.digest

    def _digest(self, path: str) -> str | None:
        """The digest of the file at ``path``, None if it can't be read."""
        above, _, name = path.rpartition("/")
        parent = self.directory(above)
        assert parent is not None
        digest = new_digest()
        try:
            descriptor = fs.open_file(os.fsencode(name), parent)
            try:
                while piece := os.read(descriptor, _PIECE):
                    digest.update(piece)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno == errno.EIO:
                return None
            raise
        return digest.hexdigest()

    def open(self, path: str) -> BinaryIO:
        """The regular file at ``path``, opened to read. Raises OSError."""
        above, _, name = path.rpartition("/")
        parent = self.directory(above)
        assert parent is not None
        return open(fs.open_file(os.fsencode(name), parent), "rb")

    def read(self, path: str, most: int = -1) -> bytes:
        """The first ``most`` bytes, or all, of the regular file at ``path``. Raises OSError."""
        with self.open(path) as file:
            return file.read(most)

    def absolute(self, path: str) -> str:
        """The absolute path of ``path``."""
        top, _, rest = path.partition("/")
        return str(self._roots[top] / rest) if rest else str(self._roots[top])

    # --- writing ---

    def make(self, path: str) -> int:
        """Make the directory ``path`` and those above it as needed; below ``tftp`` with its rights. A descriptor."""
        descriptor = self.directory(path)
        made = descriptor is None
        if descriptor is None:
            above, _, name = path.rpartition("/")
            if above:
                os.mkdir(name, 0o700, dir_fd=self.make(above))
                self._listed.pop(above, None)
            else:
                self._roots[path].mkdir(0o700, parents=True)
            descriptor = self.directory(path)
            assert descriptor is not None
        rights = self.rights(path)
        if made or (path.startswith(TFTP) and not self.has_rights(path, os.fstat(descriptor))):
            os.fchown(descriptor, 0, _gid(rights))
            os.fchmod(descriptor, rights.directory)
        return descriptor

    def regroup(self, path: str) -> None:
        """Give the files in a directory that is there to the group, and then itself. Files for root alone stay so.

        Raises OSError.
        """
        rights, parent = self.rights(path), self.directory(path)
        assert parent is not None
        for name, status in self.names(path).items():
            readable = status.st_mode == stat.S_IFREG | rights.file
            if readable and not self.has_rights(f"{path}/{name}", status):
                descriptor = fs.open_file(os.fsencode(name), parent)
                try:
                    os.fchown(descriptor, 0, _gid(rights))
                finally:
                    os.close(descriptor)
        self._listed.pop(path, None)
        self.make(path)

    def stage(self, path: str, pieces: Iterable[bytes], private: int | None = None) -> Stamp:
        """Write a file under its temporary name, with its rights or for root alone (``private``). Raises OSError."""
        above, _, name = path.rpartition("/")
        parent = self.make(above)
        self.discard(path)
        self._written.add(above)
        descriptor, digest = fs.create_file(os.fsencode(temporary_name(name)), parent), new_digest()
        try:
            for piece in pieces:
                digest.update(piece)
                view = memoryview(piece)
                while view:
                    view = view[os.write(descriptor, view) :]
            if private is None:
                rights = self.rights(path)
                os.fchown(descriptor, 0, _gid(rights))
                os.fchmod(descriptor, rights.file)
            else:
                os.fchmod(descriptor, private)
            return stamp(os.fstat(descriptor), digest.hexdigest())
        finally:
            os.close(descriptor)

    def stage_link(self, path: str, other: str) -> None:
        """Hard-link the file at ``other`` under the temporary name of ``path``. Raises OSError."""
        above, _, name = path.rpartition("/")
        there, _, source = other.rpartition("/")
        parent = self.make(above)
        self.discard(path)
        self._written.add(above)
        os.link(source, temporary_name(name), src_dir_fd=self._open[there], dst_dir_fd=parent, follow_symlinks=False)

    def link(self, path: str, other: str) -> None:
        """Hard-link the file at ``other`` as ``path``, in a directory that has another name yet. Raises OSError."""
        above, _, name = path.rpartition("/")
        there, _, source = other.rpartition("/")
        self._written.add(above)
        os.link(source, name, src_dir_fd=self._open[there], dst_dir_fd=self._open[above], follow_symlinks=False)

    def commit(self, path: str) -> None:
        """Rename the staged file to ``path``."""
        above, _, name = path.rpartition("/")
        parent = self._open[above]
        os.rename(temporary_name(name), name, src_dir_fd=parent, dst_dir_fd=parent)

    def discard(self, path: str) -> None:
        """Remove the file staged for ``path``, if there is one."""
        above, _, name = path.rpartition("/")
        self.remove(f"{above}/{temporary_name(name)}")

    def remove(self, path: str) -> None:
        """Remove the file at ``path``, if it is there."""
        above, _, name = path.rpartition("/")
        parent = self.directory(above)
        if parent is not None:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=parent)

    def rename_directory(self, old: str, new: str) -> None:
        """Give a directory its final name, which must be free."""
        above, _, name = new.rpartition("/")
        parent = self._open[above]
        os.rename(old.rpartition("/")[2], name, src_dir_fd=parent, dst_dir_fd=parent)
        self._open[new] = self._open.pop(old)
        self._listed.pop(above, None)

    def remove_tree(self, path: str) -> None:
        """Remove the directory at ``path`` and everything in it, if it is there."""
        above, _, name = path.rpartition("/")
        self._listed.pop(above, None)
        if path in self._open:
            os.close(self._open.pop(path))
        fs.remove_tree(Path(f"/proc/self/fd/{self._open[above]}", name))

    def sync(self) -> None:
        """Sync the file systems on which files were staged since the last call. Raises StorageError."""
        opened = [self._open[path] for path in self._written]
        for descriptor in {os.fstat(one).st_dev: one for one in opened}.values():
            fs.sync_file_system(descriptor)
        self._written.clear()

    def sync_directories(self, paths: Iterable[str]) -> None:
        """Sync the parent directories of ``paths`` after renames and removals."""
        for above in {path.rpartition("/")[0] for path in paths}:
            os.fsync(self._open[above])


def stamp(status: os.stat_result, digest: str) -> Stamp:
    """The stamp of a file whose content has a digest."""
    return Stamp(status.st_ino, status.st_size, status.st_mtime_ns, digest)


def new_digest() -> hashlib.blake2b:
    """The digest of a file's content, to be fed: it tells damage, not malice."""
    return hashlib.blake2b(digest_size=16)


def _gid(rights: Rights) -> int:
    assert rights.gid is not None
    return rights.gid
