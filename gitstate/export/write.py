"""Writing an export: directories depth first, links in the walk's own thread, contents in others."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final

from gitstate import fs
from gitstate.entry import Entry, Kind, Meta
from gitstate.errors import Damaged, EnvironmentFault
from gitstate.monitor import Observer
from gitstate.names import join, octal
from gitstate.snapshot import Lookup, effective_links, read_directory
from gitstate.store import Repository

_BATCH: Final = 64
_BATCHES_IN_FLIGHT: Final = 8
_LARGE: Final = 32 << 20


@dataclass(frozen=True, slots=True)
class Nearest:
    """An export to link from: its directory and its snapshot's commit and root tree."""

    path: Path
    commit: bytes
    tree: bytes


@dataclass(slots=True)
class Tally:
    """What an export did."""

    linked: int = 0
    written: int = 0
    directories: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Frame:
    """A directory being made: ``new`` and ``old`` are descriptors, ``old`` -1 where there is nothing to link from."""

    path: bytes
    new: int
    old: int
    own: Meta
    pending: list[tuple[bytes, bytes, bytes | None]]
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class _Groups:
    """Hard links of the new snapshot: each member's group, and the paths that must not be linked from the old export.

    A group that the old export has exactly so links member by member like any other file.
    """

    of: dict[bytes, tuple[bytes, ...]] = field(default_factory=dict)
    unlinkable: frozenset[bytes] = frozenset()
    above: frozenset[bytes] = frozenset()


_SNAPSHOTS_FAULT: Final = frozenset(
    (
        *(errno.ENAMETOOLONG, errno.EINVAL, errno.ERANGE, errno.E2BIG, errno.EOVERFLOW, errno.EPERM),
        *(errno.ENOENT, errno.EEXIST, errno.EILSEQ),
    )
)


def _explained(error: Exception, path: bytes) -> Exception:
    """The error of making ``path``: what no system can make is the snapshot's fault, the rest stays what it is."""
    if isinstance(error, OSError) and error.errno == errno.EOPNOTSUPP:
        return EnvironmentFault(
            f"/{octal(path)} can't be made here: {error.strerror}", "export to a file system with ACLs and attributes"
        )
    if isinstance(error, OSError) and error.errno not in _SNAPSHOTS_FAULT:
        return error
    why = error.strerror if isinstance(error, OSError) else str(error)
    return Damaged(f"/{octal(path)} can't be made: {why}", "no file system holds that: change it with plain git")


