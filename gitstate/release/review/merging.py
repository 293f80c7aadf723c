"""Merge a review into the ``main`` branches, or send what it changes in the prototype to a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitstate.core.entry import Entry, Kind, Meta
from gitstate.core.errors import ConflictError, LockedError, RefusedError, UsageError
from gitstate.core.names import WHITEOUT, display, join
from gitstate.core.signature import Signature
from gitstate.core.wording import some_of
from gitstate.machine.render.models import ACCOUNTS, MERGE, TEMPLATE
from gitstate.release.opened import OpenedSite
from gitstate.release.review.reviews import Branch, Review, delete
from gitstate.release.review.targets import WHITEOUT_FILE
from gitstate.store import MAIN, Commit, Repository, Type, object_id, write_objects
from gitstate.store.edit import NewObjects
from gitstate.tree.change import Removed
from gitstate.tree.combine.trees import merge_trees
from gitstate.tree.edits import Edit, edit_entries
from gitstate.tree.snapshot import Lookup


@dataclass(frozen=True, eq=False)
class Step:
    """What becomes of one branch: ``main`` of ``repository`` goes from ``old`` to ``tree``.

    ``commit`` is the branch's own, if main can simply go there; ``is_done``: it is in main already.
    """

    branch: Branch
    repository: Repository
    old: bytes | None
    tree: bytes
    commit: bytes | None
    objects: Mapping[bytes, tuple[Type, bytes]]
    is_done: bool = False


@dataclass(frozen=True, eq=False)
class Plan:
    """A merge that has no conflicts."""

    review: Review
    steps: tuple[Step, ...]


def plan(opened: OpenedSite, review: Review, to: str | None = None) -> Plan:
    """Plan to merge a review; what it changes in prototypes goes to the layer ``to``, if one is named.

    Raises ConflictError that names all conflicts, UsageError, NotFoundError, RefusedError.
    """
    layer = opened.repository(to) if to else None
    if layer is not None and not layer.is_layer:
        raise UsageError(f"{to} is a prototype", "without --to it goes where it came from; gitstate layer list")
    steps = []
    conflicts: list[str] = []
    for branch in review.branches:
        if layer is not None and not branch.repository.is_layer:
            steps.append(_to_layer(branch, layer, conflicts))
        else:
            steps.append(_merge(branch, conflicts))
    if conflicts:
        message = f"{review.name} can't be merged: {some_of(conflicts)}"
        hint = f"nothing was changed: merge it with git in a clone, or gitstate review split {review.name} PATH..."
        raise ConflictError(message, hint)
    return Plan(review, tuple(steps))


def _merge(branch: Branch, conflicts: list[str]) -> Step:
    repository, new = branch.repository, branch.snapshot
    old = repository.ref(MAIN)
    if old is None or old == branch.base:
        return Step(branch, repository, old, new.tree, new.oid, {})
    if _contains(repository, old, new.oid):
        return Step(branch, repository, old, repository.snapshot(old).tree, old, {}, is_done=True)
    merged = merge_trees(repository.read, branch.base_tree, repository.snapshot(old).tree, new.tree)
    conflicts += [f"/{display(one.path)} of {branch.name} ({one.reason.value})" for one in merged.conflicts]
    return Step(branch, repository, old, merged.tree, None, merged.objects)


def _contains(repository: Repository, main: bytes, commit: bytes) -> bool:
    return not repository.git("rev-list", "--max-count=1", commit.hex(), f"^{main.hex()}")


def _to_layer(branch: Branch, layer: Repository, conflicts: list[str]) -> Step:
    old = layer.ref(MAIN)
    tree = layer.snapshot(old).tree if old else None
    if old is not None and layer.snapshot(old).message.endswith(_trailer(branch)):
        return Step(branch, layer, old, layer.snapshot(old).tree, old, {}, is_done=True)
    below = Lookup(layer.read, tree) if tree else None
    objects, edits = NewObjects(), dict(_edits(branch))
    for path, edit in edits.items():
        if edit is not None and not isinstance(edit, Meta) and edit.oid:
            objects[edit.oid] = Type.BLOB, branch.repository.read(edit.oid) if edit.meta is not WHITEOUT_FILE else b""
        if isinstance(edit, Entry) and edit.meta is not WHITEOUT_FILE and _means_more(path, edit):
            conflicts.append(f"/{display(path)} of {branch.name} (in a layer, such a name is no file's)")
        names = (path, path + TEMPLATE) if isinstance(edit, Entry) else ()
        for name in names:
            if below and (below.directory(name) or below(name) not in (None, edit)):
                conflicts.append(f"/{display(name)} of {layer.name} (the layer has it already)")
    return Step(branch, layer, old, edit_entries(layer.read, tree, edits, objects), None, objects)


def _means_more(path: bytes, entry: Entry) -> bool:
    """Whether a layer wouldn't bring the entry as it is."""
    if entry.name.startswith(WHITEOUT):
        return True
    is_lines = path.endswith(MERGE) and path.removesuffix(MERGE) in ACCOUNTS
    return entry.meta.kind is Kind.FILE and (path.endswith(TEMPLATE) or is_lines)


