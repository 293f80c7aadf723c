"""Bring a live tree to main: what others pushed comes in, edits that nobody has checked in stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core.errors import ConflictError, HostError, NotFoundError
from gitstate.core.failures import ProgramError
from gitstate.core.monitor import Observer
from gitstate.core.names import display
from gitstate.core.wording import some_of
from gitstate.store import MAIN, Repository
from gitstate.store.objects import TREE
from gitstate.tree import live_root, restore
from gitstate.tree.checkin import LIVE, require_base, save_cache, scan_live
from gitstate.tree.combine import MergedTree, merge_trees
from gitstate.tree.package_manager import wait_until_idle
from gitstate.tree.policy import Policy
from gitstate.tree.restore import Counts, Plan, Request
from gitstate.tree.scan.cache import Row
from gitstate.tree.scan.content import HashOnly
from gitstate.tree.scan.models import Findings, Scan
from gitstate.tree.snapshot import ReadObject, split_tree

_NAMED: Final = 5

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Update:
    """What an update does. ``plan`` None: the live tree was recorded as ``tip`` already.

    ``edited``: it has edits that no commit has, which were merged. ``counts`` None: nothing was written.
    """

    base: bytes
    tip: bytes
    plan: Plan | None = None
    edited: bool = False
    counts: Counts | None = None


def preview(repository: Repository, live: Path, observer: Observer) -> Update:
    """What ``run`` would do; raises what it would raise. Writes nothing but a scratch directory."""
    base, tip = _ends(repository, live)
    if base == tip:
        return Update(base, tip)
    with _planned(repository, live, base, tip, observer) as (plan, edited):
        return Update(base, tip, plan, edited)


def run(repository: Repository, live: Path, observer: Observer, step: Step = lambda name: None) -> Update:
    """Bring the live tree to main; to be run again if its counts say that it is unfinished.

    Raises ConflictError, having written nothing, where an edit and a commit don't go together; LockedError,
    HostError, StorageError, DamagedError: run again, it finishes.
    """
    wait_until_idle(live, observer)
    with repository.lock("update"):
        base, tip = _ends(repository, live)
        if base == tip:
            return Update(base, tip)
        with _planned(repository, live, base, tip, observer) as (plan, edited):
            observer.phase("update")
            counts = restore.apply(plan, observer, step)
            step("written")
            if counts.unfinished:  # a check-in would take back what main has there
                return Update(base, tip, plan, edited, counts)
            repository.move_refs([(LIVE, tip, repository.ref(LIVE))], f"update: to {tip.hex()[:7]}")
            step("ref")
            _renew_cache(repository, live, base, tip, observer)
            return Update(base, tip, plan, edited, counts)


def _ends(repository: Repository, live: Path) -> tuple[bytes, bytes]:
    live_root.require_same(repository, live)
    base, tip = require_base(repository), repository.ref(MAIN)
    if tip is None:
        raise NotFoundError(f"{repository.name} has no branch main", "gitstate checkin makes it")
    return base, tip


@contextmanager
def _planned(
    repository: Repository, live: Path, base: bytes, tip: bytes, observer: Observer
) -> Iterator[tuple[Plan, bool]]:
    """The plan, whose new objects stand in a scratch directory meanwhile."""
    with repository.scratch() as scratch:
        since = restore.moment(live)
        scan, policy = _scan_into(scratch / "live", repository, live, base, observer)
        _require_read(scan.findings)
        view = repository.including(scratch / "live")
        before = _merge_base(repository, base, tip)
        ours, theirs = scan.tree, repository.snapshot(tip).tree
        merged = merge_trees(view.read, repository.snapshot(before).tree, ours, theirs)
        _refuse_conflicts(repository, merged)
        view = _with_objects(scratch / "merged", repository, view, merged)
        base_tree = repository.snapshot(base).tree
        request = Request(view, live, merged.tree, delete=True)
        plan = restore.plan_after(request, view.read, base_tree, scan, policy, since)
        _refuse_torn(repository, plan, theirs)
        yield plan, ours != base_tree


def _scan_into(
    objects: Path, repository: Repository, live: Path, base: bytes, observer: Observer
) -> tuple[Scan, Policy]:
    objects.mkdir()
    with repository.staging() as staging:
        found = scan_live(repository, live, base, (), staging, observer)
        staging.publish_to(objects)
    return found


def _require_read(findings: Findings) -> None:
    if findings.unrecorded:
        named = some_of([f"/{display(path)} ({why})" for path, why in findings.unrecorded], _NAMED)
        raise HostError(f"nothing updated, as these can't be read: {named}", "there may be edits in them: mend that")


def _merge_base(repository: Repository, base: bytes, tip: bytes) -> bytes:
    """Where the live tree's commit and main parted. Commits that main lacks so count as edits."""
    try:
        return bytes.fromhex(repository.git("merge-base", base.hex(), tip.hex()).decode().strip())
    except ProgramError:
        hint = "check in to a new branch (--branch NAME) and merge it with git"
        raise ConflictError("the live tree and main have no commit in common", hint) from None


