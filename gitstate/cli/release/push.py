"""push, rollback."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import click

from gitstate.cli.base.app import Session, command, complete_channel, complete_repository, complete_revision
from gitstate.cli.base.output import confirm, emit, size
from gitstate.cli.layer.output import directories_json, directory_lines
from gitstate.cli.release.output import (
    client_lines,
    commits_json,
    release_json,
    released_line,
    sorted_commits,
    step_lines,
)
from gitstate.core import settings
from gitstate.core.errors import UsageError
from gitstate.core.names import display, octal
from gitstate.core.wording import counted
from gitstate.directory import Kind
from gitstate.release import push as pushing
from gitstate.release import rollback as rolling_back
from gitstate.release.difference import Difference
from gitstate.release.models import Release, unfinished
from gitstate.release.reconcile import finish

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
    who = session.author(author), settings.committer()
    plan = pushing.plan(session.opened, repo, channel, rev, origin, who[0], session.observer)
    if session.dry_run:
        _emit_plan(session, plan)
        return
    if plan.is_needed and not yes:
        _ask(session, plan)
    snapshot = session.opened.repository(repo).snapshot(plan.commit)
    text = message if message is not None else snapshot.subject
    pushed = pushing.apply(plan, text, who, session.observer, sign=sign)
    plan, made = pushed.push, pushed.made
    lines = _standing_lines(session, plan.channel.name, plan.current, pushed.finished)
    if made is not None:
        lines = [released_line(made), *step_lines(made), *_directory_lines(plan), *client_lines(plan.clients)]
    emit(session, "push/1", _push_json(session, plan, made.release if made else None, pushed.finished), lines)
    for problem in pushed.problems:
        if problem.what == channel:
            raise unfinished(plan.name, problem)
        session.observer.notice(problem.message)


def _emit_plan(session: Session, plan: pushing.Push) -> None:
    if not plan.is_needed:
        lines = _standing_lines(session, plan.channel.name, plan.current, plan.unfinished)
        emit(session, "push/1", _push_json(session, plan, None, plan.unfinished), lines)
        return
    rendered = pushing.preview(plan, session.observer)
    layers = [f"  layers rendered for {counted(rendered, 'client')}"] if rendered else []
    value = _push_json(session, plan, None, rendered=rendered)
    emit(session, "push/1", value, [*_plan_lines(plan), *layers])


def _standing_lines(session: Session, channel: str, current: Release | None, finished: Sequence[str]) -> list[str]:
    """What is said where no release is to be made; ``finished`` of the current one is done, or would be."""
    if current is None:
        return []
    if not finished:
        return [f"{channel} runs that already: {current.name}"]
    would = "would be finished" if session.dry_run else "is finished now"
    return [
        f"{channel} runs that already: {current.name}, which was published in part and {would}",
        *(f"  {one}" for one in finished),
    ]


def _ask(session: Session, plan: pushing.Push) -> None:
    refusal = UsageError(f"{plan.name} changes what clients boot", "preview with -n, then confirm with --yes")
    confirm(session, "Publish?", refusal, _plan_lines(plan))


# --- for people -------------------------------------------------------------------------------------------------------


def _plan_lines(plan: pushing.Push) -> Iterator[str]:
    parts = [f"{name} {oid.hex()[:7]}" for name, oid in sorted_commits(plan.commits, plan.channel.prototype)]
    yield f"{plan.name} = {' + '.join(parts)}" + (", tagged by an earlier push" if plan.is_tagged else "")
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
    counts = (("added", one.added), ("modified", one.modified), ("deleted", one.deleted))
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
    session: Session,
    plan: pushing.Push,
    made: Release | None,
    finished: Sequence[str] = (),
    *,
    rendered: int | None = None,
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
        "finished": list(finished),
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
        "deleted": one.deleted,
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
    plan = rolling_back.plan(session.opened, channel, release, session.observer)
    who = session.author(author), settings.committer()
    made, finished = None, plan.unfinished
    if plan.is_needed and not session.dry_run:
        made = rolling_back.apply(plan, who, session.observer)
    elif not session.dry_run:
        finished = tuple(finish(session.opened.reopened(), channel, who[1], session.observer))
    word = "would run" if session.dry_run else "runs"
    lines = [
        f"{channel} {word} {plan.target.name} again, as {plan.name}",
        *(step_lines(made) if made else ()),
        *client_lines(plan.clients),
    ]
    value = {
        "channel": channel,
        "before": str(plan.current.name),
        "target": str(plan.target.name),
        "needed": plan.is_needed,
        "clients": {str(kind): plan.clients.get(kind, 0) for kind in Kind},
        "finished": list(finished),
        "release": release_json(made.release) if made else None,
        "dry_run": session.dry_run,
    }
    if not plan.is_needed:
        lines = _standing_lines(session, channel, plan.current, finished)
    emit(session, "rollback/1", value, lines)
