"""From a live tree to a root tree id: one walk that merges directory, stat cache and base snapshot.

Directories are visited depth first. A directory whose signature is the cached one is *clean*: only its subdirectories
are looked at. Any other is *dirty*: entries whose stat is the cached one keep their record, the rest is read.
Files go in batches to threads; a directory is closed (its records and tree made) as soon as its own files are read and
all its subdirectories closed, so only what is under way is held in memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from gitstate.core import fs
from gitstate.core.entry import KIND_BY_FORMAT, Directory, Kind
from gitstate.core.errors import HostError
from gitstate.core.monitor import Observer
from gitstate.core.names import join
from gitstate.tree.policy import Policy, Treatment
from gitstate.tree.scan.assemble import Assembler, directory_meta, keep_owner_names
from gitstate.tree.scan.cache import NO_CACHE, Row, StatCache, pack_stat, signature, split_signature, without_racy
from gitstate.tree.scan.content import UNHELD, FileTask, Outcome, Recorder, Sink, reason, record_special
from gitstate.tree.scan.models import BaseSnapshot, Findings, Frame, Scan
from gitstate.tree.scan.pipeline import Pipeline
from gitstate.tree.scan.sqlite import database_of, is_shared_memory, may_be_shared_memory
from gitstate.tree.snapshot import EMPTY, RawDirectory, Written, join_tree

_OPENED: Final = (Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK)
"""Kinds whose mounts show when they are opened."""

_MOST_THREADS: Final = 2
"""Besides the walk's own: more than three wait for the interpreter's lock, and each may hold a file in memory."""


class Scanner:
    """Scans one live tree, once."""

    def __init__(
        self,
        root: int,
        base: BaseSnapshot,
        cache: StatCache,
        policy: Policy,
        sink: Sink,
        observer: Observer,
        threads: int | None = None,
        own_data: fs.Identity | None = None,
        wanted: Callable[[bytes], bool] | None = None,
    ) -> None:
        """``wanted``: other paths aren't looked at and keep their last record; then no cache comes of the scan."""
        self._root = root
        self._base = base
        self._policy = policy
        self._sink = sink
        self._observer = observer
        self._own_data = own_data
        self._wanted = wanted
        self._threads = threads or min(_MOST_THREADS, max(1, len(os.sched_getaffinity(0)) - 1))
        self._mount = fs.mount_id(root)
        now = fs.scratch_time(root)
        self._use_cache = now is not None and not fs.is_tmpfs(root)
        # T0 is taken before the sync: a page dirtied before T0 is cleaned by it, so that any later write through mmap
        # faults and moves the file's time past T0 (docs/decisions/0001-t0-before-syncfs.md).
        self._since = (now or 0) - 20_000_000
        self._cache = cache if self._use_cache else NO_CACHE
        self._assembler = Assembler(base, self._cache, sink, selinux=policy.selinux)
        self._recorder = Recorder(sink, policy, self._mount, self._assembler.reachable, self._since if now else None)
        self._findings = Findings()
        self._rows: list[tuple[bytes, Row]] = []
        self._open: set[int] = set()
        self._root_tree = b""

    def run(self) -> Scan:
        """Scan everything. Raises HostError, StorageError, DamagedError (of the base)."""
        if self._wanted is None:
            fs.sync_file_system(self._root)
        pool = ThreadPoolExecutor(self._threads)
        try:
            self._pipeline = Pipeline(self._recorder, pool, self._read)
            self._walk()
        finally:
            pool.shutdown(cancel_futures=True)
            for descriptor in self._open:
                os.close(descriptor)
        self._findings.bytes_read = self._recorder.bytes_read
        self._findings.sort()
        rows = self._rows if self._use_cache and self._wanted is None else None
        return Scan(self._root_tree, self._findings, rows)

    # --- the walk ---

    def _walk(self) -> None:
        parents = [self._begin(self._top())]
        while parents:
            frame = parents[-1]
            if frame.pending:
                child = self._enter(frame, frame.pending.pop())
                if child is not None:
                    parents.append(self._begin(child))
            else:
                self._release(parents.pop())
        self._pipeline.drain()

    def _top(self) -> Frame:
        try:
            return self._visit(os.dup(self._root), b"", None, self._base.tree)
        except UNHELD as error:
            raise HostError(f"the live tree's own directory: {reason(error)}", "look at the kernel's log") from None

    def _begin(self, frame: Frame) -> Frame:
        """Make the parent wait for ``frame``."""
        self._open.add(frame.descriptor)
        if frame.parent is not None:
            frame.parent.waiting += 1
        return frame

    def _enter(self, parent: Frame, name: bytes) -> Frame | None:
        """Open a subdirectory to walk it; None if it isn't walked, and then its tree in the parent is known."""
        old = self._assembler.old_subdirectory(parent, name)
        if self._wanted and not self._wanted(join(parent.path, name)):
            self._assembler.keep(join(parent.path, name))
            if old is not None:
                parent.children[name] = old
            return None
        try:
            descriptor = fs.open_directory(name, parent.descriptor)
        except FileNotFoundError:
            parent.child_vanished = True
            return None
        except OSError as error:
            self._keep_directory(parent, name, old, error)
            return None
        try:
            return self._descend(parent, name, old, descriptor)
        except UNHELD as error:
            os.close(descriptor)
            self._keep_directory(parent, name, old, error)
            return None

    def _descend(self, parent: Frame, name: bytes, old: bytes | None, descriptor: int) -> Frame | None:
        path = join(parent.path, name)
        mounted = fs.mount_id(descriptor) != self._mount
        treatment = self._policy.treatment(path, Kind.DIRECTORY)
        if fs.identity(descriptor) == self._own_data:
            treatment = Treatment.METADATA_ONLY
            self._findings.own_data.append(path)
        if treatment is Treatment.RECORD and not mounted:
            return self._visit(descriptor, name, parent, old)
        tree = old if mounted and old else self._assembler.metadata_only(path, descriptor, old, extended=not mounted)
        os.close(descriptor)
        if treatment is Treatment.RECORD:
            self._findings.mounts.append(path)
            self._assembler.keep(path)
        self._set_child(parent, name, tree)
        return None

    def _keep_directory(self, parent: Frame, name: bytes, old: bytes | None, error: Exception) -> None:
        """Keep the last record of a directory that can't be read; it is never taken for deleted."""
        path = join(parent.path, name)
        self._findings.unrecorded.append((path, reason(error)))
        self._assembler.keep(path)
        if old is not None:
            self._set_child(parent, name, old)

    def _set_child(self, parent: Frame, name: bytes, tree: bytes) -> None:
        parent.children[name] = tree
        self._findings.entries += 1

    # --- one directory ---

    def _visit(self, descriptor: int, name: bytes, parent: Frame | None, base: bytes | None) -> Frame:
        path = join(parent.path, name) if parent else b""
        status = os.fstat(descriptor)
        listing = fs.list_directory(descriptor)
        packed = signature(status, listing)
        row = self._cache.get(path)
        frame = Frame(path, name, parent, descriptor, base, status, packed, row)
        if row is not None and row.signature == packed:
            self._findings.entries += row.entries
            self._scan_clean(frame, listing)
        else:
            frame.row = None
            self._scan_dirty(frame, listing, split_signature(row.signature) if row else {})
        frame.pending.reverse()
        self._observer.advance(len(listing))
        return frame

    def _scan_clean(self, frame: Frame, listing: list[tuple[bytes, os.stat_result]]) -> None:
        """Scan a clean directory: only its subdirectories and hard links matter."""
        for name, status in listing:
            if stat.S_ISDIR(status.st_mode):
                frame.pending.append(name)
            elif status.st_nlink > 1:
                self._assembler.add_link(join(frame.path, name), status)

    def _scan_dirty(
        self, frame: Frame, listing: list[tuple[bytes, os.stat_result]], cached: dict[bytes, bytes]
    ) -> None:
        """Scan a dirty directory: keep what is cached, read the rest."""
        old = self._read_old(frame, listing, cached)
        own = directory_meta(frame.status, fs.descriptor_xattrs(frame.descriptor, selinux=self._policy.selinux))
        frame.own = keep_owner_names(own, old.own)
        names = {name for name, _ in listing}
        databases: dict[bytes, list[FileTask]] = {}
        for name, status in listing:
            if name in frame.kept:
                self._keep(frame, name, status)
                continue
            kind = KIND_BY_FORMAT.get(stat.S_IFMT(status.st_mode))
            previous = old.files.get(name)
            task = FileTask(join(frame.path, name), name, frame.descriptor, previous, status)
            if self._is_left_out(frame, task, kind) or is_shared_memory(name, names):
                continue
            if kind is Kind.DIRECTORY:
                frame.pending.append(name)
            elif previous is not None and cached.get(name) == pack_stat(status):
                self._accept(frame, task, Outcome(previous, status))
            elif kind and kind is not Kind.FILE:
                self._accept(frame, task, self._special(task, kind))
            elif database := database_of(name, names):
                databases.setdefault(database, []).append(task)
            else:
                frame.waiting += 1
                self._pipeline.file(frame, task, status.st_size)
        for tasks in databases.values():
            frame.waiting += len(tasks)
            self._pipeline.database(frame, tasks)

    def _read_old(
        self, frame: Frame, listing: list[tuple[bytes, os.stat_result]], cached: dict[bytes, bytes]
    ) -> Directory:
        """The directory in the base snapshot, without files that look as cached: those keep what is written of them.

        A cached directory's records are ours, each of its own content.
        """
        if frame.base is None:
            return EMPTY
        if not cached:
            parts = self._assembler.parts(frame)
            return join_tree(self._base.read, parts, frame.path) if parts else EMPTY
        raw = RawDirectory(self._base.read, frame.base, frame.path)
        kept: dict[bytes, Written] = {}
        if raw.is_plain:
            for name, status in listing:
                if stat.S_ISREG(status.st_mode) and cached.get(name) == pack_stat(status):
                    written = raw.written(name)
                    if written is not None and not may_be_shared_memory(name):
                        kept[name] = written
        frame.kept = kept
        return raw.only(name for name, _ in listing if name not in kept)

    def _keep(self, frame: Frame, name: bytes, status: os.stat_result) -> None:
        self._findings.entries += 1
        if status.st_nlink > 1:
            self._assembler.add_link(join(frame.path, name), status)

    def _is_left_out(self, frame: Frame, task: FileTask, kind: Kind | None) -> bool:
        """Whether an entry isn't read: nobody wants it, policy skips it, it is a socket, or a mount point."""
        if task.path == fs.WORKPLACE:
            return True
        if self._wanted and kind is not Kind.DIRECTORY and not self._wanted(task.path):
            self._assembler.keep(task.path)
            if task.old is not None:
                frame.entries.append(task.old)
            return True
        if kind not in _OPENED and fs.is_mounted(task.name, task.parent, self._mount):
            self._accept(frame, task, Outcome(task.old, mounted=True))
            return True
        if kind is None:
            self._findings.sockets.append(task.path)
            return True
        return self._policy.treatment(task.path, kind) is Treatment.SKIP

    def _special(self, task: FileTask, kind: Kind) -> Outcome:
        selinux, reachable = self._policy.selinux, self._assembler.reachable
        return record_special(task, kind, self._sink, selinux=selinux, reachable=reachable)

    def _read(self, frame: Frame, task: FileTask, outcome: Outcome) -> None:
        self._accept(frame, task, outcome)
        self._release(frame)

    def _accept(self, frame: Frame, task: FileTask, outcome: Outcome) -> None:
        """Add one entry to its directory, or report why it keeps its last record."""
        entry = outcome.entry
        if outcome.refusal is not None:
            self._findings.refusals.append(outcome.refusal)
        if outcome.mounted:
            self._findings.mounts.append(task.path)
        if outcome.problem:
            self._findings.unrecorded.append((task.path, outcome.problem))
        if outcome.problem or outcome.mounted or not outcome.settled:
            frame.untrusted.append(task.name)
        if outcome.problem or outcome.mounted:
            self._assembler.keep(task.path)
            entry = entry or task.old
        if entry is None:
            return
        if task.old is not None and entry is not task.old:
            entry = entry._replace(meta=keep_owner_names(entry.meta, task.old.meta))
        frame.entries.append(entry)
        self._findings.entries += 1
        if outcome.status is not None and outcome.status.st_nlink > 1:
            self._assembler.add_link(task.path, outcome.status)

    def _release(self, waiting: Frame | None) -> None:
        """Count down what a directory waits for. At zero it is closed, and its parent counts down in turn."""
        while waiting is not None:
            waiting.waiting -= 1
            if waiting.waiting:
                return
            self._close(waiting)
            waiting = waiting.parent

    def _close(self, frame: Frame) -> None:
        tree = self._assembler.finish(frame)
        os.close(frame.descriptor)
        self._open.remove(frame.descriptor)
        self._findings.entries += 1
        if frame.parent is None:
            self._root_tree = tree
        else:
            frame.parent.children[frame.name] = tree
        self._rows.append((frame.path, self._row(frame, tree)))

    def _row(self, frame: Frame, tree: bytes) -> Row:
        if frame.row is not None:
            return frame.row._replace(tree=tree)
        return Row(tree, len(frame.entries) + len(frame.kept), without_racy(frame.packed, self._since, frame.untrusted))
