"""From a snapshot to an immutable tree: what equals the nearest export is linked, the rest inflated in threads.

Everything is written under a temporary name by directory descriptors, then synced and renamed; a killed export leaves
nothing under a final name. Exports are never changed afterwards, so a link to one is as good as its record.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import DamagedError, GitstateError, HostError, StorageError, UsageError
from gitstate.core.monitor import Observer
from gitstate.store import Repository
from gitstate.tree.export.models import Nearest, Tally
from gitstate.tree.export.write import Exporter

_NEAR: Final = 1000
"""How many ancestors are asked for an export before the newest export is taken instead."""

_PARTIAL: Final = ".gitstate-partial"

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What an export will do. ``done`` if the directory is there already; ``nearest`` None to write everything.

    ``apart``: to write it although there is an export, as that is on another file system.
    """

    repository: Repository
    commit: bytes
    tree: bytes
    target: Path
    nearest: Nearest | None
    done: bool
    apart: bool = False


def plan(repository: Repository, commit: bytes, exports: Path, to: Path | None) -> Plan:
    """Plan the export of ``commit`` into ``exports``, or to an empty or new directory of the user's own.

    Raises UsageError if that is not empty, HostError if we aren't root. A tree of the user's own shares no
    inode with an export, at most bytes on the disk.
    """
    if os.geteuid() != 0:
        raise HostError("export restores owners and devices and needs root", "run it with sudo")
    tree = repository.snapshot(commit).tree
    if to is None:
        target = exports / commit.hex()
        done = target.is_dir()
        nearest, apart = (None, False) if done else _within_reach(_nearest(repository, commit, exports), exports)
        return Plan(repository, commit, tree, target, nearest, done, apart)
    target = to.absolute()
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise UsageError(f"{target} is not an empty directory", "export writes to a new or an empty directory")
    obstacle = _obstacle(exports, target) if exports.is_dir() else errno.ENOENT
    lender = None if obstacle else _nearest(repository, commit, exports, lends=True)
    return Plan(repository, commit, tree, target, lender, False, obstacle == errno.EXDEV and any(exports.iterdir()))


def _within_reach(nearest: Nearest | None, exports: Path) -> tuple[Nearest | None, bool]:
    """The nearest export as far as it can give anything, and whether it can't for being on another file system."""
    if nearest is None or nearest.path.stat().st_dev == exports.stat().st_dev:
        return nearest, False
    obstacle = _obstacle(nearest.path, exports)  # a subvolume has a st_dev of its own, and lends bytes
    return (None, obstacle == errno.EXDEV) if obstacle else (replace(nearest, linked=False), False)


def _obstacle(exports: Path, target: Path) -> int:
    """Why what stands at ``target`` can't share bytes with what stands in ``exports``, an errno; 0 if it can."""
    there = next(path for path in (target, *target.parents) if path.is_dir())
    source = fs.open_tree(exports)
    try:
        descriptor = fs.open_tree(there)
        try:
            return fs.why_no_clones(source, descriptor)
        finally:
            fs.close(descriptor)
    finally:
        fs.close(source)


def _nearest(repository: Repository, commit: bytes, exports: Path, *, lends: bool = False) -> Nearest | None:
    """The export of the closest ancestor by first parents, else the newest one.

    One that only ``lends`` its bytes may be the commit's own.
    """
    try:
        present = {bytes.fromhex(path.name): path for path in exports.iterdir() if len(path.name) == 40}
    except FileNotFoundError:
        return None
    if not lends:
        present.pop(commit, None)
    if not present:
        return None
    for ancestor in repository.first_parents(commit, _NEAR):
        if ancestor in present:
            return Nearest(present[ancestor], ancestor, repository.snapshot(ancestor).tree, not lends)
    newest = max(present, key=lambda oid: present[oid].stat().st_ctime_ns)
    try:
        return Nearest(present[newest], newest, repository.snapshot(newest).tree, not lends)
    except DamagedError:  # its commit was forgotten
        return None


def apply(plan: Plan, observer: Observer, step: Step = lambda name: None) -> Tally:
    """Carry out a plan. Raises StorageError, DamagedError; then nothing stands under the target's name."""
    tally = Tally()
    if plan.done:
        return tally
    if plan.apart:
        observer.notice(f"{plan.target} is on another file system than other exports: it shares nothing with them")
    with _workshop(plan.target) as temporary:
        if plan.target.is_dir() and plan.target.name == plan.commit.hex():
            return tally
        old_mask = os.umask(0)
        try:
            Exporter(plan.repository, plan.tree, plan.nearest, temporary, tally, observer).run()
            step("written")
            os.rename(temporary, plan.target)
            step("renamed")
            fs.sync_directory(plan.target.parent)
        except OSError as error:
            raise _explained(error, plan.target) from None
        finally:
            os.umask(old_mask)
    return tally


def _explained(error: OSError, target: Path) -> GitstateError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return StorageError(f"{target}: {error.strerror}", "make room and run it again; nothing half done is left")
    if error.errno in (errno.EBUSY, errno.EXDEV):
        return HostError(f"{target}: {error.strerror}", "is it a mount point? name a directory below it")
    return HostError(f"{target}: {error.strerror}", "nothing half done is left")


@contextmanager
def _workshop(target: Path) -> Iterator[Path]:
    """A temporary directory beside the target, ours alone; what the killed left there is cleared."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    parent = fs.open_tree(target.parent)
    temporary = target.with_name(f".{target.name}{_PARTIAL}")
    try:
        fcntl.flock(parent, fcntl.LOCK_EX)
        for leftover in [temporary, *target.parent.glob(f".{'[0-9a-f]' * 40}{_PARTIAL}")]:
            fs.remove_tree(leftover)
        temporary.mkdir(mode=0o700)
        yield temporary
    finally:
        fs.remove_tree(temporary)
        os.close(parent)