def _refuse_conflicts(repository: Repository, merged: MergedTree) -> None:
    if merged.conflicts:
        raise _conflict(repository, [(one.path, one.reason.value) for one in merged.conflicts])


def _refuse_torn(repository: Repository, plan: Plan, theirs: bytes) -> None:
    """Raise ConflictError for databases of which main has another content and the live tree another log."""
    steps = plan.steps
    written = [*(step.path for step in steps.entries), *steps.removals]
    if torn := restore.torn(plan.read, plan.request.target, (plan.tree, theirs), written):
        raise _conflict(repository, [(path, "a database, and its log, were changed") for path in torn])


def _conflict(repository: Repository, conflicts: list[tuple[bytes, str]]) -> ConflictError:
    named = [f"/{display(path)} ({why})" for path, why in conflicts]
    paths = " ".join(display(path, word=True) for path, _ in conflicts[:_NAMED])
    hint = (
        f"keep main's: gitstate restore {repository.name} main -- {paths}; keep yours and decide in git: "
        f"gitstate checkin {repository.name} --branch NAME, and merge that"
    )
    return ConflictError(f"nothing updated, edits and main don't go together: {some_of(named, _NAMED)}", hint)


def _with_objects(objects: Path, repository: Repository, view: Repository, merged: MergedTree) -> Repository:
    """``view`` with the merge's own objects, which are written to a new directory."""
    if not merged.objects:
        return view
    objects.mkdir()
    with repository.staging() as staging:
        for kind, data in merged.objects.values():
            staging.add(kind, data)
        staging.publish_to(objects)
    return view.including(objects)


# --- the stat cache ---------------------------------------------------------------------------------------------------


def _renew_cache(repository: Repository, live: Path, base: bytes, tip: bytes, observer: Observer) -> None:
    """A stat cache for the new commit, made with the help of the old one: else the next scan reads every file."""
    sink = HashOnly(repository.read)
    scan, policy = scan_live(repository, live, base, (), sink, observer)
    if scan.rows is not None:
        rows = list(_equal_rows(scan.rows, sink.read, scan.tree, repository.snapshot(tip).tree))
        save_cache(repository, tip, policy, rows, observer)


def _equal_rows(
    rows: list[tuple[bytes, Row]], read: ReadObject, live: bytes, tip: bytes
) -> Iterator[tuple[bytes, Row]]:
    """The rows of directories that are in the live tree as in the commit."""
    different: set[bytes] = set()
    alone: list[bytes] = []
    todo = [(b"", live, tip)]
    while todo:
        path, ours, theirs = todo.pop()
        if ours == theirs:
            continue
        different.add(path)
        items = split_tree(read(theirs), path).items
        for name, item in split_tree(read(ours), path).items.items():
            if item.mode == TREE:
                below = path + b"/" + name if path else name
                other = items.get(name)
                if other is None or other.mode != TREE:
                    alone += [below, below + b"/"]
                else:
                    todo.append((below, item.oid, other.oid))
    exact, prefixes = set(alone), tuple(path for path in alone if path.endswith(b"/"))
    for path, row in rows:
        if path not in different and path not in exact and not (prefixes and path.startswith(prefixes)):
            yield path, row
