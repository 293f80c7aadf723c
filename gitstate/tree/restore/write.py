"""Carry out a restore: entries are made whole in a workplace below the live tree's root, and named by a rename."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gitstate.core import failures, fs
from gitstate.core.entry import Entry, Kind, Meta
from gitstate.core.errors import HostError
from gitstate.core.monitor import Observer
from gitstate.tree.export.make import Maker
from gitstate.tree.export.models import Counts as ExportCounts
from gitstate.tree.export.models import LinkGroups
from gitstate.tree.export.write import Exporter
from gitstate.tree.restore.models import Counts, EntryStep, Plan
from gitstate.tree.restore.standing import Standing

_FEW: Final = 64
"""So many files are synced one by one; after more the whole file system."""
_ENTRY: Final = b"entry"
_HOLDS_MORE: Final = "it holds what isn't recorded, or is a mount point"

_HELD: Final = frozenset((errno.EPERM, errno.EACCES, errno.EBUSY, errno.ETXTBSY, errno.EXDEV))
"""Errors of an entry that is immutable, or a mount point since the scan: the others can be restored."""

Step = Callable[[str], None]


def apply(plan: Plan, observer: Observer, step: Step = lambda name: None) -> Counts:
    """Carry out a plan; the caller holds the repository's lock. Raises HostError, StorageError, DamagedError.

    What was done stands: the same command again does the rest.
    """
    counts = Counts()
    if plan.is_empty:
        _clear_workplace(plan.request.live / os.fsdecode(fs.WORKPLACE))
        return counts
    if os.geteuid() != 0:
        raise HostError("restore sets owners and makes devices and needs root", "run it with sudo")
    mask = os.umask(0)
    try:
        root = fs.open_tree(plan.request.live)
        try:
            _Restorer(plan, root, counts, observer, step).run()
        finally:
            os.close(root)
    except OSError as error:
        raise failures.of_system(error, plan.request.live, "what was restored stands: run it again") from None
    finally:
        os.umask(mask)
    return counts


def _clear_workplace(path: Path) -> None:
    """Remove what a killed run left. Raises HostError for what is none of ours."""
    try:
        fs.remove_tree(path)
    except NotADirectoryError:
        raise HostError(f"/{path.name} is where gitstate works", "move it away: no snapshot records it") from None


class _Restorer:
    def __init__(self, plan: Plan, root: int, counts: Counts, observer: Observer, step: Step) -> None:
        self._plan = plan
        self._steps = plan.steps
        self._root = root
        self._tree = fs.DescriptorTree(root)
        self._standing = Standing(plan)
        self._counts = counts
        self._observer = observer
        self._step = step
        self._ready = set(plan.ready)
        self._times: dict[bytes, int] = {}
        self._sync_each = len(self._steps.entries) <= _FEW and not self._steps.trees

    def run(self) -> None:
        """All steps. Raises OSError, HostError, DamagedError."""
        steps = self._steps
        self._note_time(b"")
        with self._workplace() as workplace:
            for path in reversed(steps.removals):
                self._remove(path)
            self._step("removed")
            for path, meta in steps.parents:
                self._make_parent(path, meta, workplace)
            maker = Maker(self._plan.request.source, fs.kept_times(workplace))
            for one in steps.entries:
                self._entry(one, maker, workplace)
            self._step("entries")
            self._make_trees(workplace)
            self._link_groups(workplace)
        self._step("made")
        self._finish_directories()
        if not self._sync_each:
            self._observer.phase("sync")
            fs.sync_file_system(self._root)

    @contextmanager
    def _workplace(self) -> Iterator[int]:
        """A directory that no scan enters, emptied of what a killed run left."""
        live = Path(os.fsdecode(b"/proc/self/fd/%d" % self._root))
        path = live / os.fsdecode(fs.WORKPLACE)
        _clear_workplace(path)
        descriptor = fs.make_directory(fs.WORKPLACE, self._root)
        try:
            fs.set_metadata(descriptor, Meta(Kind.DIRECTORY, 0o700))  # no default ACL of the root's
            yield descriptor
        finally:
            os.close(descriptor)
            fs.remove_tree(path)

    # --- single entries ---

    def _note_time(self, above: bytes) -> None:
        """Remember a directory's time before anything in it changes."""
        if above not in self._times:
            with self._tree.directory(above) as descriptor:
                self._times[above] = os.fstat(descriptor).st_mtime_ns

    @contextmanager
    def _parent(self, path: bytes) -> Iterator[tuple[int, bytes]]:
        above, _, name = path.rpartition(b"/")
        self._note_time(above)
        with self._tree.directory(above) as descriptor:
            yield descriptor, name

    def _leave(self, path: bytes, why: str, *, unfinished: bool = True) -> None:
        """Note that an entry stays, which was to be replaced or removed."""
        self._counts.unfinished |= unfinished
        if (path, why) not in self._counts.left:
            self._counts.left.append((path, why))

    @contextmanager
    def _noting(self, path: bytes) -> Iterator[None]:
        """Leave an entry that something holds."""
        try:
            yield
        except OSError as error:
            if error.errno not in _HELD:
                raise
            self._leave(path, error.strerror or str(error))

    def _is_below_left(self, path: bytes) -> bool:
        """Whether a directory that ``path`` was to be made in couldn't be made."""
        return any(path.startswith(left + b"/") for left, _ in self._counts.left)

    def _remove(self, path: bytes) -> None:
        """Remove an entry; a directory only if nothing is left in it."""
        with suppress(FileNotFoundError), self._noting(path), self._parent(path) as (parent, name):
            self._counts.removed += self._clear(path, name, parent)

    def _clear(self, path: bytes, name: bytes, parent: int) -> bool:
        """Whether nothing had to stay."""
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            try:
                os.rmdir(name, dir_fd=parent)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
                    raise
                self._leave(path, _HOLDS_MORE, unfinished=False)
                return False
        elif why := self._standing.why_kept(path, name, parent):
            self._leave(path, why)
            return False
        else:
            os.unlink(name, dir_fd=parent)
        return True

    def _make_parent(self, path: bytes, meta: Meta, workplace: int) -> None:
        if self._is_below_left(path):
            return
        descriptor = fs.make_directory(_ENTRY, workplace)
        try:
            fs.set_metadata(descriptor, meta)
        finally:
            os.close(descriptor)
        self._counts.written += self._place(path, workplace, _ENTRY)

    def _entry(self, one: EntryStep, maker: Maker, workplace: int) -> None:
        self._observer.advance(1)
        if self._is_below_left(one.path):
            return
        if one.in_place and self._set_metadata(one.path, one.entry.meta):
            self._counts.metadata += 1
        elif not self._link(one.path, workplace):
            if not self._write(one.path, one.entry, maker, workplace):
                return
            self._counts.written += 1
        if one.path in self._plan.groups:
            self._ready.add(one.path)

    def _write(self, path: bytes, entry: Entry, maker: Maker, workplace: int) -> bool:
        self._counts.bytes += maker.entry(path, entry._replace(name=_ENTRY), workplace) or 0
        if self._sync_each and entry.meta.kind is Kind.FILE:
            descriptor = fs.open_file(_ENTRY, workplace)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        return self._place(path, workplace, _ENTRY)

    def _set_metadata(self, path: bytes, meta: Meta) -> bool:
        """Set the metadata of a file; False if it has other names, too, which keep theirs, or was changed meanwhile."""
        above, _, name = path.rpartition(b"/")
        is_set = False
        with self._noting(path), self._tree.directory(above) as parent:
            if not self._standing.why_kept(path, name, parent):
                descriptor = fs.open_file(name, parent)
                try:
                    found = os.fstat(descriptor)
                    if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                        fs.set_metadata(descriptor, meta, selinux=self._plan.selinux)
                        is_set = True
                finally:
                    os.close(descriptor)
        return is_set

    def _place(self, path: bytes, workplace: int, made: bytes, *, over_own: bool = False) -> bool:
        """Give what was made its name, in place of what has it; False if that must stay, and isn't of this run."""
        is_placed = False
        with self._noting(path), self._parent(path) as (parent, name):
            if not over_own and (why := self._standing.why_kept(path, name, parent)):
                self._leave(path, why)
            else:
                is_placed = self._rename(path, made, workplace, name, parent)
                if is_placed and self._sync_each:
                    os.fsync(parent)
        if not is_placed:
            self._counts.unfinished = True
            fs.remove_entry(made, workplace)
        return is_placed

    def _rename(self, path: bytes, made: bytes, workplace: int, name: bytes, parent: int) -> bool:
        """Rename, after the removal of what a rename can't replace: an emptied directory by a file, or the reverse."""
        try:
            os.rename(made, name, src_dir_fd=workplace, dst_dir_fd=parent)
        except OSError as error:
            if error.errno not in (errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST):
                raise
            if not self._clear(path, name, parent):
                return False
            os.rename(made, name, src_dir_fd=workplace, dst_dir_fd=parent)
        return True

    # --- hard links ---

    def _link(self, path: bytes, workplace: int, *, over_own: bool = False) -> bool:
        """Make ``path`` another name of a member of its group that stands; False if there is none, or it must stay."""
        group = self._plan.groups.get(path, ())
        for other in (one for one in group if one in self._ready and one != path):
            above, _, name = other.rpartition(b"/")
            try:
                with self._tree.directory(above) as source:
                    os.link(name, _ENTRY, src_dir_fd=source, dst_dir_fd=workplace, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (errno.EMLINK, errno.EXDEV, errno.ENOENT, errno.EPERM):
                    raise
                continue
            if not self._place(path, workplace, _ENTRY, over_own=over_own):
                return False
            with suppress(FileNotFoundError):  # two names of one inode: rename does nothing
                os.unlink(_ENTRY, dir_fd=workplace)
            self._counts.linked += 1
            return True
        return False

    def _link_groups(self, workplace: int) -> None:
        """Join the members of groups of which some came with whole directories."""
        below = tuple(path + b"/" for path, *_ in self._steps.trees)
        for group in set(self._plan.groups.values()) if below else ():
            come = [path for path in group if path.startswith(below) and not self._is_below_left(path)]
            standing = [path for path in group if path in self._ready]
            first = self._tree.lstat((standing or come)[0]) if come else None
            for path in come:
                here = self._tree.lstat(path)
                if first and here and here.st_ino != first.st_ino:
                    self._ready.update(come[:1] if not standing else ())
                    self._link(path, workplace, over_own=True)

    # --- whole directories ---

    def _make_trees(self, workplace: int) -> None:
        trees = self._steps.trees
        if not trees:
            return
        source, done = self._plan.request.source, ExportCounts()
        inside = fs.make_directory(b"trees", workplace)
        try:
            by_path = dict(self._plan.groups)
            place = Path(f"/proc/self/fd/{inside}")
            exporter = Exporter(
                source, self._plan.request.target, None, place, done, self._observer, LinkGroups(by_path)
            )
            exporter.make_trees((path, tree) for path, tree in trees)
            for path, _ in trees:
                if self._is_below_left(path):
                    continue
                above, _, name = path.rpartition(b"/")
                made = fs.open_path(above, inside)
                try:
                    self._place(path, made, name)
                finally:
                    os.close(made)
        finally:
            os.close(inside)
        self._counts.written += done.written + done.directories
        self._counts.linked += done.linked
        self._counts.bytes += done.bytes

    # --- directories that stand ---

    def _finish_directories(self) -> None:
        """Set metadata, deepest first; where only the time moved, it goes back."""
        steps = self._steps
        for path in sorted({*steps.directories, *self._times}, reverse=True):
            try:
                with self._tree.directory(path) as descriptor:
                    self._finish(path, descriptor)
            except (FileNotFoundError, NotADirectoryError):  # removed, or replaced by a file
                continue

    def _finish(self, path: bytes, descriptor: int) -> None:
        meta = self._steps.directories.get(path)
        if meta is not None:
            with self._noting(path):
                fs.set_metadata(descriptor, meta, selinux=self._plan.selinux)
            self._counts.metadata += path not in self._times
        else:
            time = self._steps.times.get(path, self._times[path])
            with suppress(PermissionError):  # nothing changed in what is immutable
                os.utime(descriptor, ns=(time, time))
        if self._sync_each:
            os.fsync(descriptor)
