"""checkin."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import click

from gitstate.cli.base.app import Session, command, repo_argument
from gitstate.cli.base.output import LETTERS, emit, seconds
from gitstate.cli.tree.changes import live_option, note_skipped, status_json, status_lines, unread_error
from gitstate.core import settings
from gitstate.core.errors import UsageError
from gitstate.core.names import tree_path
from gitstate.tree import checkin as engine
from gitstate.tree.checkin import Allowance


@command(
    "gitstate checkin desktop -m 'printer in room 3'",
    "gitstate checkin desktop -m 'test key' \\\n    --allow etc/ssl/private/test.key --because 'a public test key'",
    writes=True,
)
@repo_argument
@click.option("-m", "--message", metavar="TEXT", required=True, help="What was changed and why.")
@live_option
@click.option("--branch", metavar="NAME", default="main", show_default=True, help="The branch to record on.")
@click.option("--author", metavar="NAME", help="Author of the change: 'Name <mail>'.")
@click.option("--allow", multiple=True, metavar="PATH", help="Record this path although policy refuses it; repeatable.")
@click.option("--because", multiple=True, metavar="TEXT", help="Why it may be in history; one for each --allow.")
@click.option("--replace", is_flag=True, help="Record this tree over commits that it doesn't contain.")
def checkin(
    session: Session,
    repo: str | None,
    message: str,
    live: Path | None,
    branch: str,
    author: str | None,
    allow: tuple[str, ...],
    because: tuple[str, ...],
    replace: bool,
) -> None:
    """Record the changes in REPO's live tree as a commit.

    What policy refuses (private keys, password hashes, a machine's own
    identity) stops it, and nothing is recorded. So does a branch that has moved
    since this tree was last recorded on it; a new branch begins at the commit
    that the tree was last recorded as on main.
    """
    name = session.name(repo)
    repository = session.opened.repository(name)
    request = engine.Request(
        repository=repository,
        live=engine.live_tree(repository, live),
        message=message,
        author=session.author(author, repository.path),
        committer=settings.committer(),
        branch=engine.branch_name(branch),
        allow=_allowances(allow, because),
        replace=replace,
    )
    if session.dry_run:
        found, result = engine.status(repository, request.live, session.observer, allow=request.allow), None
    else:
        result = engine.record(request, session.observer)
        found = result.status
    value = status_json(name, request.live, found) | {
        "branch": request.branch,
        "commit": result.commit.hex() if result and result.commit else None,
        "objects": result.objects if result else 0,
        "blobs": result.blobs if result else 0,
        "seconds": round(result.seconds, 3) if result else None,
        "dry_run": session.dry_run,
    }
    emit(session, "checkin/1", value, [_result(name, result)] if result else status_lines(session, name, found, False))
    note_skipped(session, found)
    if session.dry_run:
        engine.preview(request, found)
    if found.findings.unrecorded:
        raise unread_error(found)


def _allowances(paths: tuple[str, ...], reasons: tuple[str, ...]) -> tuple[Allowance, ...]:
    if len(paths) != len(reasons):
        raise UsageError("each --allow needs a --because", "--allow PATH --because TEXT")
    if any(not reason.strip() or "\n" in reason for reason in reasons):
        raise UsageError("--because takes one line of text", "say why this may be in history")
    return tuple(Allowance(tree_path(os.fsencode(path)), why) for path, why in zip(paths, reasons, strict=True))


def _result(name: str, result: engine.Result) -> str:
    if result.commit is None:
        return f"{name}: nothing changed"
    counts = Counter(item.letter for item in result.status.changes if not item.is_time_only)
    parts = [f"{counts[key]} {word}" for key, word in LETTERS.items() if counts[key]]
    counted = f"  {', '.join(parts)}" if parts else ""
    return f"{result.commit.hex()[:7]}  {result.status.findings.entries} entries{counted}  {seconds(result.seconds)}"
