"""Writing an export: directories depth first, links in the walk's own thread, contents in others."""

from __future__ import annotations

import errno
import os
from collections import deque
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from gitstate import fs
from gitstate.entry import Entry, Kind, Meta
from gitstate.errors import Damaged
from gitstate.export.links import Groups, compare_groups, link_tree
from gitstate.export.make import Maker
from gitstate.monitor import Observer
from gitstate.names import join, octal
from gitstate.snapshot import Lookup, Read, effective_links, read_directory
from gitstate.store import Repository

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_BATCH: Final = 64
_BATCHES_IN_FLIGHT: Final = 8


@dataclass(frozen=True, slots=True)
class Nearest:
    """An export to take from: its directory and its snapshot's commit and root tree.

    ``linked``: its files become ours. Else they only lend us their bytes, as what is made is the user's to change.
    """

    path: Path
    commit: bytes
    tree: bytes
    linked: bool = True


@dataclass(slots=True)
class Tally:
    """What an export did."""

    linked: int = 0
    cloned: int = 0
    written: int = 0
    directories: int = 0
    bytes: int = 0


@dataclass(slots=True)
class _Frame:
    """A directory being made: ``new`` and ``old`` are descriptors, ``old`` -1 where there is nothing to take."""

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


class _Task(NamedTuple):
    """An entry to be made by a thread; ``source`` is where a file of its name and content stands, or -1."""

    frame: _Frame
    entry: Entry
    source: int


