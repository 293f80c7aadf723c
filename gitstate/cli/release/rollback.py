"""rollback."""

from __future__ import annotations

import click

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit
from gitstate.cli.release.output import (
    client_lines,
    complete_channel,
    release_json,
    step_lines,
)
from gitstate.core import settings
from gitstate.directory import Kind
from gitstate.release import rollback as rolling_back


@command("gitstate rollback lab3", "gitstate rollback lab3 lab3/12 -n", writes=True)
@click.argument("channel", shell_complete=complete_channel)
@click.argument("release", required=False)
@click.option("--author", metavar="NAME", help="Author of the release: 'Name <mail>'.")
def rollback(session: Session, channel: str, release: str | None, author: str | None) -> None:
    """Return CHANNEL to RELEASE: prototype, layers and boot files.

    RELEASE is the previous one by default; a second rollback goes further back.
    A rollback is a release of its own, and history shows it.
    """
    plan = rolling_back.plan(session.opened, channel, release)
    who = settings.author(session.settings, author), settings.committer()
    made = None
    if plan.is_needed and not session.dry_run:
        made = rolling_back.apply(plan, who, session.observer)
    word = "would run" if session.dry_run else "runs"
    line = f"{channel} {word} {plan.target.name} again, as {plan.name}" if plan.is_needed else "nothing to do"
    value = {
        "channel": channel,
        "before": str(plan.current.name),
        "target": str(plan.target.name),
        "needed": plan.is_needed,
        "clients": {str(kind): plan.clients.get(kind, 0) for kind in Kind},
        "release": release_json(made.release) if made else None,
        "dry_run": session.dry_run,
    }
    if not plan.is_needed:
        line = f"{channel} runs what {plan.target.name} has already: {plan.current.name}"
    lines = [line, *(step_lines(made) if made else ()), *(client_lines(plan.clients) if plan.is_needed else ())]
    emit(session, "rollback/1", value, lines)
