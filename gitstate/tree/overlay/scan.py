"""From an upper directory and the snapshot below it to the root tree id of what the overlay of both shows.

Only the upper directory is walked. A directory that it doesn't have keeps its tree, an entry that it doesn't have its
record, so the work follows the edits. What overlayfs makes of both is described in overlayfs.rst of the kernel.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from gitstate.core import fs
from gitstate.core.entry import KIND_BY_FORMAT, Directory, Entry, Kind, Meta
from gitstate.core.errors import HostError
from gitstate.core.monitor import Observer
from gitstate.core.names import LINKS, RECORDS, display, join, real_name
from gitstate.core.wording import some_of
from gitstate.store.objects import TREE, Type
from gitstate.tree.overlay.lower import Lower, below_of
from gitstate.tree.overlay.marks import NO_MARKS, Marks, Notes, UnknownMarkError, is_whiteout
from gitstate.tree.overlay.moved import Mover
from gitstate.tree.overlay.shape import Shape, merged_links
from gitstate.tree.policy import Policy, Treatment
from gitstate.tree.scan.assemble import Assembler, directory_meta, empty_tree, keep_owner_names
from gitstate.tree.scan.cache import NO_CACHE
from gitstate.tree.scan.content import CLOCK_STEP, UNHELD, FileTask, Outcome, Recorder, Sink, reason, record_special
from gitstate.tree.scan.models import BaseSnapshot, Findings, Frame, Scan
from gitstate.tree.scan.pipeline import Pipeline
from gitstate.tree.scan.sqlite import database_of, is_shared_memory
from gitstate.tree.snapshot import EMPTY, RawDirectory, TreeParts, read_directory, split_tree

_THREADS: Final = 2
_HINT: Final = "mount the overlay, and check in what it shows: --live DIR"


def unreadable(what: str) -> HostError:
    """The error for marks that aren't understood, each with its path."""
    return HostError(f"the upper directory can't be read: {what}", _HINT)


@dataclass(slots=True)
class UpperFrame(Frame):
    """A directory of the upper directory under way.

    ``old`` are entries of the directory below, as far as they are needed, ``below`` its subdirectories with their
    trees, ``marks`` those of the subdirectories to be walked.
    """

    shape: Shape = field(default_factory=Shape)
    old: Directory = EMPTY
    below: dict[bytes, bytes] = field(default_factory=dict)
    marks: dict[bytes, Marks] = field(default_factory=dict)


class _UpperAssembler(Assembler):
    """Makes trees over a snapshot that is never read as a whole; ``shape`` is that of the upper directory."""

    def __init__(self, base: BaseSnapshot, sink: Sink, shape: Shape, *, selinux: bool) -> None:
        super().__init__(base, NO_CACHE, sink, selinux=selinux)
        self._shape = shape

    def reachable(self, oid: bytes) -> bool:
        """Only what stands at the same path is known to be in the snapshot; the rest is stored once more."""
        return False

    def links_text(self) -> bytes:
        assert self._base.tree is not None
        links = split_tree(self._base.read(self._base.tree), b"").links
        return merged_links(b"" if links is None else self._base.read(links), self._shape, self.linked())


