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
from gitstate.core.errors import ConflictError, HostError
from gitstate.core.monitor import Observer
from gitstate.core.signature import Signature
from gitstate.store import Commit, Repository, Type
from gitstate.tree.checkin import Allowance, Result, Status, compared, message_of, refuse, require_free
from gitstate.tree.overlay.lower import Lower
from gitstate.tree.overlay.marks import TRUSTED, USER, AttributeNotes, Notes, UnknownMarkError
from gitstate.tree.overlay.scan import UpperScanner
from gitstate.tree.own_data import own_data
from gitstate.tree.policy import parse, policy_path
from gitstate.tree.scan.content import HashOnly, Sink
from gitstate.tree.scan.models import BaseSnapshot, Scan

_POLICY_LIMIT: Final = 1 << 20

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


def status(edits: Edits, observer: Observer) -> Status:
    """Compare what the overlay shows with the snapshot below, writing nothing. Raises as ``record``."""
    repository = edits.repository
    sink = HashOnly(repository.read)
    return compared(repository, edits.base, _scan(edits, sink, observer), sink.read)


def preview(edits: Edits, found: Status) -> None:
    """Raise what ``record`` would raise after the scan that ``status`` made. Raises RefusedError, ConflictError."""
    refuse(found.findings)
    tip = edits.repository.ref(edits.ref)
    if not _is_recorded(edits, found.tree, tip):
        _check_branch(edits, tip)


def record(edits: Edits, observer: Observer, step: Step = lambda name: None) -> Result:
    """Make the commit.

    Raises RefusedError, ConflictError, LockedError, StorageError, HostError, ConfigError, having changed nothing.
    Unrecorded entries in the result's findings keep their last record: the check-in was partly done.
    """
    started = time.monotonic()
    repository, message = edits.repository, message_of(edits.message, edits.allow)
    with repository.lock("checkin"), repository.staging() as staging:
        scan = _scan(edits, staging, observer)
        refuse(scan.findings)
        commit, tip = None, repository.ref(edits.ref)
        if not _is_recorded(edits, scan.tree, tip):
            _check_branch(edits, tip)
            body = Commit(scan.tree, [edits.base], edits.author, edits.committer, message)
            commit = staging.add(Type.COMMIT, body.encode())
            observer.phase("publish")
            staging.publish([(edits.ref, commit, tip)], f"{_REASON}{message.splitlines()[0][:60]}", step)
    seen = compared(repository, edits.base, scan, repository.read)
    return Result(commit, seen, staging.objects, staging.blobs, time.monotonic() - started)


def _is_recorded(edits: Edits, tree: bytes, tip: bytes | None) -> bool:
    """Whether the branch is there already, or nothing was edited."""
    return any(oid is not None and edits.repository.snapshot(oid).tree == tree for oid in (edits.base, tip))


def _check_branch(edits: Edits, tip: bytes | None) -> None:
    if tip is None:
        require_free(edits.repository, edits.branch)
    elif tip != edits.base:
        was, now = edits.base.hex()[:7], tip.hex()[:7]
        message = f"{edits.branch} is at {now}, and these edits were made on {was}"
        raise ConflictError(message, "record them on a branch of their own (--branch NAME) and merge it with git")


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
