"""From an upper directory to a commit whose parent is the snapshot below it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import ConflictError, GitstateError, HostError
from gitstate.core.monitor import Observer
from gitstate.core.names import display
from gitstate.core.signature import Signature
from gitstate.core.wording import some_of
from gitstate.store import Commit, Repository, Staging, Type
from gitstate.tree.checkin import Allowance, Result, Status, compared, message_of, refuse, require_free
from gitstate.tree.combine.models import MergedTree
from gitstate.tree.overlay.lower import Lower
from gitstate.tree.overlay.marks import TRUSTED, USER, AttributeNotes, Notes, UnknownMarkError
from gitstate.tree.overlay.scan import UpperScanner
from gitstate.tree.own_data import own_data
from gitstate.tree.policy import parse, policy_path
from gitstate.tree.scan.content import Sink
from gitstate.tree.scan.models import BaseSnapshot, Scan
from gitstate.tree.snapshot import ReadObject

_POLICY_LIMIT: Final = 1 << 20

_ELSEWHERE: Final = "record them on a branch of their own (--branch NAME), and merge it with git"
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
    common = edits.base if tip == edits.base else repository.merge_base(edits.base, tip)
    if common == tip:
        return _Plan(tip, is_new=True)
    if common is None:
        message = f"{edits.branch} has nothing in common with {edits.base.hex()[:7]}, on which these edits were made"
        raise ConflictError(message, _ELSEWHERE)
    from gitstate.tree.combine import merge_trees  # seldom needed

    ours = repository.snapshot(tip).tree
    merged = merge_trees(read, repository.snapshot(common).tree, ours, scan.tree)
    if merged.conflicts:
        named = some_of([f"/{display(one.path)} ({one.reason.value})" for one in merged.conflicts])
        raise ConflictError(f"{edits.branch} has moved to {tip.hex()[:7]} and doesn't go together: {named}", _ELSEWHERE)
    return _Plan(tip, merged.tree != ours, merged)


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
    repository = edits.repository
    root = fs.open_tree(edits.upper)
    try:
        notes = edits.notes
        if notes is None:
            own_data(repository).check(edits.upper)
            notes = AttributeNotes(_prefix(edits.upper))
        base = BaseSnapshot(repository.read, repository.has_packed, repository.snapshot(edits.base).tree)
        path = policy_path(is_layer=repository.is_layer)
        where = str(edits.upper / path.decode())
        assert base.tree is not None
        try:
            text = Lower(base.read, base.tree).shown(root, path, notes, _POLICY_LIMIT, where)
        except UnknownMarkError as error:
            raise HostError(f"{where}: {error}", "look at it with getfattr -d -m - FILE") from None
        allowing = parse(text, where, path).allowing((item.path, item.because) for item in edits.allow)
        observer.phase("scan")
        return UpperScanner(root, base, repository.size_of, allowing, notes, sink, observer).run()
    finally:
        os.close(root)


def _prefix(upper: Path) -> bytes:
    """What the names of the marks of this upper directory begin with."""
    options = None
    with suppress(OSError):
        options = fs.overlay_options(upper)
    return USER if options and "userxattr" in options else TRUSTED
