"""From an upper directory to a commit whose parent is the snapshot below it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core.errors import GitstateError
from gitstate.core.monitor import Observer
from gitstate.core.signature import Signature
from gitstate.store import Commit, Repository, Staging, Type
from gitstate.tree.checkin import Result, Status, compared
from gitstate.tree.combine import MergedTree, join_branch
from gitstate.tree.overlay.marks import Notes
from gitstate.tree.overlay.run import scan_upper
from gitstate.tree.own_data import own_data
from gitstate.tree.recording import Allowance, message_of, refuse, require_free
from gitstate.tree.scan.content import Sink
from gitstate.tree.scan.models import Scan
from gitstate.tree.snapshot import ReadObject

_REASON: Final = "upper: "
"""How reasons begin in logs of refs: no live tree was recorded as these commits."""

Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Edits:
    """Edits on the snapshot ``base``: an upper directory, and what it is to become.

    ``notes`` None: its marks are attributes, as a mounted overlay with that upper directory has them, else as root's.
    """

    repository: Repository
    base: bytes
    upper: Path
    branch: str
    message: str
    author: Signature
    committer: Signature
    allow: tuple[Allowance, ...] = ()
    notes: Notes | None = None

    @property
    def ref(self) -> str:
        """The full name of the branch."""
        return f"refs/heads/{self.branch}"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a check-in would record, and why it would be refused, if it would."""

    status: Status
    refusal: GitstateError | None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the branch becomes: the edits' own tree, and, if somebody moved the branch on, a merge with it.

    ``is_new``: whether it takes a commit at all.
    """

    tip: bytes | None
    is_new: bool
    merged: MergedTree | None = None


def rehearse(edits: Edits, observer: Observer) -> Rehearsal:
    """Do all of a check-in but the writing. Raises as ``record`` for what can't even be read."""
    repository = edits.repository
    with repository.staging() as staging:
        scan = _scan(edits, staging, observer)
        read = staging.reader(repository.read)
        found, refusal = compared(repository, edits.base, scan, read), None
        try:
            refuse(scan.findings)
            _plan(edits, scan, read)
        except GitstateError as error:
            refusal = error
    return Rehearsal(found, refusal)


def record(edits: Edits, observer: Observer, step: Step = lambda name: None) -> Result:
    """Make the commit; if the branch has moved on since the snapshot below, a merge with it besides.

    Raises RefusedError, ConflictError, LockedError, StorageError, HostError, ConfigError, having changed nothing.
    Unrecorded entries in the result's findings keep their last record: the check-in was partly done.
    """
    started = time.monotonic()
    repository, message = edits.repository, message_of(edits.message, edits.allow)
    with repository.lock("checkin"), repository.staging() as staging:
        scan = _scan(edits, staging, observer)
        refuse(scan.findings)
        plan, commit = _plan(edits, scan, staging.reader(repository.read)), None
        if plan.is_new:
            observer.phase("publish")
            commit = _add_commits(edits, scan, plan, message, staging)
            staging.publish([(edits.ref, commit, plan.tip)], f"{_REASON}{message.splitlines()[0][:60]}", step)
    seen = compared(repository, edits.base, scan, repository.read)
    return Result(commit, seen, staging.objects, staging.blobs, time.monotonic() - started)


def _plan(edits: Edits, scan: Scan, read: ReadObject) -> _Plan:
    """Raises ConflictError."""
    repository = edits.repository
    tip, base = repository.ref(edits.ref), repository.snapshot(edits.base)
    if scan.tree == base.tree or (tip is not None and scan.tree == repository.snapshot(tip).tree):
        return _Plan(tip, is_new=False)
    if tip is None:
        require_free(repository, edits.branch)
        return _Plan(tip, is_new=True)
    joined = join_branch(repository, edits.branch, edits.base, scan.tree, read)
    return _Plan(tip, joined.merged is None or joined.merged.tree != repository.snapshot(tip).tree, joined.merged)


def _add_commits(edits: Edits, scan: Scan, plan: _Plan, message: str, staging: Staging) -> bytes:
    """Stage the commit of the edits and, if need be, a merge; the newest of them."""

    def commit(tree: bytes, parents: list[bytes], text: str) -> bytes:
        return staging.add(Type.COMMIT, Commit(tree, parents, edits.author, edits.committer, text).encode())

    made = commit(scan.tree, [edits.base], message)
    if plan.merged is None or plan.tip is None:
        return made
    for kind, data in plan.merged.objects.values():
        staging.add(kind, data)
    return commit(plan.merged.tree, [plan.tip, made], f"Merge edits made on {edits.base.hex()[:7]}")


def _scan(edits: Edits, sink: Sink, observer: Observer) -> Scan:
    if edits.notes is None:
        own_data(edits.repository).check(edits.upper)
    allow = [(one.path, one.because) for one in edits.allow]
    return scan_upper(edits.repository, edits.upper, edits.base, allow, sink, observer, edits.notes)[0]
