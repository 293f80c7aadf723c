"""From a live tree to a root tree id: one walk that merges directory, stat cache and base snapshot.

Directories are visited depth first. A directory whose signature is the cached one is *clean*: nothing in it is looked
at but its subdirectories. Any other is *dirty*: entries whose payload is cached keep their record, the rest is read. Files go in
batches to threads; a directory is closed (its records and tree made) once its own files and all its subdirectories are
done, in the order in which they were left, so only what is in flight is held in memory.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from threading import Lock
from typing import Final

from gitstate import fs
from gitstate.entry import KIND_BY_FORMAT, Directory, Entry, Kind, Meta, Xattrs
from gitstate.manifest import format_links
from gitstate.monitor import Observer
from gitstate.names import LINKS, RECORDS, join
from gitstate.policy import Policy, Refusal, Treatment
from gitstate.scan.cache import Row, StatCache, payload, payloads, signature, trusted
from gitstate.scan.content import SQLITE_COMPANIONS, SQLITE_SHARED, Outcome, Recorder, Sink, Task
from gitstate.snapshot import EMPTY, Parts, Read, make_directory, put_together, read_links, take_apart, walk
from gitstate.store import TreeItem, Type, object_id
from gitstate.store.objects import FILE, TREE, format_tree

_IN_FLIGHT: Final = 48 << 20
"""Bytes of file content handed to threads and not yet done with."""
_BATCH_FILES: Final = 128
_BATCH_BYTES: Final = 4 << 20


@dataclass(slots=True)
class Findings:
    """What a scan tells besides the tree. Paths are raw; problems are ``(path, why)``."""

    entries: int = 0
    bytes_read: int = 0
    unrecorded: list[tuple[bytes, str]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    sockets: list[bytes] = field(default_factory=list)
    mounts: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scan:
    """The live tree as a root tree in the sink; ``rows`` is the new stat cache, None where none can be trusted."""

    tree: bytes
    findings: Findings
    rows: list[tuple[bytes, Row]] | None


@dataclass(frozen=True, slots=True)
class Base:
    """The snapshot that a live tree was last recorded as; ``tree`` None before the first check-in.

    ``stored`` tells cheaply whether the repository has an object at all, reachable or not.
    """

    read: Read
    stored: Callable[[bytes], bool]
    tree: bytes | None = None


@dataclass(slots=True)
class _Frame:
    """A directory being visited. ``children`` maps subdirectories to their tree ids, None for those that vanished."""

    path: bytes
    name: bytes
    parent: _Frame | None
    descriptor: int
    base: bytes | None
    status: os.stat_result
    packed: bytes
    row: Row | None
    pending: list[bytes] = field(default_factory=list)
    parts: Parts | None = None
    own: Meta | None = None
    entries: list[Entry] = field(default_factory=list)
    children: dict[bytes, bytes] = field(default_factory=dict)
    doubtful: list[bytes] = field(default_factory=list)
    waiting: int = 0
    lost_child: bool = False


class Scanner:
    """One walk over one live tree."""

    def __init__(
        self, root: int, base: Base, cache: StatCache, policy: Policy, sink: Sink, observer: Observer, threads: int = 2
    ) -> None:
        self._root = root
        self._base = base
        self._cache = cache
        self._policy = policy
        self._sink = sink
        self._observer = observer
        self._home = fs.mount_id(root)
        self._recorder = Recorder(sink, policy, self._home, self.reachable)
        self._threads = threads
        self._findings = Findings()
        self._links: dict[tuple[int, int], list[bytes]] = {}
        self._kept: list[bytes] = []
        self._rows: list[tuple[bytes, Row]] = []
        self._left: deque[_Frame] = deque()
        self._futures: deque[tuple[Future[list[Outcome]], list[tuple[_Frame, Task]], int]] = deque()
        self._flying = 0
        self._batch: list[tuple[_Frame, Task]] = []
        self._batch_bytes = 0
        self._parents: list[_Frame] = []
        self._since = 0
        self._root_tree = b""
        self._base_lock = Lock()

    # --- the walk ---

    def run(self) -> Scan:
        """Scan everything. Raises EnvironmentFault, StorageFault, Damaged (of the base)."""
        now = fs.scratch_time(self._root)
        use_cache = now is not None and not fs.is_tmpfs(self._root)
        # T0 comes before the sync: a page dirtied before T0 is cleaned by it, so that any later write through mmap
        # faults and moves the time past T0 (docs/decisions/0001).
        self._since = (now or 0) - 20_000_000
        fs.sync_file_system(self._root)
        if not use_cache:
            self._cache = StatCache({})
        with ExitStack() as stack, ThreadPoolExecutor(self._threads) as self._pool:
            stack.callback(self._close_all)
            self._walk()
        self._findings.bytes_read = self._recorder.bytes_read
        return Scan(self._root_tree, self._findings, self._rows if use_cache else None)

    def _walk(self) -> None:
        frame = self._visit(os.dup(self._root), b"", None, self._base.tree)
        while True:
            if frame.pending:
                self._parents.append(frame)
                child = self._enter(frame, frame.pending.pop())
                frame = child or self._parents.pop()
                continue
            self._left.append(frame)
            self._close_finished()
            if not self._parents:
                break
            frame = self._parents.pop()
        self._submit()
        while self._futures:
            self._collect()
        self._close_finished()

    def _enter(self, parent: _Frame, name: bytes) -> _Frame | None:
        """Open a subdirectory; None where it is not walked, its place in the parent then being settled."""
        path = join(parent.path, name)
        old = self._old_subdirectory(parent, name)
        try:
            descriptor = fs.open_directory(name, parent.descriptor)
        except FileNotFoundError:
            parent.lost_child = True
            return None
        except OSError as error:
            return self._keep(parent, name, old, error.strerror or str(error))
        mounted = fs.mount_id(descriptor) != self._home
        treatment = self._policy.treatment(path, Kind.DIRECTORY)
        try:
            if treatment is Treatment.RECORD and not mounted:
                return self._visit(descriptor, name, parent, old)
            hollow = old if mounted and old else self._hollow(descriptor, old, extended=not mounted)
        except OSError as error:
            os.close(descriptor)
            return self._keep(parent, name, old, error.strerror or str(error))
        os.close(descriptor)
        if treatment is Treatment.RECORD:
            self._findings.mounts.append(path)
            self._kept.append(path)
        if treatment is not Treatment.SKIP:
            self._place(parent, name, hollow)
        return None

    def _keep(self, parent: _Frame, name: bytes, old: bytes | None, why: str) -> None:
        """A directory that can't be read keeps its last record; it is never a deletion."""
        path = join(parent.path, name)
        self._findings.unrecorded.append((path, why))
        self._kept.append(path)
        if old is not None:
            self._place(parent, name, old)

    def _place(self, parent: _Frame, name: bytes, tree: bytes) -> None:
        parent.children[name] = tree
        self._findings.entries += 1

    def _hollow(self, descriptor: int, old: bytes | None, *, extended: bool) -> bytes:
        """A directory of which only mode and owner are recorded."""
        xattrs = fs.descriptor_xattrs(descriptor, selinux=self._policy.selinux) if extended else ()
        own = self._own(os.fstat(descriptor), xattrs)._replace(time=None)
        records, _ = make_directory(own, [], [], root=False)
        data = format_tree([TreeItem(FILE, RECORDS, object_id(Type.BLOB, records))])
        tree = object_id(Type.TREE, data)
        if tree != old:
            self._sink.add(Type.BLOB, records)
            self._sink.add(Type.TREE, data)
        return tree

    def _old_subdirectory(self, parent: _Frame, name: bytes) -> bytes | None:
        row = self._cache.get(join(parent.path, name))
        if row is not None:
            return row.tree
        parts = self._parts(parent)
        item = parts.items.get(name) if parts else None
        return item.oid if item is not None and item.mode == TREE else None

    def _parts(self, frame: _Frame) -> Parts | None:
        """The directory's tree in the base snapshot."""
        if frame.parts is None and frame.base is not None:
            frame.parts = take_apart(self._base.read(frame.base), frame.path)
        return frame.parts

    def _visit(self, descriptor: int, name: bytes, parent: _Frame | None, base: bytes | None) -> _Frame:
        path = join(parent.path, name) if parent else b""
        status = os.fstat(descriptor)
        listing = fs.list_directory(descriptor)
        packed = signature(status, listing)
        row = self._cache.get(path)
        frame = _Frame(path, name, parent, descriptor, base, status, packed, row)
        if row is not None and row.signature == packed:
            self._findings.entries += row.entries
            self._skim(frame, listing)
        else:
            frame.row = None
            self._examine(frame, listing, payloads(row.signature) if row else {})
        frame.pending.reverse()
        self._observer.advance(len(listing))
        return frame

    def _skim(self, frame: _Frame, listing: list[tuple[bytes, os.stat_result]]) -> None:
        """A clean directory: only its subdirectories and its hard links matter."""
        for name, status in listing:
            if stat.S_ISDIR(status.st_mode):
                frame.pending.append(name)
            elif status.st_nlink > 1:
                self._note_link(frame, name, status)

    def _examine(self, frame: _Frame, listing: list[tuple[bytes, os.stat_result]], cached: dict[bytes, bytes]) -> None:
        """A dirty directory: keep what is cached, read the rest."""
        old = self._base_directory(frame)
        xattrs = fs.descriptor_xattrs(frame.descriptor, selinux=self._policy.selinux)
        frame.own = self._own(frame.status, xattrs)
        names = {name for name, _ in listing}
        databases: dict[bytes, list[Task]] = {}
        for name, status in listing:
            kind = KIND_BY_FORMAT.get(stat.S_IFMT(status.st_mode))
            path = join(frame.path, name)
            if kind is None:
                self._findings.sockets.append(path)
                continue
            if self._policy.treatment(path, kind) is Treatment.SKIP or _is_shared_memory(name, names):
                continue
            if kind is Kind.DIRECTORY:
                frame.pending.append(name)
                continue
            previous = old.files.get(name)
            if previous is not None and cached.get(name) == payload(status):
                self._accept(frame, Outcome(previous, status))
            elif kind is not Kind.FILE:
                self._accept(frame, self._special(frame, name, kind, status), path)
            else:
                task = Task(path, name, frame.descriptor, previous)
                database = _database(name, names)
                if database:
                    databases.setdefault(database, []).append(task)
                else:
                    self._hand_over(frame, task, status.st_size)
        for tasks in databases.values():
            frame.waiting += len(tasks)
            self._fly([(frame, task) for task in tasks], self._recorder.record_database, _BATCH_BYTES)

    def _base_directory(self, frame: _Frame) -> Directory:
        parts = self._parts(frame)
        return put_together(self._base.read, parts, frame.path) if parts else EMPTY

    @staticmethod
    def _own(status: os.stat_result, xattrs: Xattrs) -> Meta:
        mode = stat.S_IMODE(status.st_mode)
        return Meta(Kind.DIRECTORY, mode, status.st_uid, status.st_gid, status.st_mtime_ns, None, xattrs)

    def _special(self, frame: _Frame, name: bytes, kind: Kind, status: os.stat_result) -> Outcome:
        """A symlink, device or fifo."""
        try:
            xattrs = fs.named_xattrs(name, frame.descriptor, selinux=self._policy.selinux)
            oid, device = b"", None
            if kind is Kind.SYMLINK:
                oid = self._small_blob(fs.read_link(name, frame.descriptor))
            elif kind is not Kind.FIFO:
                device = (os.major(status.st_rdev), os.minor(status.st_rdev))
        except OSError as error:
            return Outcome(None, problem=error.strerror or str(error))
        mode = stat.S_IMODE(status.st_mode)
        meta = Meta(kind, mode, status.st_uid, status.st_gid, status.st_mtime_ns, device, xattrs)
        return Outcome(Entry(name, meta, oid), status)

    def _small_blob(self, data: bytes) -> bytes:
        oid = object_id(Type.BLOB, data)
        if not self._sink.holds(oid) and not self.reachable(oid):
            self._sink.blob(oid, data)
        return oid

    # --- files in threads ---

    def _hand_over(self, frame: _Frame, task: Task, size: int) -> None:
        frame.waiting += 1
        self._batch.append((frame, task))
        self._batch_bytes += size
        if len(self._batch) >= _BATCH_FILES or self._batch_bytes >= _BATCH_BYTES:
            self._submit()

    def _submit(self) -> None:
        if self._batch:
            batch, size = self._batch, self._batch_bytes
            self._batch, self._batch_bytes = [], 0
            self._fly(batch, self._recorder.record_batch, size)

    def _fly(self, batch: list[tuple[_Frame, Task]], work: Callable[[list[Task]], list[Outcome]], size: int) -> None:
        while self._futures and self._flying + size > _IN_FLIGHT:
            self._collect()
        self._flying += size
        self._futures.append((self._pool.submit(work, [task for _, task in batch]), batch, size))

    def _collect(self) -> None:
        """Take in the oldest batch."""
        future, batch, size = self._futures.popleft()
        self._flying -= size
        for (frame, task), outcome in zip(batch, future.result(), strict=True):
            frame.waiting -= 1
            self._accept(frame, outcome, task.path, task.old)
        self._close_finished()

    def _accept(self, frame: _Frame, outcome: Outcome, path: bytes = b"", old: Entry | None = None) -> None:
        """Enter one entry into its directory, or say why it keeps its last record."""
        entry = outcome.entry
        if outcome.refusal is not None:
            self._findings.refusals.append(outcome.refusal)
        if outcome.mounted:
            self._findings.mounts.append(path)
        if outcome.problem:
            self._findings.unrecorded.append((path, outcome.problem))
        if outcome.problem or outcome.mounted:
            self._kept.append(path)
            frame.doubtful.append(path.rpartition(b"/")[2])
            entry = entry or old
        if entry is None:
            return
        frame.entries.append(entry)
        self._findings.entries += 1
        if outcome.status is not None and outcome.status.st_nlink > 1:
            self._note_link(frame, entry.name, outcome.status)

    def _note_link(self, frame: _Frame, name: bytes, status: os.stat_result) -> None:
        self._links.setdefault((status.st_dev, status.st_ino), []).append(join(frame.path, name))

    # --- closing directories ---

    def _close_finished(self) -> None:
        while self._left and not self._left[0].waiting:
            frame = self._left.popleft()
            tree = self._finish(frame)
            os.close(frame.descriptor)
            frame.descriptor = -1
            self._findings.entries += 1
            if frame.parent is None:
                self._root_tree = tree
            else:
                frame.parent.children[frame.name] = tree
            self._rows.append((frame.path, self._row(frame, tree)))

    def _row(self, frame: _Frame, tree: bytes) -> Row:
        if frame.row is not None:
            return frame.row._replace(tree=tree)
        return Row(tree, len(frame.entries), trusted(frame.packed, self._since, frame.doubtful))

    def _finish(self, frame: _Frame) -> bytes:
        if frame.row is not None:
            return self._finish_clean(frame)
        frame.entries.sort()
        own = frame.own or self._own(frame.status, ())
        records, items = make_directory(own, frame.entries, frame.children.items(), root=not frame.path)
        old = self._parts(frame)
        oid = object_id(Type.BLOB, records)
        if old is None or old.records != oid:
            self._sink.add(Type.BLOB, records)
        items.append(TreeItem(FILE, RECORDS, oid))
        return self._tree(frame, items, old)

    def _finish_clean(self, frame: _Frame) -> bytes:
        """Only subdirectories can differ; without a difference the old tree stands."""
        assert frame.base is not None
        same = not frame.lost_child and all(
            self._old_subdirectory(frame, name) == tree for name, tree in frame.children.items()
        )
        if same and frame.path:
            return frame.base
        old = take_apart(self._base.read(frame.base), frame.path)
        items = [
            item._replace(oid=frame.children.get(name, item.oid))
            for name, item in old.items.items()
            if item.mode != TREE or name in frame.children
        ]
        if old.records is not None:
            items.append(TreeItem(FILE, RECORDS, old.records))
        return self._tree(frame, items, old)

    def _tree(self, frame: _Frame, items: list[TreeItem], old: Parts | None) -> bytes:
        if not frame.path:
            items += self._links_item(old)
        data = format_tree(items)
        oid = object_id(Type.TREE, data)
        if oid != frame.base:
            self._sink.add(Type.TREE, data)
        return oid

    def _links_item(self, old: Parts | None) -> Iterator[TreeItem]:
        groups = [paths for paths in self._links.values() if len(paths) > 1]
        if self._kept and self._base.tree is not None:
            groups += _kept_groups(read_links(self._base.read, self._base.tree), self._kept)
        if not groups:
            return
        text = format_links(groups)
        oid = object_id(Type.BLOB, text)
        if old is None or old.links != oid:
            self._sink.add(Type.BLOB, text)
        yield TreeItem(FILE, LINKS, oid)

    # --- what the repository has ---

    def reachable(self, oid: bytes) -> bool:
        """Whether the base snapshot holds this blob anywhere.

        Only what a ref reaches may be counted on: an unreachable object in some pack is lost to the next repack.
        """
        if self._base.tree is None or not self._base.stored(oid):
            return False
        with self._base_lock:
            return oid in self._base_blobs

    @cached_property
    def _base_blobs(self) -> frozenset[bytes]:
        assert self._base.tree is not None
        return frozenset(
            entry.oid for _, directory in walk(self._base.read, self._base.tree) for entry in directory.files.values()
        )

    def _close_all(self) -> None:
        for frame in [*self._parents, *self._left]:
            if frame.descriptor >= 0:
                os.close(frame.descriptor)


def _is_shared_memory(name: bytes, names: set[bytes]) -> bool:
    """SQLite's ``X-shm`` is rebuilt by whoever opens the database first."""
    database = name.removesuffix(SQLITE_SHARED)
    return database != name and database in names and database + b"-wal" in names


def _database(name: bytes, names: set[bytes]) -> bytes | None:
    """The SQLite database in use that ``name`` belongs to, if any."""
    for suffix in SQLITE_COMPANIONS:
        if name + suffix in names:
            return name
        if name.endswith(suffix) and name.removesuffix(suffix) in names:
            return name.removesuffix(suffix)
    return None


def _kept_groups(groups: list[tuple[bytes, ...]], kept: list[bytes]) -> list[list[bytes]]:
    """The old hard-link groups restricted to what kept its last record."""
    prefixes = tuple(path + b"/" for path in kept)
    exact = set(kept)
    restricted = ([path for path in group if path in exact or path.startswith(prefixes)] for group in groups)
    return [group for group in restricted if len(group) > 1]

