"""The whole procedure: the live tree's directory, the lock, plan and apply."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gitstate.core import fs
from gitstate.core.errors import HostError
from gitstate.core.monitor import Observer
from gitstate.store import Repository
from gitstate.tree import live_root
from gitstate.tree.checkin import live_tree
from gitstate.tree.package_manager import wait_until_idle
from gitstate.tree.restore.models import Counts, Plan, Request
from gitstate.tree.restore.planning import plan
from gitstate.tree.restore.write import apply


def directory(repository: Repository, live: Path | None, *, everything: bool) -> Path:
    """The live tree to restore; with ``everything``, one that is gone is made anew. Raises HostError, OSError.

    One that isn't the directory of the last check-in must be named: it may be where a file system should be mounted.
    """
    path = live or repository.live
    if everything and path is not None and fs.is_free(path) and fs.has_directory(path.parent):
        path.mkdir(mode=0o700)
        if live is None:
            live_root.remember(repository, path)
    found = live_tree(repository, live)
    if live is None and live_root.is_replaced(repository, found):
        hint = f"mount it; if this is to be the live tree: gitstate restore {repository.name} --all --live {found}"
        raise HostError(f"{found} is another directory than at the last check-in, or on another file system", hint)
    return found


def run(request: Request, observer: Observer, step: Callable[[str], None] = lambda name: None) -> tuple[Plan, Counts]:
    """Plan and apply under the repository's lock. Raises LockedError, NotFoundError, and what the two raise."""
    if not request.paths:
        wait_until_idle(request.live, observer)
    with request.source.lock("restore"):
        found = plan(request, observer)
        observer.phase("restore")
        counts = apply(found, observer, step)
        if not request.paths and live_root.is_replaced(request.source, request.live):
            live_root.remember(request.source, request.live)
        return found, counts
