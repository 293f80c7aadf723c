"""checkin."""

from __future__ import annotations

import os
from dataclasses import replace as replaced
from pathlib import Path

import click

from gitstate.cli.base.app import PATH, Session, command, repo_argument
from gitstate.cli.base.paths import locate
from gitstate.cli.tree.changes import live_option, unread_error
from gitstate.cli.tree.recorded import report
from gitstate.core import settings
from gitstate.core.errors import UsageError
from gitstate.core.names import Locate, tree_path
from gitstate.tree import checkin as engine
from gitstate.tree.recording import Allowance, branch_name


@command(
    "gitstate checkin desktop -m 'printer in room 3'",
    "gitstate checkin desktop --amend -m 'printer in room 4'",
    "gitstate checkin desktop -m 'test key' \\\n    --allow etc/ssl/private/test.key --because 'a public test key'",
    "gitstate checkin desktop -m 'as tried' --branch tried \\\n    --upper /srv/uppers/lab3-12 --base lab3/4",
    writes=True,
)
@repo_argument
@click.option("-m", "--message", metavar="TEXT", help="What was changed and why; else an editor asks, as git's does.")
@live_option
@click.option("--upper", metavar="DIR", type=PATH, help="Record an overlay's upper directory over --base instead.")
@click.option("--tar", metavar="FILE", help="The same with a layer's tar file (OCI); - is standard input.")
@click.option("--base", metavar="REV", help="The snapshot on which --upper or --tar was made [main].")
@click.option("--branch", metavar="NAME", default="main", show_default=True, help="The branch to record on.")
@click.option("--author", metavar="NAME", help="Author of the change: 'Name <mail>'.")
@click.option("--allow", multiple=True, metavar="PATH", help="Record this path although policy refuses it; repeatable.")
@click.option("--because", multiple=True, metavar="TEXT", help="Why it may be in history; one for each --allow.")
@click.option("--replace", is_flag=True, help="Record this tree over commits that it doesn't contain.")
@click.option("--amend", is_flag=True, help="Replace the last check-in, while no release, tag or other branch has it.")
@click.option(
    "--yes-delete",
    metavar="N",
    type=click.IntRange(0),
    help="N entries may be gone, though that is most; the live tree may be another directory than last time.",
)
def checkin(
    session: Session,
    repo: str | None,
    message: str | None,
    live: Path | None,
    upper: Path | None,
    tar: str | None,
    base: str | None,
    branch: str,
    author: str | None,
    allow: tuple[str, ...],
    because: tuple[str, ...],
    replace: bool,
    amend: bool,
    yes_delete: int | None,
) -> None:
    """Record the changes in REPO's live tree as a commit.

    What policy refuses (private keys, password hashes, a machine's own
    identity) stops it, and nothing is recorded. So does a branch that has moved
    since this tree was last recorded on it; a new branch begins at the commit
    that the tree was last recorded as on main. So does a tree from which more
    than half of all entries have gone (and more than 20), or that isn't the
    directory of last time: perhaps something isn't mounted.

    A mistake that is checked in: take it out and --amend, or bring back what was
    there (gitstate restore REPO HEAD~1 -- PATH) and check in again.

    With --upper or --tar, the edits in an overlay's upper directory, or in a
    layer, become a commit whose parent is the snapshot that they were made on.
    The live tree isn't looked at.
    """
    name = session.name(repo)
    if upper or tar or base:
        _exclude(upper, tar, live, replace or amend)
        from gitstate.cli.tree import upper as edits  # few check-ins come from elsewhere

        if message is None:
            raise UsageError("a check-in needs a message", "-m TEXT")
        asked = edits.Asked(message, branch, author, _allowances(allow, because, tree_path), base)
        edits.checkin(session, name, asked, upper, tar)
        return
    repository = session.opened.repository(name)
    request = engine.Request(
        repository=repository,
        live=engine.live_tree(repository, live),
        message=message or "",
        author=session.author(author, repository.path),
        committer=settings.committer(),
        branch=branch_name(branch),
        allow=_allowances(allow, because, locate(repository.live)),
        replace=replace,
        amend=amend,
        yes_delete=yes_delete,
    )
    _checkin(session, name, request, is_asked=message is None)


def _checkin(session: Session, name: str, request: engine.Request, *, is_asked: bool) -> None:
    if session.dry_run:
        found, result = engine.status(request.repository, request.live, session.observer, allow=request.allow), None
    else:
        if is_asked:
            from gitstate.cli.tree.message import asked  # scripts have a message

            if request.amend:
                request = replaced(request, amended=engine.to_amend(request).oid)
            seen = engine.status(request.repository, request.live, session.observer, allow=request.allow)
            with asked(session, request, seen) as message:
                result = engine.record(replaced(request, message=message), session.observer)
        else:
            result = engine.record(request, session.observer)
        found = result.status
    report(session, name, request.live, request.branch, found, result)
    if session.dry_run:
        engine.preview(request, found)
    if found.findings.unrecorded:
        raise unread_error(found)


def _exclude(upper: Path | None, tar: str | None, live: Path | None, replace: bool) -> None:
    if not upper and not tar:
        raise UsageError("--base is for --upper and --tar", "gitstate checkin REPO -m TEXT --upper DIR --base REV")
    if upper and tar:
        raise UsageError("--upper and --tar exclude each other", "check them in one after the other")
    if live or replace:
        raise UsageError("--live, --replace and --amend are for live trees", "leave them out with --upper and --tar")


def _allowances(paths: tuple[str, ...], reasons: tuple[str, ...], find: Locate) -> tuple[Allowance, ...]:
    if len(paths) != len(reasons):
        raise UsageError("each --allow needs a --because", "--allow PATH --because TEXT")
    if any(not reason.strip() or "\n" in reason for reason in reasons):
        raise UsageError("--because takes one line of text", "say why this may be in history")
    return tuple(Allowance(find(os.fsencode(path)), why) for path, why in zip(paths, reasons, strict=True))
