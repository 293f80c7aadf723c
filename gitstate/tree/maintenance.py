"""Repacking repositories under their locks."""

from __future__ import annotations

from typing import NamedTuple

from gitstate.core.monitor import Observer
from gitstate.store import Repository, repack
from gitstate.store.repack import Size

__all__ = ["Repacked", "Size", "gc"]


class Repacked(NamedTuple):
    """The size of a repository before and after, and how many of its packs are newly compressed."""

    before: Size
    after: Size
    compressed: int


def gc(repository: Repository, name: str, observer: Observer, *, aggressive: bool, dry_run: bool) -> Repacked:
    """Repack, and drop what nothing has reached for long. Raises StorageError, LockedError."""
    plan = repack.plan(repository, aggressive=aggressive)
    before = Size(plan.size, plan.packs)
    if dry_run:
        return Repacked(before, before, plan.fresh)
    with repository.lock("gc"):
        observer.phase(f"git repack {name}")
        return Repacked(before, repack.apply(repository, plan), plan.fresh)
