"""Check in a live tree: scan it against the snapshot that it was last recorded as, and make a commit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gitstate.core import fs
from gitstate.core.errors import ConfigError, ConflictError, HostError, NotFoundError
from gitstate.core.monitor import SILENT, Observer
from gitstate.core.signature import Signature
from gitstate.store import MAIN, Commit, Repository, Snapshot, Staging, Type
from gitstate.tree import change, live_root
from gitstate.tree.change import Change, LinksChanged
from gitstate.tree.overlay.layers import Layers, layers_of, require_not_below
from gitstate.tree.own_data import own_data
from gitstate.tree.package_manager import wait_until_idle
from gitstate.tree.policy import Policy, parse, policy_path
from gitstate.tree.recording import Allowance, amendable, amended_message, message_of, refuse, require_free
from gitstate.tree.scan.cache import NO_CACHE, Row, load, save
from gitstate.tree.scan.content import HashOnly, Sink
from gitstate.tree.scan.models import BaseSnapshot, Findings, Scan
from gitstate.tree.scan.tree import Scanner
from gitstate.tree.snapshot import Lookup, ReadObject, read_different, read_different_links, read_directory

if TYPE_CHECKING:
    from gitstate.tree.combine import MergedTree

LIVE: Final = "refs/gitstate/live"
"""The commit that the live tree was last recorded as on main; moved together with main."""
_RECORDED: Final = "refs/gitstate/recorded/"
"""The same for other branches. ``=`` stands for ``/`` in their names, so that none is a directory of another."""
_REASON: Final = "checkin: "
OWNER_REASON: Final = "owner: "
_MERGE_REASON: Final = "merge: "
"""How reasons begin, in logs of refs, of moves that take what the live tree was recorded as along."""

_POLICY_LIMIT: Final = 1 << 20
Step = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What the user asked for. ``replace``: record the tree as it is, although the branch has moved on."""

    repository: Repository
    live: Path
    message: str
    author: Signature
    committer: Signature
    branch: str = "main"
    allow: tuple[Allowance, ...] = ()
    replace: bool = False
    amend: bool = False
    amended: bytes | None = None
    """The check-in that ``amend`` is to replace, if somebody has looked at it."""
    yes_delete: int | None = None
    """So many entries may be missing, and the live tree may be another directory than last time."""

    @property
    def ref(self) -> str:
        """The full name of the branch."""
        return f"refs/heads/{self.branch}"

    @property
    def recorded_ref(self) -> str:
        """The ref that remembers what the live tree was last recorded as on that branch."""
        return LIVE if self.ref == MAIN else _RECORDED + self.branch.replace("/", "=")


@dataclass(frozen=True, slots=True)
class Status:
    """What a check-in would record, compared with the snapshot ``base``.

    ``read`` reads both trees; the new one may be in memory only.
    """

    base: bytes | None
    old_tree: bytes | None
    tree: bytes
    changes: list[Change]
    links: list[LinksChanged]
    findings: Findings
    read: ReadObject


@dataclass(frozen=True, slots=True)
class Result:
    """What a check-in did. ``commit`` None: nothing had changed."""

    commit: bytes | None
    status: Status
    objects: int = 0
    blobs: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of a branch: nothing, a commit on ``parent``, or besides that a merge with its ``tip``."""

    parent: bytes | None
    is_equal: bool = False
    is_new: bool = False
    tip: bytes | None = None
    merged: MergedTree | None = None


def live_tree(repository: Repository, live: Path | None) -> Path:
    """The live tree to record. Raises HostError if there is none."""
    path = live or repository.live
    name = repository.path.name.removesuffix(".git")
    if path is None:
        raise HostError(f"{name} has no live tree", "name one: --live DIR")
    layers = layers_of(repository)
    if layers is not None and path == layers.live and not layers.is_mounted:
        raise HostError(f"the live tree {path} of {name} is not mounted", f"gitstate live {name}")
    if not fs.has_directory(path):
        raise HostError(f"the live tree {path} of {name} is missing", f"mount it, or: gitstate restore {name} --all")
    return path


def base_of(repository: Repository) -> bytes | None:
    """The commit that the live tree was last recorded as; the branch's tip for a tree that never was."""
    return _recorded(repository, MAIN, LIVE) or repository.ref(MAIN)


