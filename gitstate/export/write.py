"""Writing an export: directories depth first, links in the walk's own thread, contents in others."""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from gitstate import fs
from gitstate.entry import Entry, Kind, Meta
from gitstate.errors import Damaged
from gitstate.export.links import compare_groups
from gitstate.export.make import Maker
from gitstate.monitor import Observer
from gitstate.names import join, octal
from gitstate.snapshot import Lookup, effective_links, read_directory
from gitstate.store import Repository

_BATCH: Final = 64
_BATCHES_IN_FLIGHT: Final = 8


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

    def close(self) -> None:
        """Let go of the descriptors."""
        fs.close(self.new)
        if self.old >= 0:
            fs.close(self.old)


class Exporter:
    """One export being written into the directory ``temporary``; what it did is counted in ``tally``."""

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
        self._maker = Maker(repository)
        old_links = effective_links(self._read, nearest.tree) if nearest else []
        self._groups = compare_groups(effective_links(self._read, tree), old_links)
        self._parents: list[_Frame] = []
        self._left: deque[_Frame] = deque()
        self._futures: deque[tuple[Future[int], list[tuple[_Frame, Entry]]]] = deque()
        self._batch: list[tuple[_Frame, Entry]] = []

    # --- the walk ---

    def run(self) -> None:
        """Write the whole tree and sync it."""
        nearest = self._nearest
        old_root = fs.open_tree(nearest.path) if nearest else -1
        pool = ThreadPoolExecutor(2)
        try:
            self._pool = pool
            self._walk(os.dup(self._root), old_root, nearest.tree if nearest else None)
            self._observer.phase("sync")
            fs.sync_file_system(self._root)
        finally:
            pool.shutdown(cancel_futures=True)
            for frame in [*self._parents, *self._left]:
                frame.close()
            fs.close(self._root)

    def _walk(self, new: int, old: int, old_tree: bytes | None) -> None:
        self._parents.append(self._begin(b"", new, old, self._tree, old_tree))
        while self._parents:
            frame = self._parents[-1]
            if frame.pending:
                name, tree, before = frame.pending.pop()
                path = join(frame.path, name)
                descriptor = self._maker.directory(path, name, frame.new)
                source = fs.open_directory(name, frame.old) if before is not None else -1
                self._parents.append(self._begin(path, descriptor, source, tree, before))
            else:
                self._left.append(self._parents.pop())
                self._seal_finished()
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
            self._maker.entry(path, entry, frame.new)

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
            self._maker.entry(path, entry, parent)

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

    def _write_batch(self, batch: list[tuple[_Frame, Entry]]) -> int:
        return sum(self._maker.entry(join(frame.path, entry.name), entry, frame.new) for frame, entry in batch)

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
            frame = self._left[0]
            self._maker.seal(frame.path, frame.new, frame.own)
            self._left.popleft().close()
