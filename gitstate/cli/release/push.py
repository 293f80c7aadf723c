"""push, rollback."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, Final

import click

from gitstate.cli.base.app import Session, command, complete_repository, complete_revision
from gitstate.cli.base.output import emit, size
from gitstate.cli.layer.output import directories_json, directory_lines
from gitstate.cli.release.output import (
    client_lines,
    commits_json,
    complete_channel,
    release_json,
    released_line,
    sorted_commits,
    step_lines,
)
from gitstate.core import settings
from gitstate.core.errors import GitstateError, UsageError
from gitstate.core.names import display, octal
from gitstate.core.wording import counted
from gitstate.directory import Kind
from gitstate.release import push as pushing
from gitstate.release import rollback as rolling_back
from gitstate.release.difference import Difference
from gitstate.release.models import Release, unfinished

_NAMED: Final = 10


@command(
    "gitstate push desktop lab3",
    "gitstate push desktop lab3 v12 -m 'scratch disks' --yes",
    "gitstate push lab/lab3 lab3 -n",
    "gitstate push desktop lab4 --from lab3",
    writes=True,
)
@click.argument("repo", shell_complete=complete_repository)
@click.argument("channel", shell_complete=complete_channel)
@click.argument("rev", required=False, shell_complete=complete_revision)
@click.option(
    "--from", "origin", metavar="CHANNEL", shell_complete=complete_channel, help="Promote what another channel runs."
)
@click.option("-m", "--message", metavar="TEXT", help="Message of the tag [the snapshot's first line].")
@click.option("--author", metavar="NAME", help="Author of the release: 'Name <mail>'.")
@click.option("--sign", is_flag=True, help="Sign the tag with the key of git's configuration.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def push(
    session: Session,
    repo: str,
    channel: str,
    rev: str | None,
    origin: str | None,
    message: str | None,
    author: str | None,
    sign: bool,
    yes: bool,
) -> None:
    """Release snapshot REV of REPO to the clients of CHANNEL.

    Makes the annotated tag CHANNEL/N and publishes it; plain git tag -a does
    the same. REV is main by default. A layer is added to what the channel runs.
    With --from, a prototype brings the layers of the other channel along.
    """
    if rev and origin:
        raise UsageError("REV and --from exclude each other", "choose one")
    session.opened.repository(repo)
    who = settings.author(session.settings, author), settings.committer()
    plan = pushing.plan(session.opened, repo, channel, rev, origin, who[0], session.observer)
    if not plan.is_needed:
        assert plan.current is not None
        emit(session, "push/1", _push_json(session, plan, None), [f"{channel} runs that already: {plan.current.name}"])
        return
    if session.dry_run:
        rendered = pushing.preview(plan, session.observer)
        layers = [f"  layers rendered for {counted(rendered, 'client')}"] if rendered else []
        emit(session, "push/1", _push_json(session, plan, None, rendered), [*_plan_lines(plan), *layers])
        return
    if not yes:
        _ask(session, plan)
    snapshot = session.opened.repository(repo).snapshot(plan.commit)
    text = message if message is not None else snapshot.subject
    result = pushing.apply(plan, text, who, session.observer, sign=sign)
    made = next((one for one in result.published if one.release.name == plan.name), None)
    if made is None:
        ours = [one.error for one in result.problems if one.what in (str(plan.name), channel)]
        raise ours[0] if ours else GitstateError(f"{plan.name} was not released", "run: gitstate reconcile")
    lines = [released_line(made), *step_lines(made), *_directory_lines(plan), *client_lines(plan.clients)]
    emit(session, "push/1", _push_json(session, plan, made.release), lines)
    for problem in result.problems:
        if problem.what == channel:
            raise unfinished(plan.name, problem)
        session.observer.notice(problem.message)


def _ask(session: Session, plan: pushing.Push) -> None:
    if session.json or not sys.stdin.isatty():
        raise UsageError(f"{plan.name} changes what clients boot", "preview with -n, then confirm with --yes")
    for line in _plan_lines(plan):
        print(line, file=sys.stderr)
    click.confirm("Publish?", abort=True, err=True)


# --- for people -------------------------------------------------------------------------------------------------------


def _plan_lines(plan: pushing.Push) -> Iterator[str]:
    parts = [f"{name} {oid.hex()[:7]}" for name, oid in sorted_commits(plan.commits, plan.channel.prototype)]
    yield f"{plan.name} = {' + '.join(parts)}"
    if plan.origin is not None:
        yield f"  as in {plan.origin.name}"
    for one in plan.differences:
        yield from _difference_lines(one)
    yield from _directory_lines(plan)
    yield from (f"  {line}" for line in client_lines(plan.clients))


def _directory_lines(plan: pushing.Push) -> Iterator[str]:
    yield from (f"  {line}" for line in directory_lines(plan.directories[:_NAMED], plan.channel.prototype))
    if len(plan.directories) > _NAMED:
        yield f"  and {counted(len(plan.directories) - _NAMED, 'directory', 'directories')} more"


def _difference_lines(one: Difference) -> Iterator[str]:
    if one.old is None:
        yield f"  {one.repository}: new, {counted(one.files, 'entry', 'entries')}, {size(one.bytes)}"
        return
    counts = (("added", one.added), ("modified", one.modified), ("removed", one.removed))
    words = ", ".join(f"{count} {word}" for word, count in counts if count)
    since = f"since {one.old.hex()[:7]}"
    yield f"  {one.repository}: {words or 'no changes'} {since}, {size(one.bytes)} to move"
    for letter, path in one.names:
        yield f"    {letter}  {display(path)}"
    if one.files > len(one.names):
        yield f"    and {one.files - len(one.names)} more"
    if one.reasons:
        yield f"    needs a reboot: {', '.join(one.reasons)}"


# --- for programs -----------------------------------------------------------------------------------------------------


def _push_json(
    session: Session, plan: pushing.Push, made: Release | None, rendered: int | None = None
) -> dict[str, Any]:
    return {
        "channel": plan.channel.name,
        "repository": plan.repository,
        "commit": plan.commit.hex(),
        "tag": str(plan.name) if plan.is_needed else None,
        "needed": plan.is_needed,
        "from": str(plan.origin.name) if plan.origin else None,
        "before": str(plan.current.name) if plan.current else None,
        "commits": commits_json(plan.commits),
        "changes": [_difference_json(one) for one in plan.differences],
        "directories": directories_json(plan.directories),
        "clients": {str(kind): plan.clients.get(kind, 0) for kind in Kind},
        "bytes": plan.bytes,
        "rendered": rendered,
        "release": release_json(made) if made else None,
        "dry_run": session.dry_run,
    }


def _difference_json(one: Difference) -> dict[str, Any]:
    return {
        "repository": one.repository,
        "old": one.old.hex() if one.old else None,
        "new": one.new.hex(),
        "added": one.added,
        "modified": one.modified,
        "removed": one.removed,
        "paths": [{"status": letter, "path": octal(path)} for letter, path in one.names],
        "bytes": one.bytes,
        "reboot": list(one.reasons),
    }


# --- rollback ---------------------------------------------------------------------------------------------------------


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