class Exporter:
    def __init__(
        self,
        repository: Repository,
        tree: bytes,
        nearest: Nearest | None,
        temporary: Path,
        tally: Tally,
        observer: Observer,
    ) -> None:
        self._repository = repository
        self._tree = tree
        self._nearest = nearest
        self._read = repository.read
        self._tally = tally
        self._observer = observer
        self._root = fs.open_tree(temporary)
        self._groups = self._compare_groups()
        self._left: deque[_Frame] = deque()
        self._futures: deque[tuple[Future[int], list[tuple[_Frame, Entry]]]] = deque()
        self._batch: list[tuple[_Frame, Entry]] = []

    def _compare_groups(self) -> _Groups:
        new = effective_links(self._read, self._tree)
        nearest = self._nearest
        old = set(effective_links(self._read, nearest.tree)) if nearest else set()
        unlinkable = frozenset(path for group in old ^ set(new) for path in group)
        above: set[bytes] = set()
        for path in unlinkable:
            parent = path
            while parent:
                parent = parent.rpartition(b"/")[0]
                above.add(parent)
        return _Groups({path: group for group in new for path in group}, unlinkable, frozenset(above))

    # --- the walk ---

    def run(self) -> None:
        """Write the whole tree and sync it."""
        nearest = self._nearest
        old_root = fs.open_tree(nearest.path) if nearest else -1
        with ThreadPoolExecutor(2) as self._pool:
            self._walk(os.dup(self._root), old_root, nearest.tree if nearest else None)
        self._observer.phase("sync")
        fs.sync_file_system(self._root)
        os.close(self._root)

    def _walk(self, new: int, old: int, old_tree: bytes | None) -> None:
        parents: list[_Frame] = []
        frame = self._begin(b"", new, old, self._tree, old_tree)
        while True:
            if frame.pending:
                name, tree, before = frame.pending.pop()
                parents.append(frame)
                path = join(frame.path, name)
                descriptor = self._make_directory(path, name, frame.new)
                source = fs.open_directory(name, frame.old) if before is not None else -1
                frame = self._begin(path, descriptor, source, tree, before)
                continue
            self._left.append(frame)
            self._seal_finished()
            if not parents:
                break
            frame = parents.pop()
        self._submit()
        while self._futures:
            self._collect()
        self._seal_finished()

    def _begin(self, path: bytes, new: int, old: int, tree: bytes, old_tree: bytes | None) -> _Frame:
        self._tally.directories += 1
        if tree == old_tree and path not in self._groups.above:
            return self._link_directory(path, new, old, tree)
        directory = read_directory(self._read, tree, path)
        before = read_directory(self._read, old_tree, path) if old_tree is not None else None
        pending = [
            (name, oid, before.subdirectories.get(name) if before else None)
            for name, oid in directory.subdirectories.items()
        ]
        frame = _Frame(path, new, old, directory.own, pending[::-1])
        for name, entry in directory.files.items():
            self._make(frame, entry, before.files.get(name) if before else None)
        self._observer.advance(len(directory.files))
        return frame

    def _link_directory(self, path: bytes, new: int, old: int, tree: bytes) -> _Frame:
        """A directory that equals the old export's: all is on disk already, git isn't asked."""
        status = os.fstat(old)
        own = Meta(
            Kind.DIRECTORY,
            stat.S_IMODE(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_mtime_ns,
            None,
            fs.descriptor_xattrs(old, selinux=True),
        )
        pending: list[tuple[bytes, bytes, bytes | None]] = []
        linked = 0
        with os.scandir(old) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    pending.append((os.fsencode(entry.name), b"", b""))
                    continue
                try:
                    os.link(entry.name, entry.name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
                    linked += 1
                except OSError as error:
                    self._write_instead(error, path, os.fsencode(entry.name), new)
        self._tally.linked += linked
        self._observer.advance(linked)
        return _Frame(path, new, old, own, pending)

    def _write_instead(self, error: OSError, path: bytes, name: bytes, new: int) -> None:
        """A link that the file system refuses (too many, or across file systems) becomes a file."""
        if error.errno not in (errno.EMLINK, errno.EXDEV):
            raise error
        entry = self._lookup(join(path, name))
        if entry is None:
            raise Damaged(
                f"/{octal(join(path, name))} stands in an export but not in its snapshot",
                "remove that export",
            )
        self._join_or_write(join(path, name), entry, new)

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self._read, self._tree)

    # --- entries ---

    def _make(self, frame: _Frame, entry: Entry, before: Entry | None) -> None:
        path = join(frame.path, entry.name)
        if entry == before and path not in self._groups.unlinkable and self._link(frame, entry.name):
            return
        if path in self._groups.of:
            self._join_or_write(path, entry, frame.new)
        elif entry.meta.kind is Kind.FILE:
            frame.waiting += 1
            self._batch.append((frame, entry))
            if len(self._batch) >= _BATCH:
                self._submit()
        else:
            self._write(path, entry, frame.new)

    def _link(self, frame: _Frame, name: bytes) -> bool:
        try:
            os.link(name, name, src_dir_fd=frame.old, dst_dir_fd=frame.new, follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.EMLINK, errno.EXDEV):
                return False
            raise
        self._tally.linked += 1
        return True

    def _join_or_write(self, path: bytes, entry: Entry, parent: int) -> None:
        """Link ``path`` to a member of its group that is made already; the first is written at once, by ourselves."""
        others = (other for other in self._groups.of.get(path, ()) if other != path)
        if any(self._link_to(other, entry.name, parent) for other in others):
            self._tally.linked += 1
        else:
            self._write(path, entry, parent)

    def _link_to(self, other: bytes, name: bytes, parent: int) -> bool:
        *above, other_name = other.split(b"/")
        current = os.dup(self._root)
        try:
            for part in above:
                below = fs.open_directory(part, current)
                os.close(current)
                current = below
            os.link(other_name, name, src_dir_fd=current, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EMLINK):
                return False
            raise
        finally:
            os.close(current)
        return True

    def _make_directory(self, path: bytes, name: bytes, parent: int) -> int:
        try:
            return fs.make_directory(name, parent)
        except OSError as error:
            raise _explained(error, path) from None

    def _write(self, path: bytes, entry: Entry, parent: int) -> int:
        """Make one entry from the repository; its size in bytes. Called from threads for files."""
        try:
            if entry.meta.kind is Kind.FILE:
                return self._write_file(entry, parent)
            if entry.meta.kind is Kind.SYMLINK:
                os.symlink(self._read(entry.oid), entry.name, dir_fd=parent)
                fs.seal_name(entry.name, parent, entry.meta)
            else:
                fs.make_special(entry, parent)
        except (OSError, ValueError, OverflowError) as error:
            raise _explained(error, path) from None
        return 0

    def _write_file(self, entry: Entry, parent: int) -> int:
        whole = self._repository.whole(entry.oid)
        descriptor = fs.create_file(entry.name, parent)
        try:
            size = 0
            if whole is not None and whole.size >= _LARGE:
                for piece in whole.chunks():
                    fs.write_sparse(descriptor, piece, size)
                    size += len(piece)
            else:
                data = whole.read() if whole is not None else self._read(entry.oid)
                size = len(data)
                fs.write_sparse(descriptor, data, 0)
            os.ftruncate(descriptor, size)
            fs.seal_descriptor(descriptor, entry.meta)
        finally:
            os.close(descriptor)
        return size

    def _write_batch(self, batch: list[tuple[_Frame, Entry]]) -> int:
        return sum(self._write(join(frame.path, entry.name), entry, frame.new) for frame, entry in batch)

    def _submit(self) -> None:
        if not self._batch:
            return
        while len(self._futures) >= _BATCHES_IN_FLIGHT:
            self._collect()
        batch, self._batch = self._batch, []
        self._futures.append((self._pool.submit(self._write_batch, batch), batch))

    def _collect(self) -> None:
        future, batch = self._futures.popleft()
        self._tally.bytes += future.result()
        self._tally.written += len(batch)
        for frame, _ in batch:
            frame.waiting -= 1
        self._seal_finished()

    def _seal_finished(self) -> None:
        """A directory's time is set once nothing more is made in it."""
        while self._left and not self._left[0].waiting:
            frame = self._left.popleft()
            try:
                fs.seal_descriptor(frame.new, frame.own)
            except (OSError, OverflowError) as error:
                raise _explained(error, frame.path) from None
            os.close(frame.new)
            if frame.old >= 0:
                os.close(frame.old)
