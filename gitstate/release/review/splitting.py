"""Take some paths of a review into another one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.names import display
from gitstate.core.signature import Signature
from gitstate.release.opened import OpenedSite
from gitstate.release.review.names import ReviewName, at, moment
from gitstate.release.review.reviews import Branch, Review, all_reviews, delete, trailers_of
from gitstate.store import Commit, Type, write_objects
from gitstate.store.edit import NewObjects
from gitstate.tree.change import Change, Removed
from gitstate.tree.edits import Edit, edit_entries, lies_below
from gitstate.tree.snapshot import Lookup, read_links


@dataclass(frozen=True, eq=False)
class Share:
    """What of one branch goes, and what stays; times of directories go with both."""

    branch: Branch
    taken: tuple[Change, ...]
    left: tuple[Change, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """A review to be split: ``name`` is that of the new one."""

    review: Review
    name: ReviewName
    shares: tuple[Share, ...]

    @property
    def taken(self) -> list[tuple[str, Change]]:
        """What goes into the new review, with the repositories' names."""
        return [(one.branch.name, change) for one in self.shares for change in one.taken if not change.is_time_only]


def plan(opened: OpenedSite, review: Review, paths: Sequence[bytes]) -> Plan:
    """Plan to take ``paths`` and all below them. Raises NotFoundError for one that is not in it, UsageError."""
    unused = set(paths)
    shares = []
    for branch in review.branches:
        changes = branch.changes()
        taken = [one for one in changes if not one.is_time_only and _of(one.path, paths) is not None]
        unused -= {_of(one.path, paths) for one in taken}
        left = [one for one in changes if one not in taken]
        shares.append(Share(branch, tuple(taken), tuple(left)))
    if unused:
        names = ", ".join(f"/{display(path)}" for path in sorted(unused))
        raise NotFoundError(f"{names}: not in {review.name}", f"gitstate review show {review.name}")
    if not any(not change.is_time_only for one in shares for change in one.left):
        raise UsageError(f"nothing would stay in {review.name}", "name fewer paths")
    return Plan(review, _free_name(opened, review.name), tuple(shares))


def _of(path: bytes, paths: Collection[bytes]) -> bytes | None:
    """The one of ``paths`` that is ``path`` or above it."""
    while path and path not in paths:
        path = path.rpartition(b"/")[0]
    return path if path in paths else None


def _free_name(opened: OpenedSite, name: ReviewName) -> ReviewName:
    """The next second in which there is no review of that machine."""
    taken = {one.name for one in all_reviews(opened)}
    second = moment(name)
    while at(name.host, second) in taken:
        second += 1
    return at(name.host, second)


def apply(plan: Plan, committer: Signature) -> None:
    """Make the new review, and take what is in it from the old one. Raises LockedError, StorageError."""
    repositories = [one.branch.name for one in plan.shares if one.taken]
    for share in plan.shares:
        if not share.taken:
            continue
        branch, ref = share.branch, plan.review.name.ref
        if not any(not change.is_time_only for change in share.left):
            branch.repository.move_refs(
                [(plan.name.ref, branch.snapshot.oid, None)], f"review: split {plan.review.name}"
            )
            delete(branch, plan.review.name)
            continue
        objects = NewObjects()
        stays = [one.branch.name for one in plan.shares if any(not change.is_time_only for change in one.left)]
        old = _commit(branch, share.left, stays, committer, objects)
        new = _commit(branch, share.taken, repositories, committer, objects)
        moves = [(plan.name.ref, new, None), (ref, old, branch.snapshot.oid)]
        write_objects(branch.repository, objects, moves, f"review: split {plan.review.name}")


def _commit(
    branch: Branch, changes: Iterable[Change], repositories: Sequence[str], committer: Signature, objects: NewObjects
) -> bytes:
    repository, old = branch.repository, branch.snapshot
    look_up = Lookup(repository.read, old.tree)
    edits: dict[bytes, Edit] = {}
    for change in changes:
        directory = None if isinstance(change, Removed) else look_up.directory(change.path)
        edits[change.path] = (
            directory.own if directory else None if isinstance(change, Removed) else look_up(change.path)
        )
    edits = {path: edit for path, edit in edits.items() if edit is not None or not lies_below(path, edits)}
    groups = [group for group in read_links(repository.read, old.tree) if all(path in edits for path in group)]
    tree = edit_entries(repository.read, branch.base_tree, edits, objects, groups)
    trailers = [one for one in trailers_of(old.message) if not one.startswith("Gitstate-Repositories: ")]
    trailers.append(f"Gitstate-Repositories: {' '.join(repositories)}")
    subject = old.message.partition("\n\nGitstate-")[0].strip()
    author = Signature(old.author, committer.when, committer.offset)
    body = Commit(tree, list(old.parents), author, committer, "\n".join([subject, "", *trailers]))
    return objects.add(Type.COMMIT, body.encode())