def _groups(read: Read, tree: bytes, old_tree: bytes | None) -> Groups:
    directory = cache(partial(read_directory, read))  # most directories of two snapshots are one tree
    old_links = effective_links(read, old_tree, directory) if old_tree else []
    return compare_groups(effective_links(read, tree, directory), old_links)


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
        self._tree = tree
        self._nearest = nearest
        self._apart = False
        self._links = nearest is not None and nearest.linked
        self._read = repository.read
        self._tally = tally
        self._observer = observer
        self._root = fs.open_tree(temporary)
        self._maker = Maker(repository)
        self._groups = _groups(self._read, tree, nearest.tree if nearest else None)
        self._parents: list[_Frame] = []
        self._left: deque[_Frame] = deque()
        self._futures: deque[tuple[Future[list[int | None]], list[_Task]]] = deque()
        self._batch: list[_Task] = []

    # --- the walk ---

    def run(self) -> None:
        """Write the whole tree and sync it."""
        nearest = self._nearest
        old_root = fs.open_tree(nearest.path) if nearest else -1
        try:
            self._walk(os.dup(self._root), old_root, nearest.tree if nearest else None)
            self._observer.phase("sync")
            fs.sync_file_system(self._root)
        finally:
            if "_pool" in self.__dict__:
                self._pool.shutdown(cancel_futures=True)
            for frame in [*self._parents, *self._left]:
                frame.close()
            fs.close(self._root)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor  # which an export of links alone needs not wait for

        return ThreadPoolExecutor(2)

    def _walk(self, new: int, old: int, old_tree: bytes | None) -> None:
        self._begin(b"", new, old, self._tree, old_tree)
        while self._parents:
            frame = self._parents[-1]
            if frame.pending:
                name, tree, before = frame.pending.pop()
                path = join(frame.path, name)
                descriptor = self._maker.directory(path, name, frame.new)
                source = self._open_old(name, frame.old) if before is not None else -1
                self._begin(path, descriptor, source, tree, before)
            else:
                self._left.append(self._parents.pop())
                self._seal_finished()
        self._submit()
        while self._futures:
            self._collect()
        self._seal_finished()

    def _open_old(self, name: bytes, old: int) -> int:
        if old < 0:
            return -1
        try:
            return fs.open_directory(name, old)
        except FileNotFoundError:
            if self._links:
                raise
            return -1  # whoever removes the export meanwhile keeps nobody from writing

    def _begin(self, path: bytes, new: int, old: int, tree: bytes, old_tree: bytes | None) -> None:
        """Make what stands in a directory; unless all of it is linked, its subdirectories are left to the walk."""
        if self._links and tree == old_tree and path not in self._groups.above:
            self._tally.directories += link_tree(path, new, old, self._make_instead, self._count_links)
            return
        directory = read_directory(self._read, tree, path)
        before = None
        if old_tree is not None and old >= 0:
            before = directory if old_tree == tree else read_directory(self._read, old_tree, path)
        pending = [
            (name, oid, before.subdirectories.get(name) if before else None)
            for name, oid in directory.subdirectories.items()
        ]
        frame = _Frame(path, new, old, directory.own, pending[::-1])
        self._parents.append(frame)
        for name, entry in directory.files.items():
            self._make(frame, entry, before.files.get(name) if before else None)
        self._tally.directories += 1
        self._observer.advance(len(directory.files))

    def _count_links(self, linked: int) -> None:
        self._tally.linked += linked
        self._observer.advance(linked)

    def _make_instead(self, error: OSError, path: bytes, name: bytes, new: int, old: int) -> None:
        """A link that the file system refuses becomes a clone or a written file."""
        self._check_refusal(error)
        entry = self._lookup(join(path, name))
        if entry is None:
            raise Damaged(
                f"/{octal(join(path, name))} stands in an export but not in its snapshot",
                "remove that export",
            )
        self._join_or_make(join(path, name), entry, new, old)

    def _check_refusal(self, error: OSError) -> None:
        """Raise anything but too many links, and links to another file system, of which the user is told once."""
        if error.errno not in (errno.EMLINK, errno.EXDEV):
            raise error
        if error.errno == errno.EXDEV and not self._apart and self._nearest:
            self._apart = True
            self._observer.notice(f"{self._nearest.path} is on another file system: files are written, not linked")

    @cached_property
    def _lookup(self) -> Lookup:
        return Lookup(self._read, self._tree)

    # --- entries ---

    def _make(self, frame: _Frame, entry: Entry, before: Entry | None) -> None:
        path = join(frame.path, entry.name)
        if entry == before and self._links and path not in self._groups.unlinkable and self._link(frame, entry.name):
            return
        same = before is not None and before.oid == entry.oid and before.meta.kind is entry.meta.kind
        source = frame.old if same else -1
        if path in self._groups.of:
            self._join_or_make(path, entry, frame.new, source)
        elif entry.meta.kind is Kind.FILE:
            frame.waiting += 1
            self._batch.append(_Task(frame, entry, source))
            if len(self._batch) >= _BATCH:
                self._submit()
        else:
            self._count(self._maker.entry(path, entry, frame.new))

    def _link(self, frame: _Frame, name: bytes) -> bool:
        try:
            os.link(name, name, src_dir_fd=frame.old, dst_dir_fd=frame.new, follow_symlinks=False)
        except OSError as error:
            self._check_refusal(error)
            return False
        self._tally.linked += 1
        return True

    def _join_or_make(self, path: bytes, entry: Entry, parent: int, source: int) -> None:
        """Link ``path`` to a member of its group that is made already; the first is made at once, by ourselves."""
        others = (other for other in self._groups.of.get(path, ()) if other != path)
        if any(self._link_to(other, entry.name, parent) for other in others):
            self._tally.linked += 1
        else:
            self._count(self._maker.entry(path, entry, parent, source))

    def _count(self, size: int | None) -> None:
        if size is None:
            self._tally.cloned += 1
        else:
            self._tally.written += 1
            self._tally.bytes += size

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

    def _make_batch(self, batch: list[_Task]) -> list[int | None]:
        return [
            self._maker.entry(join(task.frame.path, task.entry.name), task.entry, task.frame.new, task.source)
            for task in batch
        ]

    def _submit(self) -> None:
        if not self._batch:
            return
        while len(self._futures) >= _BATCHES_IN_FLIGHT:
            self._collect()
        batch, self._batch = self._batch, []
        self._futures.append((self._pool.submit(self._make_batch, batch), batch))

    def _collect(self) -> None:
        future, batch = self._futures.popleft()
        for size in future.result():
            self._count(size)
        for task in batch:
            task.frame.waiting -= 1
        self._seal_finished()

    def _seal_finished(self) -> None:
        """A directory's time is set once nothing more is made in it."""
        while self._left and not self._left[0].waiting:
            frame = self._left[0]
            self._maker.seal(frame.path, frame.new, frame.own)
            self._left.popleft().close()
