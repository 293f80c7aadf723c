"""Change clients: their machine archives are rendered first, so that an error in a layer stops the change."""

from __future__ import annotations

from contextlib import suppress

from gitstate.core.errors import GitstateError
from gitstate.core.monitor import Observer
from gitstate.core.signature import Signature
from gitstate.directory import plan as planning
from gitstate.release import refresh
from gitstate.release.opened import OpenedSite


def apply(
    opened: OpenedSite,
    plan: planning.Plan,
    author: Signature,
    committer: Signature,
    message: str | None,
    observer: Observer,
) -> None:
    """Make all changes of ``plan`` in one step. Raises ConfigError, LockedError, UsageError, ConflictError."""
    refresh.refresh(opened.reopened(), observer, {change.name: change.new for change in plan.changes})
    try:
        planning.apply(plan, author, committer, message)
    except BaseException:
        with suppress(GitstateError):
            refresh.refresh(opened.reopened(), observer, {change.name: change.old for change in plan.changes})
        raise
    names = [change.name for change in plan.changes]
    refresh.refresh_clients(opened.reopened(), names, observer)  # templates see the entry's own attributes
