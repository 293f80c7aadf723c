"""A rename, carried out or shown."""

from __future__ import annotations

from gitstate.cli.base.app import Session
from gitstate.cli.base.output import emit, location
from gitstate.core import settings
from gitstate.release import renaming


def renamed(session: Session, shape: str, plan: renaming.Rename) -> None:
    """Carry out ``plan`` unless it is a dry run, and print what changes."""
    if not session.dry_run:
        renaming.apply(plan, session.author(None), settings.committer(), session.observer)
    value = {
        "repository": plan.old,
        "new": plan.new,
        "moved": [{"from": location(one), "to": location(other)} for one, other in plan.moves],
        "channels": list(plan.channels),
        "clients": list(plan.clients),
        "dry_run": session.dry_run,
    }
    word = "would be called" if session.dry_run else "is called"
    emit(session, shape, value, [f"{plan.old} {word} {plan.new}", *(f"  {line}" for line in plan.describe())])