def require_base(repository: Repository) -> bytes:
    """The commit that the live tree was last recorded as. Raises NotFoundError if nothing is recorded yet."""
    base = base_of(repository)
    if base is None:
        raise NotFoundError(f"{repository.name} has no snapshot yet", "gitstate checkin makes the first")
    return base


def _recorded(repository: Repository, branch: str, ref: str) -> bytes | None:
    """The commit that the live tree was last recorded as on a branch, None if it never was.

    git moves a branch and ``ref`` one after the other. Where it died between them, the branch's log tells.
    """
    recorded, tip, last = repository.ref(ref), repository.ref(branch), repository.last_move(branch)
    if tip is None or tip == recorded or last is None or last.new != tip:
        return recorded
    if last.reason.startswith(_MERGE_REASON):
        return repository.snapshot(tip).parents[1]
    along = last.reason.startswith(_REASON) or (last.reason.startswith(OWNER_REASON) and last.old == recorded)
    return tip if along else recorded


def status(repository: Repository, live: Path, observer: Observer, *, allow: Iterable[Allowance] = ()) -> Status:
    """Compare the live tree with the snapshot it was last recorded as, writing nothing."""
    base = base_of(repository)
    sink = HashOnly(repository.read)
    scan, _ = scan_live(repository, live, base, allow, sink, observer)
    return compared(repository, base, scan, sink.read)


def preview(request: Request, found: Status) -> None:
    """Raise what ``record`` would raise after the scan that ``status`` made. Raises RefusedError, ConflictError."""
    refuse(found.findings)
    _require_whole(request, found.findings)
    if request.amend:
        to_amend(request)
        return
    repository, tip = request.repository, request.repository.ref(request.ref)
    if tip is not None and _overlay(repository, request.live) is not None:
        with repository.staging() as staging:  # a merge reads content
            scan, _ = scan_live(repository, request.live, found.base, request.allow, staging, SILENT)
            _plan(request, found.base, tip, scan.tree, staging.reader(repository.read))
    elif tip is None or found.tree != repository.snapshot(tip).tree:
        _check_branch(request, found.base, tip)


def scan_into(repository: Repository, live: Path, objects: Path, observer: Observer) -> bytes:
    """Scan the live tree, writing new objects to the directory ``objects``; the root tree's id."""
    with repository.staging() as staging:
        scan, _ = scan_live(repository, live, base_of(repository), (), staging, observer)
        staging.publish_to(objects)
    return scan.tree


def record(request: Request, observer: Observer, step: Step = lambda name: None) -> Result:
    """Check in. Raises RefusedError, ConflictError, LockedError, StorageError, HostError, having changed nothing.

    Unrecorded entries in the result's findings keep their last record: the check-in was partly done.
    """
    started = time.monotonic()
    repository = request.repository
    message = message_of(request.message, request.allow)
    wait_until_idle(request.live, observer)
    with repository.lock("checkin"), repository.staging() as staging:
        base, tip = base_of(repository), repository.ref(request.ref)
        scan, policy = scan_live(repository, request.live, base, request.allow, staging, observer)
        refuse(scan.findings)
        _require_whole(request, scan.findings)
        parent = tip or base
        if request.amend:
            plan, message = _amend(request, message)
            parent = plan.parent
        else:
            plan = _plan(request, base, tip, scan.tree, staging.reader(repository.read))
        commit, newest = None, tip
        if plan.is_equal and tip is not None:
            _note_equality(request, tip)
        elif plan.is_new:
            commit, own = _add_commits(request, plan, scan.tree, message, staging)
            newest = own
            observer.phase("publish")
            moves = [(request.recorded_ref, own, repository.ref(request.recorded_ref))]
            if commit != tip:
                moves.insert(0, (request.ref, commit, tip))
            reason = f"{_MERGE_REASON if plan.merged else _REASON}{message.splitlines()[0][:60]}"
            staging.publish(moves, reason, step)
        _remember(request, scan.findings)
        if scan.rows is not None and newest and request.ref == MAIN and repository.ref(LIVE) == newest:
            save_cache(repository, newest, policy, scan.rows, observer)
            step("cache")
    seen = compared(repository, parent, scan, repository.read)
    return Result(commit, seen, staging.objects, staging.blobs, time.monotonic() - started)