class UpperScanner:
    """Scans one upper directory, once, over the snapshot ``base``, which has a tree.

    ``size_of`` tells the size of a blob in the repository.
    """

    def __init__(
        self,
        root: int,
        base: BaseSnapshot,
        size_of: Callable[[bytes], int],
        policy: Policy,
        notes: Notes,
        sink: Sink,
        observer: Observer,
    ) -> None:
        self._root = root
        self._base = base
        assert base.tree is not None
        self._lower = Lower(base.read, base.tree)
        self._size_of = size_of
        self._policy = policy
        self._notes = notes
        self._sink = sink
        self._observer = observer
        self._mount = fs.mount_id(root)
        self._shape = Shape()
        self._assembler = _UpperAssembler(base, sink, self._shape, selinux=policy.selinux)
        now = fs.scratch_time(root)
        since = None if now is None else now - CLOCK_STEP
        self._recorder = Recorder(sink, policy, self._mount, self._assembler.reachable, since)
        self._findings = Findings()
        self._mover = Mover(base.read, size_of, policy, sink, self._findings.refusals.append)
        self._unknown: list[tuple[bytes, str]] = []
        self._open: set[int] = set()
        self._root_tree = b""

    def run(self) -> Scan:
        """Scan everything. Raises HostError for marks that aren't known, and as Scanner.run does."""
        fs.sync_file_system(self._root)
        pool = ThreadPoolExecutor(_THREADS)
        try:
            self._pipeline = Pipeline(self._recorder, pool, self._read)
            self._walk()
        finally:
            pool.shutdown(cancel_futures=True)
            for descriptor in self._open:
                os.close(descriptor)
        if self._unknown:
            named = [f"/{display(path)}: {why}" for path, why in sorted(self._unknown)]
            raise unreadable(some_of(named))
        self._findings.bytes_read = self._recorder.bytes_read
        self._findings.sort()
        return Scan(self._root_tree, self._findings, None)

    # --- the walk ---

    def _walk(self) -> None:
        parents = [self._top()]
        while parents:
            frame = parents[-1]
            if frame.pending:
                child = self._enter(frame, frame.pending.pop())
                if child is not None:
                    parents.append(child)
            else:
                self._release(parents.pop())
        self._pipeline.drain()

    def _top(self) -> UpperFrame:
        try:
            if self._notes.of(b"", b".", self._root, is_directory=True) != NO_MARKS:
                self._unknown.append((b"", "its own directory is marked as opaque or moved"))
            return self._visit(os.dup(self._root), b"", None, self._base.tree, self._shape)
        except UnknownMarkError as error:
            raise unreadable(f"/: {error}") from None
        except UNHELD as error:
            raise HostError(f"the upper directory: {reason(error)}", "look at the kernel's log") from None

    def _enter(self, parent: UpperFrame, name: bytes) -> UpperFrame | None:
        """Open a subdirectory to walk it; None if it isn't walked."""
        path, marks = join(parent.path, name), parent.marks[name]
        try:
            descriptor = fs.open_directory(name, parent.descriptor)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._keep(parent, path, name, reason(error))
            return None
        try:
            return self._descend(parent, name, marks, descriptor)
        except UnknownMarkError as error:
            self._unknown.append((path, str(error)))
        except UNHELD as error:
            self._keep(parent, path, name, reason(error))
        os.close(descriptor)
        return None

    def _descend(self, parent: UpperFrame, name: bytes, marks: Marks, descriptor: int) -> UpperFrame | None:
        if fs.mount_id(descriptor) != self._mount:
            raise OSError(errno.EXDEV, "something is mounted on it")
        path = join(parent.path, name)
        lower, tree = self._below(parent, name, marks)
        if self._policy.treatment(path, Kind.DIRECTORY) is Treatment.RECORD:
            shape = Shape(path, lower)
            frame = self._visit(descriptor, name, parent, tree, shape)
            parent.shape.names[name] = shape
            return frame
        own, old = self._own(descriptor)._replace(time=None), parent.below.get(name)
        if old is not None:
            own = keep_owner_names(own, read_directory(self._base.read, old, path).own)
        records, data, made = empty_tree(own)
        os.close(descriptor)
        if made != old:
            self._sink.add(Type.BLOB, records)
            self._sink.add(Type.TREE, data)
        parent.shape.names[name] = None
        parent.children[name] = made
        self._findings.entries += 1
        return None

    def _below(self, parent: UpperFrame, name: bytes, marks: Marks) -> tuple[bytes | None, bytes | None]:
        """Path and tree of the directory of the snapshot over which a subdirectory lies; None for none.

        Raises UnknownMarkError if it should lie over one that the snapshot doesn't have.
        """
        lower = below_of(parent.shape.lower, name, marks)
        if marks.redirect is None or lower is None:
            tree = None if lower is None else parent.below.get(name)
            return (None, None) if tree is None else (lower, tree)
        tree = self._lower.tree_of(lower)
        if tree is None:
            raise UnknownMarkError(f"it was moved from /{display(lower)}, which the snapshot below doesn't have")
        return lower, tree

    def _keep(self, parent: UpperFrame, path: bytes, name: bytes, why: str) -> None:
        """Keep the last record of what can't be read: it is never taken for deleted."""
        self._findings.unrecorded.append((path, why))
        parent.shape.names.pop(name, None)
        if name in parent.below:
            parent.children[name] = parent.below[name]
        elif name in parent.old.files:
            parent.entries.append(parent.old.files[name])

    # --- one directory ---

    def _own(self, descriptor: int) -> Meta:
        xattrs = fs.descriptor_xattrs(descriptor, selinux=self._policy.selinux)
        return directory_meta(os.fstat(descriptor), self._notes.recorded(xattrs))

    def _visit(
        self, descriptor: int, name: bytes, parent: UpperFrame | None, base: bytes | None, shape: Shape
    ) -> UpperFrame:
        listing = fs.list_directory(descriptor)
        status = os.fstat(descriptor)
        frame = UpperFrame(shape.path, name, parent, descriptor, base, status, b"", None, shape=shape)
        names = {name for name, _ in listing}
        if base is not None:
            self._take_below(frame, base, names)
        frame.own = keep_owner_names(self._own(descriptor), frame.old.own)
        self._open.add(descriptor)
        if parent is not None:
            parent.waiting += 1
        self._scan(frame, listing)
        frame.pending.reverse()
        self._observer.advance(len(listing))
        return frame

    def _take_below(self, frame: UpperFrame, base: bytes, names: set[bytes]) -> None:
        """Take over from the directory below what ``names`` don't hide."""
        raw = RawDirectory(self._base.read, base, frame.shape.lower or b"")
        records, links = (raw.items.get(name) for name in (RECORDS, LINKS))
        frame.parts = TreeParts({}, records and records.oid, links and links.oid)  # items are taken from ``raw``
        wanted = None
        with suppress(ValueError):  # a name that is none: whoever parses all says in which line
            wanted = names | raw.loose() | raw.without_item()
        if wanted is not None and raw.is_plain and frame.shape.lower == frame.path:
            frame.old = raw.only(wanted)
            frame.kept = raw.all_written(wanted)
            frame.below = {real_name(item.name): item.oid for item in raw.items.values() if item.mode == TREE}
        else:
            frame.old = read_directory(self._base.read, base, frame.path)
            frame.below = dict(frame.old.subdirectories)
        entries = [entry for name, entry in frame.old.files.items() if name not in names]
        children = [(name, tree) for name, tree in frame.below.items() if name not in names]
        if frame.shape.lower == frame.path:
            frame.entries += entries
            frame.children |= children
        else:
            frame.entries += self._mover.files(frame.path, entries)
            frame.children |= self._mover.subdirectories(frame.path, children)

    def _scan(self, frame: UpperFrame, listing: list[tuple[bytes, os.stat_result]]) -> None:
        hidden = {name for name, status in listing if is_whiteout(status)}
        present = {name for name, _ in listing} - hidden
        shown = present | frame.children.keys() | {entry.name for entry in frame.entries} | frame.kept.keys()
        databases: dict[bytes, list[FileTask]] = {}
        for name, status in listing:
            frame.shape.names[name] = None
            kind = KIND_BY_FORMAT.get(stat.S_IFMT(status.st_mode))
            task = FileTask(join(frame.path, name), name, frame.descriptor, frame.old.files.get(name), status)
            if name in hidden:
                continue
            marks = self._marks(frame, task, kind)
            if marks is None or self._is_left_out(task, kind) or is_shared_memory(name, shown):
                continue
            if kind is Kind.DIRECTORY:
                frame.marks[name] = marks
                frame.pending.append(name)
            elif marks.metacopy:
                self._accept(frame, task, self._copied(frame, task, marks))
            elif kind and kind is not Kind.FILE:
                self._accept(frame, task, record_special(task, kind, self._sink, selinux=self._policy.selinux))
            elif database := database_of(name, present):
                databases.setdefault(database, []).append(task)
            else:
                frame.waiting += 1
                self._pipeline.file(frame, task, status.st_size)
        for tasks in databases.values():
            frame.waiting += len(tasks)
            self._pipeline.database(frame, tasks)

    def _marks(self, frame: UpperFrame, task: FileTask, kind: Kind | None) -> Marks | None:
        """The entry's marks; None if it isn't recorded because of them."""
        try:
            return self._notes.of(task.path, task.name, task.parent, is_directory=kind is Kind.DIRECTORY)
        except FileNotFoundError:
            pass
        except UnknownMarkError as error:
            self._unknown.append((task.path, str(error)))
        except OSError as error:
            self._keep(frame, task.path, task.name, reason(error))
        return None

    def _is_left_out(self, task: FileTask, kind: Kind | None) -> bool:
        if kind is None:
            self._findings.sockets.append(task.path)
            return True
        return self._policy.treatment(task.path, kind) is Treatment.SKIP

    def _copied(self, frame: UpperFrame, task: FileTask, marks: Marks) -> Outcome:
        """Record a file whose metadata alone was copied up: its content is that below it."""
        try:
            source = self._source(frame, task, marks)
        except UnknownMarkError as error:
            self._unknown.append((task.path, str(error)))
            return Outcome(None)
        try:
            xattrs = fs.named_xattrs(task.name, task.parent, selinux=self._policy.selinux)
        except OSError as error:
            return Outcome(None, problem=reason(error))
        status, refusal = task.status, None
        meta = Meta(Kind.FILE, stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns)
        if source is not task.old and self._policy.inspects(task.path, status.st_size):
            refusal = self._policy.inspect(task.path, self._base.read(source.oid))
        return Outcome(Entry(task.name, meta._replace(xattrs=xattrs), source.oid), status, refusal=refusal)

    def _source(self, frame: UpperFrame, task: FileTask, marks: Marks) -> Entry:
        """The file of the snapshot below whose content a file has. Raises UnknownMarkError."""
        source = task.old
        if marks.redirect is not None:
            source = self._lower.file(below_of(frame.shape.lower, task.name, marks))
        if source is None or source.meta.kind is not Kind.FILE or self._size_of(source.oid) != task.status.st_size:
            raise UnknownMarkError("its content is that of a file which the snapshot below doesn't have")
        return source

    def _read(self, frame: Frame, task: FileTask, outcome: Outcome) -> None:
        assert isinstance(frame, UpperFrame)
        self._accept(frame, task, outcome)
        self._release(frame)

    def _accept(self, frame: UpperFrame, task: FileTask, outcome: Outcome) -> None:
        """Add one entry to its directory, or report why it keeps its last record."""
        entry = outcome.entry
        if outcome.refusal is not None:
            self._findings.refusals.append(outcome.refusal)
        if outcome.problem or outcome.mounted:
            self._keep(frame, task.path, task.name, outcome.problem or "something is mounted on it")
            return
        if entry is None:
            return
        meta = entry.meta._replace(xattrs=self._notes.recorded(entry.meta.xattrs))
        frame.entries.append(entry._replace(meta=keep_owner_names(meta, task.old.meta) if task.old else meta))
        self._findings.entries += 1
        if outcome.status is not None and outcome.status.st_nlink > 1:
            self._assembler.add_link(task.path, outcome.status)

    def _release(self, waiting: Frame | None) -> None:
        """Count down what a directory waits for. At zero it is closed, and its parent counts down in turn."""
        while waiting is not None:
            waiting.waiting -= 1
            if waiting.waiting:
                return
            tree = self._assembler.finish(waiting)
            os.close(waiting.descriptor)
            self._open.remove(waiting.descriptor)
            self._findings.entries += 1
            if waiting.parent is None:
                self._root_tree = tree
            else:
                waiting.parent.children[waiting.name] = tree
            waiting = waiting.parent
