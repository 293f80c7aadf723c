"""Edits that began at a snapshot, and a branch that somebody has moved on since."""

from __future__ import annotations

from dataclasses import dataclass

from gitstate.core.errors import ConflictError
from gitstate.core.names import display
from gitstate.core.wording import some_of
from gitstate.store import Repository
from gitstate.tree.combine.models import MergedTree
from gitstate.tree.combine.trees import merge_trees
from gitstate.tree.snapshot import ReadObject

_HINT = "record them on a branch of their own (--branch NAME), and merge it with git"


@dataclass(frozen=True, slots=True)
class Joined:
    """The commit at which the branch is, and its tree merged with the edits; None if it has nothing of its own."""

    tip: bytes
    merged: MergedTree | None


def join_branch(repository: Repository, branch: str, base: bytes, tree: bytes, read: ReadObject) -> Joined:
    """Merge edits, made on the commit ``base`` with the outcome ``tree``, with a branch that there is.

    ``read`` reads ``tree``, too. Writes nothing. Raises ConflictError.
    """
    tip = repository.ref(f"refs/heads/{branch}")
    assert tip is not None
    common = base if tip == base else repository.merge_base(base, tip)
    if common == tip:
        return Joined(tip, None)
    if common is None:
        raise ConflictError(f"{branch} and {base.hex()[:7]}, on which these edits were made, share no history", _HINT)
    merged = merge_trees(read, repository.snapshot(common).tree, repository.snapshot(tip).tree, tree)
    if merged.conflicts:
        named = some_of([f"/{display(one.path)} ({one.reason.value})" for one in merged.conflicts])
        raise ConflictError(f"{branch} has moved to {tip.hex()[:7]} and doesn't go together: {named}", _HINT)
    return Joined(tip, merged)