def to_amend(request: Request) -> Snapshot:
    """The check-in that ``request`` replaces. Raises NotFoundError, ConflictError."""
    found = amendable(request.repository, request.ref, {request.ref, request.recorded_ref}, request.amended)
    if _recorded(request.repository, request.ref, request.recorded_ref) != found.oid:
        hint = f"gitstate update {request.repository.name}"
        raise ConflictError(f"{found.oid.hex()[:7]} isn't what this live tree was recorded as", hint)
    require_not_below(request.repository, found.oid)
    return found


def _amend(request: Request, message: str) -> tuple[_Plan, str]:
    before = to_amend(request)
    return _Plan(before.parents[0] if before.parents else None, is_new=True), amended_message(message, before.message)


def _plan(request: Request, base: bytes | None, tip: bytes | None, tree: bytes, read: ReadObject) -> _Plan:
    """What a check-in of ``tree`` would do. Raises ConflictError."""
    repository = request.repository
    if tip is not None and tree == repository.snapshot(tip).tree:
        return _Plan(None, is_equal=True)
    if tip is not None and not request.replace and _overlay(repository, request.live):
        recorded = _recorded(repository, request.ref, request.recorded_ref) or base
        if recorded is not None and recorded != tip:
            if tree == repository.snapshot(recorded).tree:
                return _Plan(None)
            from gitstate.tree.combine import join_branch  # few branches have to be joined

            joined = join_branch(repository, request.branch, recorded, tree, read)
            return _Plan(recorded, is_new=True, tip=tip, merged=joined.merged)
    _check_branch(request, base, tip)
    return _Plan(tip or base, is_new=True)


def _add_commits(request: Request, plan: _Plan, tree: bytes, message: str, staging: Staging) -> tuple[bytes, bytes]:
    """Stage the commit of the live tree and, if need be, a merge; where the branch goes, and the live tree's own."""

    def commit(tree: bytes, parents: list[bytes], text: str) -> bytes:
        return staging.add(Type.COMMIT, Commit(tree, parents, request.author, request.committer, text).encode())

    own = commit(tree, [plan.parent] if plan.parent else [], message)
    if plan.merged is None or plan.tip is None:
        return own, own
    if plan.merged.tree == request.repository.snapshot(plan.tip).tree:
        return plan.tip, own
    for kind, data in plan.merged.objects.values():
        staging.add(kind, data)
    subject = message.splitlines()[0]
    return commit(plan.merged.tree, [plan.tip, own], f"Merge '{subject}' from the live tree"), own


def _overlay(repository: Repository, live: Path) -> Layers | None:
    """The layers of the live tree, if it is that of the repository and an overlay."""
    layers = layers_of(repository)
    return layers if layers is not None and layers.live == live else None


def _require_whole(request: Request, findings: Findings) -> None:
    """Raise HostError, RefusedError if the live tree may be no more what it was; an overlay's upper is where it was."""
    if _overlay(request.repository, request.live) is None:
        live_root.require_same(request.repository, request.live, request.yes_delete)
        live_root.require_most(request.repository, request.live, findings.entries, request.yes_delete)


def _remember(request: Request, findings: Findings) -> None:
    if _overlay(request.repository, request.live) is None:
        live_root.remember(request.repository, request.live, findings.entries)


def save_cache(
    repository: Repository, commit: bytes, policy: Policy, rows: list[tuple[bytes, Row]], observer: Observer
) -> None:
    """Write the stat cache. Without it the check-in is complete, too."""
    try:
        save(repository.private / "cache", commit, policy.digest, rows)
    except OSError as error:
        observer.notice(f"the stat cache can't be written ({error.strerror}): the next check-in reads every file")


