"""The whole procedure: the live tree's directory, the lock, plan and apply."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gitstate.core import fs
from gitstate.core.monitor import Observer
from gitstate.store import Repository
from gitstate.tree.checkin import live_tree
from gitstate.tree.restore.models import Counts, Plan, Request
from gitstate.tree.restore.planning import plan
from gitstate.tree.restore.write import apply


def directory(repository: Repository, live: Path | None, *, everything: bool) -> Path:
    """The live tree to restore; with ``everything``, one that is gone is made anew. Raises HostError, OSError."""
    path = live or repository.live
    if everything and path is not None and fs.is_free(path) and fs.has_directory(path.parent):
        path.mkdir(mode=0o700)
    return live_tree(repository, live)


def run(request: Request, observer: Observer, step: Callable[[str], None] = lambda name: None) -> tuple[Plan, Counts]:
    """Plan and apply under the repository's lock. Raises LockedError, NotFoundError, and what the two raise."""
    with request.source.lock("restore"):
        found = plan(request, observer)
        observer.phase("restore")
        return found, apply(found, observer, step)
