"""Write an export: a depth-first walk makes what has changed, threads write contents, the rest is linked afterwards."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gitstate.core import fs
from gitstate.core.entry import Entry, Kind
from gitstate.core.errors import DamagedError
from gitstate.core.monitor import Observer
from gitstate.core.names import display, join
from gitstate.core.wording import some_of
from gitstate.store import Repository
from gitstate.tree.export import digests
from gitstate.tree.export.digests import look
from gitstate.tree.export.equal import LINK_REFUSALS, TreePair
from gitstate.tree.export.make import Maker
from gitstate.tree.export.models import Counts, EntryTask, Frame, LinkGroups, NearestExport, compare_groups
from gitstate.tree.snapshot import PLAIN_DIRECTORY, BoundedReader, Lookup, ReadObject, effective_links, read_directory

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

_BATCH: Final = 64
_BATCHES_IN_FLIGHT: Final = 8
_DEFERRED: Final = 1024
"""So many files wait until everything is linked, so that no process with threads is forked."""


def _link_groups(read: ReadObject, tree: bytes, old_tree: bytes | None) -> LinkGroups:
    directory = cache(partial(read_directory, read))  # most directories of two snapshots are one tree
    old_links = effective_links(read, old_tree, directory) if old_tree else []
    return compare_groups(effective_links(read, tree, directory), old_links)


def _is_at_or_below(path: bytes, tops: set[bytes]) -> bool:
    while path not in tops and path:
        path = path.rpartition(b"/")[0]
    return path in tops


class Exporter:
    """Writes one export into the directory ``temporary``, counting in ``counts``.

    ``digests``, afterwards, tell how each directory looks.
    """

    def __init__(
        self,
        repository: Repository,
        tree: bytes,
        nearest: NearestExport | None,
        temporary: Path,
        counts: Counts,
        observer: Observer,
        groups: LinkGroups | None = None,
    ) -> None:
        """``groups``: the snapshot's hard-link groups, for a caller that knows them."""
        self._tree = tree
        self._nearest = nearest
        self._links = nearest is not None and nearest.linkable
        self._read = repository.read
        self._read_new = BoundedReader(repository.read)
        self._counts = counts
        self._observer = observer
        self._root = fs.open_tree(temporary)
        self._times = fs.kept_times(self._root)
        self._maker = Maker(repository, self._times)
        self._groups = groups or _link_groups(self._read, tree, nearest.tree if nearest else None)
        self._known = digests.load(repository, nearest.commit) if nearest else {}
        self._damaged: set[bytes] = set()
        self._unsound: list[bytes] = []
        self._taken: list[bytes] = []
        self.digests: dict[bytes, bytes] = {}
        self._parents: list[Frame] = []
        self._unfinished: deque[Frame] = deque()
        self._futures: deque[tuple[Future[list[int | None]], list[EntryTask]]] = deque()
        self._batch: list[EntryTask] = []
        self._equal: list[bytes] = []
        self._refused: list[bytes] = []

    # --- the walk ---

    def run(self) -> None:
        """Write the whole tree and sync it to disk."""
        nearest = self._nearest
        old_root = fs.open_tree(nearest.path) if nearest else -1
        try:
            self._walk(
                b"",
                *(os.dup(self._root), os.dup(old_root) if nearest else -1),
                *(self._tree, nearest.tree if nearest else None),
            )
            self._link_equal(old_root)
            self._finish()
            self._make_refused(old_root)
            self._tell_inexact_times()
            self._take_digests()
            self._tell_damage()
            self._observer.phase("sync")
            fs.sync_file_system(self._root)
        finally:
            self._close()
            if nearest:
                os.close(old_root)

    def make_trees(self, trees: Iterable[tuple[bytes, bytes]]) -> None:
        """Write directories, given by path and tree, with all that is in them; those above them as plain ones."""
        try:
            for path, tree in trees:
                above, _, name = path.rpartition(b"/")
                parent = fs.make_path(above, self._root)
                try:
                    self._walk(path, self._maker.directory(path, name, parent), -1, tree, None)
                finally:
                    os.close(parent)
            self._finish()
            self._tell_inexact_times()
        finally:
            self._close()

    def _close(self) -> None:
        if "_pool" in self.__dict__:
            self._pool.shutdown(cancel_futures=True)
        for frame in [*self._parents, *self._unfinished]:
            frame.close()
        os.close(self._root)

    def _tell_inexact_times(self) -> None:
        """Say once what no check of ours would find faithful."""
        paths = sorted(set(self._maker.inexact))
        self._counts.inexact_times = len(paths)
        if paths:
            named = some_of([f"/{display(path)}" for path in paths])
            kept = "whole seconds alone" if self._times.step > 1 else "fewer years"
            self._observer.notice(f"this file system keeps {kept}: verify will find other times of {named}")

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor  # not needed for an export of links alone

        return ThreadPoolExecutor(2)

    def _walk(self, path: bytes, new: int, old: int, tree: bytes, old_tree: bytes | None) -> None:
        self._begin(path, new, old, tree, old_tree)
        while self._parents:
            frame = self._parents[-1]
            if frame.pending:
                name, tree, before = frame.pending.pop()
                path = join(frame.path, name)
                descriptor = self._maker.directory(path, name, frame.new)
                source = self._open_old(path, name, frame.old) if before is not None else -1
                self._begin(path, descriptor, source, tree, before)
            else:
                self._unfinished.append(self._parents.pop())
                self._finish_directories()

    def _finish(self) -> None:
        """Wait for the threads."""
        self._submit()
        while self._futures:
            self._collect()
        self._finish_directories()

    def _open_old(self, path: bytes, name: bytes, old: int) -> int:
        if old < 0:
            return -1
        try:
            return fs.open_directory(name, old)
        except OSError:  # removed or damaged: it is written instead
            self._unsound.append(path)
            return -1

    def _begin(self, path: bytes, new: int, old: int, tree: bytes, old_tree: bytes | None) -> None:
        """Make the files of a directory, leaving its subdirectories to the walk; an equal directory is linked later."""
        is_equal = self._links and old >= 0 and tree == old_tree
        if is_equal and path not in self._groups.ancestors and path not in self._damaged:
            self._equal.append(path)
            os.close(new)
            os.close(old)
            return
        directory = self._read_new(tree, path)
        before = None
        if old_tree is not None and old >= 0:
            before = directory if old_tree == tree else read_directory(self._read, old_tree, path)
        pending = [
            (name, oid, before.subdirectories.get(name) if before else None)
            for name, oid in directory.subdirectories.items()
        ]
        frame = Frame(path, new, old, directory.own, pending[::-1])
        self._parents.append(frame)
        source = before.files if before and self._is_sound(path, old) else {}
        for name, entry in directory.files.items():
            self._make(frame, entry, source.get(name))
        self._counts.directories += 1
        self._observer.advance(len(directory.files))

    # --- what is equal ---

    def _link_equal(self, old_root: int) -> None:
        trees = TreePair(self._root, old_root, self._known)
        while self._equal:
            paths, self._equal = self._equal, []
            linked = trees.link(paths, self._observer.advance, single="_pool" in self.__dict__)
            self._counts.linked += linked.files
            self._counts.directories += linked.directories
            self._refused += linked.refused
            self._taken += paths
            self._write_damaged(linked.damaged, old_root)

    def _is_sound(self, path: bytes, old: int) -> bool:
        """Whether a directory of the nearest export looks as it was written."""
        with suppress(OSError):
            if path not in self._damaged and look(old).digest == self._known.get(path):
                return True
        self._unsound.append(path)
        return False

    def _tell_damage(self) -> None:
        if self._nearest and self._unsound:
            named = some_of([f"/{display(path)}" for path in sorted(self._unsound)])
            self._observer.notice(f"{self._nearest.path} isn't as it was written: nothing is linked from its {named}")

    def _write_damaged(self, paths: list[bytes], old_root: int) -> None:
        """Write the files of directories that can't be linked from; what is below them may still be."""
        look_up = Lookup(self._read, self._tree)
        self._damaged.update(paths)
        for path in paths:
            above, _, name = path.rpartition(b"/")
            parent = look_up.directory(above)
            tree = self._tree if not path or parent is None else parent.subdirectories[name]
            self._walk(path, fs.open_path(path, self._root), fs.open_path(path, old_root), tree, tree)

    def _take_digests(self) -> None:
        """Those of linked directories are the old ones."""
        taken = set(self._taken)
        for path, digest in self._known.items() if taken else ():
            if path not in self.digests and _is_at_or_below(path, taken):
                self.digests[path] = digest

    def _make_refused(self, old_root: int) -> None:
        """Write what the file system refused to link, each path with its whole hard-link group."""
        if not self._refused:
            return
        look_up, written = Lookup(self._read, self._tree), set[bytes]()
        for path in self._refused:
            if path not in written:
                group = self._groups.by_path.get(path, (path,))
                self._write_path(path, look_up(path), old_root)
                self._join(path, [other for other in group if other != path])
                written.update(group)
        for path in {path.rpartition(b"/")[0] for path in written}:
            directory = look_up.directory(path)
            with self._opened(path) as descriptor:
                self._maker.apply_metadata(path, descriptor, directory.own if directory else PLAIN_DIRECTORY)
                self.digests[path] = look(descriptor).digest

    def _write_path(self, path: bytes, entry: Entry | None, old_root: int) -> None:
        if entry is None:
            raise DamagedError(f"/{display(path)} is in an export but not in its snapshot", "remove that export")
        parent = path.rpartition(b"/")[0]
        with self._opened(parent) as new:
            if self._unsound:
                self._count(self._maker.entry(path, entry, new))
                return
            old = fs.open_path(parent, old_root)
            try:
                self._count(self._maker.entry(path, entry, new, old))
            finally:
                os.close(old)

    def _join(self, path: bytes, others: list[bytes]) -> None:
        for other in others:
            parent, _, name = other.rpartition(b"/")
            with self._opened(parent) as descriptor:
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=descriptor)
                self._link_to(path, name, descriptor)

    @contextmanager
    def _opened(self, path: bytes) -> Iterator[int]:
        descriptor = fs.open_path(path, self._root)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    # --- entries ---

    def _make(self, frame: Frame, entry: Entry, before: Entry | None) -> None:
        path = join(frame.path, entry.name)
        if entry == before and self._links and path not in self._groups.unlinkable:
            if self._link(frame, entry.name):
                return
            if path in self._groups.by_path:
                self._refused.append(path)
                return
        same = before is not None and before.oid == entry.oid and before.meta.kind is entry.meta.kind
        source = frame.old if same else -1
        if path in self._groups.by_path and self._unsound:
            self._refused.append(path)  # others of its group may still be linked from the old export
        elif path in self._groups.by_path:
            self._join_or_make(path, entry, frame.new, source)
        elif entry.meta.kind is Kind.FILE:
            frame.waiting += 1
            self._batch.append(EntryTask(frame, entry, source))
            if len(self._batch) >= (_DEFERRED if self._links and "_pool" not in self.__dict__ else _BATCH):
                self._submit()
        else:
            self._count(self._maker.entry(path, entry, frame.new))

    def _link(self, frame: Frame, name: bytes) -> bool:
        try:
            os.link(name, name, src_dir_fd=frame.old, dst_dir_fd=frame.new, follow_symlinks=False)
        except OSError as error:
            if error.errno in LINK_REFUSALS:
                return False
            raise
        self._counts.linked += 1
        return True

    def _join_or_make(self, path: bytes, entry: Entry, parent: int, source: int) -> None:
        """Link ``path`` to a member of its group that exists already; the first member is made here, at once."""
        others = (other for other in self._groups.by_path.get(path, ()) if other != path)
        if any(self._link_to(other, entry.name, parent) for other in others):
            self._counts.linked += 1
        else:
            self._count(self._maker.entry(path, entry, parent, source))

    def _count(self, size: int | None) -> None:
        if size is None:
            self._counts.cloned += 1
        else:
            self._counts.written += 1
            self._counts.bytes += size

    def _link_to(self, other: bytes, name: bytes, parent: int) -> bool:
        above, _, other_name = other.rpartition(b"/")
        try:
            with self._opened(above) as directory:
                os.link(other_name, name, src_dir_fd=directory, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EMLINK):
                return False
            raise
        return True

    def _make_batch(self, batch: list[EntryTask]) -> list[int | None]:
        return [
            self._maker.entry(join(task.frame.path, task.entry.name), task.entry, task.frame.new, task.source)
            for task in batch
        ]

    def _submit(self) -> None:
        waiting, self._batch = self._batch, []
        for start in range(0, len(waiting), _BATCH):
            while len(self._futures) >= _BATCHES_IN_FLIGHT:
                self._collect()
            batch = waiting[start : start + _BATCH]
            self._futures.append((self._pool.submit(self._make_batch, batch), batch))

    def _collect(self) -> None:
        future, batch = self._futures.popleft()
        for size in future.result():
            self._count(size)
        for task in batch:
            task.frame.waiting -= 1
        self._finish_directories()

    def _finish_directories(self) -> None:
        """Set the metadata of directories in which nothing more will be made."""
        while self._unfinished and not self._unfinished[0].waiting:
            frame = self._unfinished[0]
            self._maker.apply_metadata(frame.path, frame.new, frame.own)
            self.digests[frame.path] = look(frame.new).digest
            self._unfinished.popleft().close()