def _edits(branch: Branch) -> dict[bytes, Edit]:
    """What a layer has to hold that does to a machine what the branch does to the prototype."""
    look_up = Lookup(branch.repository.read, branch.snapshot.tree)
    found: dict[bytes, Edit] = {}
    for change in branch.changes():
        if change.is_time_only:
            continue
        if change.path in ACCOUNTS:
            hint = f"split it off, and write its lines into {display(change.path + MERGE)} of the layer"
            raise RefusedError(f"no layer may replace /{display(change.path)}", hint)
        above, _, name = change.path.rpartition(b"/")
        if isinstance(change, Removed):
            if not any(path in found for path in _whiteouts_above(above)):
                found[join(above, WHITEOUT + name)] = Entry(WHITEOUT + name, WHITEOUT_FILE, object_id(Type.BLOB, b""))
        elif entry := look_up(change.path):
            found[change.path] = entry
        elif directory := look_up.directory(change.path):
            found[change.path] = directory.own
    return found


def _whiteouts_above(path: bytes) -> list[bytes]:
    found = []
    while path:
        above, _, name = path.rpartition(b"/")
        found.append(join(above, WHITEOUT + name))
        path = above
    return found


def _trailer(branch: Branch) -> str:
    return f"Gitstate-From: {branch.name} {branch.snapshot.oid.hex()}"


# --- doing it ---------------------------------------------------------------------------------------------------------


def apply(plan: Plan, author: Signature, committer: Signature) -> dict[str, bytes]:
    """Move the ``main`` branches, and delete those of the review; the new commits by repository.

    Run again after an interruption it goes on. Raises LockedError, RefusedError, StorageError.
    """
    made: dict[str, bytes] = {}
    for step in plan.steps:
        with step.repository.lock("review merge"):
            made[step.repository.name] = _move(plan, step, author, committer)
        delete(step.branch, plan.review.name)
    return made


def _move(plan: Plan, step: Step, author: Signature, committer: Signature) -> bytes:
    if step.repository.ref(MAIN) != step.old:
        raise LockedError(f"main of {step.repository.name} has moved meanwhile", "run it again")
    if step.is_done:
        assert step.commit is not None
        return step.commit
    reason = f"review: {plan.review.name}"
    if step.commit is not None:
        step.repository.move_refs([(MAIN, step.commit, step.old)], reason)
        return step.commit
    commit = _commit(plan, step, author, committer)
    objects = NewObjects(step.objects)
    oid = objects.add(Type.COMMIT, commit.encode())
    write_objects(step.repository, objects, [(MAIN, oid, step.old)], reason)
    return oid


def _commit(plan: Plan, step: Step, author: Signature, committer: Signature) -> Commit:
    parents = [step.old] if step.old else []
    if step.repository is step.branch.repository:
        message = f"Merge {plan.review.name}: {plan.review.message}"
        return Commit(step.tree, [*parents, step.branch.snapshot.oid], author, committer, message)
    machine = Signature(step.branch.snapshot.author, author.when, author.offset)
    return Commit(step.tree, parents, machine, committer, f"{plan.review.message}\n\n{_trailer(step.branch)}")