def _note_equality(request: Request, tip: bytes) -> None:
    """Note that the live tree, which equals the branch's tip, is recorded there."""
    recorded = request.repository.ref(request.recorded_ref)
    if recorded != tip:
        reason = f"{_REASON}the live tree equals {request.branch}"
        request.repository.move_refs([(request.recorded_ref, tip, recorded)], reason)


def scan_live(
    repository: Repository,
    live: Path,
    base: bytes | None,
    allow: Iterable[Allowance],
    sink: Sink,
    observer: Observer,
    *,
    wanted: Callable[[bytes], bool] | None = None,
    policy_of: bytes | None = None,
) -> tuple[Scan, Policy]:
    """Scan the live tree, compared with the commit ``base``, and under the policy that it holds.

    ``wanted``: only these paths. ``policy_of``: a root tree whose policy counts where the live tree has lost its own.
    Raises HostError, ConfigError, UsageError, StorageError, DamagedError.
    """
    layers = _overlay(repository, live)
    if layers is not None and wanted is None:
        from gitstate.tree.overlay.run import scan_upper  # few live trees are overlays

        pairs = [(one.path, one.because) for one in allow]
        return scan_upper(repository, layers.upper, layers.base, pairs, sink, observer)
    root = fs.open_tree(live)
    try:
        site = own_data(repository)
        site.check(live)
        if fs.is_read_only(root):
            raise HostError(f"the live tree {live} is on a read-only file system", "remount it read-write")
        policy = _policy(repository, root, live, policy_of)
        cache = load(repository.private / "cache", base, policy.digest) if base else NO_CACHE
        tree = repository.snapshot(base).tree if base else None
        allowing = policy.allowing((allowance.path, allowance.because) for allowance in allow)
        observer.phase("scan")
        scanner = Scanner(
            root,
            BaseSnapshot(repository.read, repository.has_packed, tree),
            cache,
            allowing,
            sink,
            observer,
            own_data=site.root,
            wanted=wanted,
        )
        return scanner.run(), policy
    finally:
        os.close(root)


def _policy(repository: Repository, root: int, live: Path, instead: bytes | None) -> Policy:
    """The live tree's policy; that of the root tree ``instead``, if any, where it has none that can be read."""
    own = policy_path(is_layer=repository.is_layer)
    where = str(live / own.decode())
    try:
        text = fs.read_below(root, own, _POLICY_LIMIT, where)
        if text is not None or instead is None:
            return parse(text, where, own)
    except ConfigError:
        if instead is None:
            raise
    blob = Lookup(repository.read, instead).regular_file(own)
    return parse(repository.read(blob)[:_POLICY_LIMIT] if blob else None, where, own)


def compared(repository: Repository, base: bytes | None, scan: Scan, read: ReadObject) -> Status:
    """What a scan found, compared with the snapshot ``base``; ``read`` reads both."""
    old_tree = repository.snapshot(base).tree if base else None
    if scan.tree == old_tree or old_tree is None:
        return Status(base, old_tree, scan.tree, [], [], scan.findings, read)
    pairs = partial(read_different, read)
    changes = list(change.compare(partial(read_directory, read), old_tree, scan.tree, read_pair=pairs))
    links = change.compare_links(*read_different_links(read, old_tree, scan.tree))
    return Status(base, old_tree, scan.tree, changes, links, scan.findings, read)


def _check_branch(request: Request, base: bytes | None, tip: bytes | None) -> None:
    """Raise ConflictError if the branch can't be made, or has moved since the live tree was recorded on it."""
    if tip is None:
        require_free(request.repository, request.branch)
        return
    recorded = _recorded(request.repository, request.ref, request.recorded_ref)
    if tip not in (base, recorded) and not request.replace:
        since = (recorded or base or b"").hex()[:7] or "nothing"
        message = f"{request.branch} has moved to {tip.hex()[:7]} since this tree was recorded as {since}"
        hint = (
            f"gitstate update {request.repository.name} brings its commits into this tree; or check in to a new branch "
            "(--branch NAME), or record this tree over them: --replace"
        )
        raise ConflictError(message, hint)
