"""Export a snapshot as an immutable tree: link what equals the nearest export, inflate the rest in threads.

Everything is written under a temporary name by directory descriptors, then synced and renamed; a killed export leaves
nothing under a final name. Exports never change afterwards, so a link to one is as good as its record.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from gitstate.core import failures, fs
from gitstate.core.errors import DamagedError, GitstateError, HostError, UsageError
from gitstate.core.monitor import Observer
from gitstate.store import Repository
from gitstate.tree.export import damage, digests
from gitstate.tree.export.damage import PARTIAL, Condition, condition, remember, set_aside
from gitstate.tree.export.models import Counts, NearestExport
from gitstate.tree.export.write import Exporter

__all__ = ["Condition", "Plan", "Step", "apply", "condition", "plan", "remember", "set_aside"]

_MOST_ANCESTORS: Final = 1000
"""How many ancestors are searched for an export before the newest export is taken."""

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an export will do. ``done``: it is there already; ``nearest`` None: everything is written.

    ``separate``: nothing can be shared with the exports there are, as they are on another file system.
    """

    repository: Repository
    commit: bytes
    tree: bytes
    target: Path
    nearest: NearestExport | None
    done: bool
    separate: bool = False
    is_kept: bool = False
    """Whether it is one of the site's exports, from which later ones are linked."""
    is_damaged: bool = False
    """Whether it is there and damaged: it is replaced, and shares nothing with others, whose inodes may be bad too."""
    looks: bool = False


def plan(repository: Repository, commit: bytes, exports: Path, to: Path | None, *, looks: bool = False) -> Plan:
    """Plan the export of ``commit`` into ``exports``, or to ``to``, an empty or new directory of the user's.

    The user's directory shares no inode with an export, at most blocks on the disk. For ``looks`` see ``condition``.
    Raises UsageError if it isn't empty, HostError if we aren't root.
    """
    if os.geteuid() != 0:
        raise HostError("export restores owners and devices and needs root", "run it with sudo")
    tree = repository.snapshot(commit).tree
    if to is None:
        target = exports / commit.hex()
        found = condition(repository, commit, exports, looks=looks)
        is_missing, is_damaged = found is Condition.MISSING, found is Condition.DAMAGED
        nearest, separate = _usable(_nearest(repository, commit, exports), exports) if is_missing else (None, False)
        done = found is Condition.SOUND
        return Plan(repository, commit, tree, target, nearest, done, separate, True, is_damaged, looks)
    target = to.absolute()
    fs.require_empty(target, "export writes to a new or an empty directory")
    error = _clone_error(exports, target) if fs.has_directory(exports) else errno.ENOENT
    nearest = None if error else _nearest(repository, commit, exports, linkable=False)
    return Plan(repository, commit, tree, target, nearest, False, error == errno.EXDEV and bool(fs.list_names(exports)))


def _usable(nearest: NearestExport | None, exports: Path) -> tuple[NearestExport | None, bool]:
    """The nearest export if files can be linked or cloned from it, and whether its file system forbids both."""
    if nearest is None or nearest.path.stat().st_dev == exports.stat().st_dev:
        return nearest, False
    error = _clone_error(nearest.path, exports)  # a subvolume has a st_dev of its own, and files can be cloned
    return (None, error == errno.EXDEV) if error else (replace(nearest, linkable=False), False)


def _clone_error(exports: Path, target: Path) -> int:
    """The errno with which cloning a file of ``exports`` to ``target`` would fail; 0 if it works."""
    there = next(path for path in (target, *target.parents) if path.is_dir())
    source = fs.open_tree(exports)
    try:
        descriptor = fs.open_tree(there)
        try:
            return fs.why_no_clones(source, descriptor)
        finally:
            os.close(descriptor)
    finally:
        os.close(source)


def _nearest(repository: Repository, commit: bytes, exports: Path, *, linkable: bool = True) -> NearestExport | None:
    """The export of the closest ancestor by first parents, else the newest one.

    Only if files aren't to be linked from it may it be the export of ``commit`` itself. One whose looks nobody knows
    isn't taken.
    """
    found = {bytes.fromhex(name): exports / name for name in fs.list_names(exports) if len(name) == 40}
    present = {oid: found[oid] for oid in found.keys() & digests.recorded(repository)}
    if linkable:
        present.pop(commit, None)
    if not present:
        return None
    for ancestor in repository.first_parents(commit, _MOST_ANCESTORS):
        if ancestor in present:
            return NearestExport(present[ancestor], ancestor, repository.snapshot(ancestor).tree, linkable)
    newest = max(present, key=lambda oid: present[oid].stat().st_ctime_ns)
    try:
        return NearestExport(present[newest], newest, repository.snapshot(newest).tree, linkable)
    except DamagedError:  # its commit was forgotten
        return None


def apply(plan: Plan, observer: Observer, step: Step = lambda name: None) -> Counts:
    """Carry out a plan. Raises StorageError, DamagedError, HostError, leaving nothing under the target's name."""
    counts = Counts()
    if plan.done:
        if plan.is_kept and damage.is_replaced(plan.repository, plan.commit, plan.target):
            with temporary_directory(plan.target, partial(damage.clear, plan.repository)):  # a killed replacement's
                digests.mark(plan.repository, plan.commit, None)
                digests.tidy(plan.repository, plan.commit, plan.target.parent)
        return counts
    if plan.separate:
        observer.notice(f"{plan.target} is on another file system than other exports: it shares nothing with them")
    with temporary_directory(plan.target, partial(damage.clear, plan.repository)) as temporary:
        if plan.is_kept and _is_sound(plan):
            return counts
        old_mask = os.umask(0)
        try:
            exporter = Exporter(plan.repository, plan.tree, plan.nearest, temporary, counts, observer)
            exporter.run()
            step("written")
            if plan.is_damaged:
                _replace(plan, temporary, observer)
            if plan.is_kept:
                digests.save(plan.repository, plan.commit, exporter.digests, plan.target.parent)
            if not plan.is_damaged:
                os.rename(temporary, plan.target)
            step("renamed")
            fs.sync_directory(plan.target.parent)
        except OSError as error:
            raise _translated(error, plan.target) from None
        finally:
            os.umask(old_mask)
    return counts


def _is_sound(plan: Plan) -> bool:
    """Whether somebody else has made it meanwhile."""
    return condition(plan.repository, plan.commit, plan.target.parent, looks=plan.looks) is Condition.SOUND


def _replace(plan: Plan, new: Path, observer: Observer) -> None:
    kept = damage.replace(plan.repository, plan.commit, new, plan.target)
    observer.notice(
        f"{plan.target} was damaged and is made again; machines that run keep the damaged one, by its file handles,"
        f" until they are rebooted: remove {kept} then"
    )


def _translated(error: OSError, target: Path) -> GitstateError:
    hint = "is it a mount point? name a directory below it" if error.errno in (errno.EBUSY, errno.EXDEV) else ""
    return failures.of_system(error, target, hint)


@contextmanager
def temporary_directory(target: Path, clear: Callable[[Path], None] = fs.remove_tree) -> Iterator[Path]:
    """A temporary directory beside the target, under a lock; ``clear`` removes it, and before what killed runs left."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    parent = fs.open_tree(target.parent)
    temporary = target.with_name(f".{target.name}{PARTIAL}")
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)
        try:
            for leftover in [temporary, *target.parent.glob(f".{'[0-9a-f]' * 40}{PARTIAL}")]:
                clear(leftover)
            temporary.mkdir(mode=0o700)
            yield temporary
        finally:
            clear(temporary)
    finally:
        os.close(parent)
