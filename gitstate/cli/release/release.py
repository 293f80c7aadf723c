"""push, rollback and reconcile: releases of channels."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from gitstate.cli.base.app import Session, common, complete_repository, complete_revision, pass_session, writes
from gitstate.cli.base.help import Command
from gitstate.cli.base.output import emit, size, talk
from gitstate.cli.release.channel import complete_channel, release_json
from gitstate.core import settings
from gitstate.core.errors import GitstateError, PartlyDoneError, UsageError
from gitstate.core.names import octal
from gitstate.directory import Kind
from gitstate.release import push as pushing
from gitstate.release import reconcile as reconciling
from gitstate.release import rollback as going_back
from gitstate.release.difference import Difference
from gitstate.release.models import Done, Outcome, Problem, Release, unfinished

_AT_BOOT = (Kind.DISKLESS, Kind.LIVE)


@click.command(
    cls=Command,
    examples=(
        "gitstate push desktop lab3",
        "gitstate push desktop lab3 v12 -m 'scratch disks' --yes",
        "gitstate push lab/lab3 lab3 -n",
        "gitstate push desktop lab4 --from lab3",
    ),
)
@click.argument("repo", shell_complete=complete_repository)
@click.argument("channel", shell_complete=complete_channel)
@click.argument("rev", required=False, shell_complete=complete_revision)
@click.option(
    "--from", "origin", metavar="CHANNEL", shell_complete=complete_channel, help="Promote what another channel runs."
)
@click.option("-m", "--message", metavar="TEXT", help="What the tag says [the snapshot's first line].")
@click.option("--author", metavar="NAME", help="Who pushes: 'Name <mail>'.")
@click.option("--sign", is_flag=True, help="Sign the tag, with the key of git's configuration.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@common
@writes
@pass_session
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
    the same. REV is main if left out. A layer joins what the channel runs.
    With --from the layers of the other channel come along with a prototype.
    """
    if rev and origin:
        raise UsageError("REV and --from exclude each other", "choose one")
    session.repository(repo)
    who = settings.author(session.settings, author), settings.committer()
    plan = pushing.plan(session.site, repo, channel, rev, origin, who[0], session.observer)
    if not plan.is_needed:
        assert plan.current is not None
        emit(session, "push/1", _push_json(session, plan, None), [f"{channel} runs that already: {plan.current.name}"])
        return
    if session.dry_run:
        rendered = pushing.foresee(plan, session.observer)
        told = [f"  layers rendered for {_count(rendered, 'client', 'clients')}"] if rendered else []
        emit(session, "push/1", _push_json(session, plan, None, rendered), [*_plan_lines(plan), *told])
        return
    if not yes:
        _ask(session, plan)
    snapshot = session.site.repository(repo).snapshot(plan.commit)
    text = message if message is not None else snapshot.message.partition("\n")[0]
    outcome = pushing.apply(plan, text, who, session.observer, sign=sign)
    made = next((done for done in outcome.published if done.release.name == plan.name), None)
    if made is None:
        ours = [one.error for one in outcome.problems if one.what in (str(plan.name), channel)]
        raise ours[0] if ours else GitstateError(f"{plan.name} was not released", "run: gitstate reconcile")
    lines = [_released(made), *_steps(made), *_who(plan.clients)]
    emit(session, "push/1", _push_json(session, plan, made.release), lines)
    for problem in outcome.problems:
        if problem.what == channel:
            raise unfinished(plan.name, problem)
        session.observer.notice(problem.words)


def _ask(session: Session, plan: pushing.Push) -> None:
    if session.json or not sys.stdin.isatty():
        raise UsageError(f"{plan.name} would change what clients boot", "look with -n, then say --yes")
    for line in _plan_lines(plan):
        print(line, file=sys.stderr)
    click.confirm("Publish?", abort=True, err=True)


# --- for people -------------------------------------------------------------------------------------------------------


def _plan_lines(plan: pushing.Push) -> Iterator[str]:
    parts = [f"{name} {oid.hex()[:7]}" for name, oid in _sorted(plan.commits, plan.channel.prototype)]
    yield f"{plan.name} = {' + '.join(parts)}"
    if plan.origin is not None:
        yield f"  as in {plan.origin.name}"
    for one in plan.differences:
        yield from _difference_lines(one)
    yield from (f"  {line}" for line in _who(plan.clients))


def _sorted(commits: Mapping[str, bytes], prototype: str) -> list[tuple[str, bytes]]:
    return sorted(commits.items(), key=lambda item: (item[0] != prototype, item[0] != "base", item[0]))


def _difference_lines(one: Difference) -> Iterator[str]:
    if one.old is None:
        yield f"  {one.repository}: enters with {_count(one.files, 'entry', 'entries')}, {size(one.bytes)}"
        return
    counts = (("added", one.added), ("modified", one.modified), ("removed", one.removed))
    words = ", ".join(f"{count} {word}" for word, count in counts if count)
    since = f"since {one.old.hex()[:7]}"
    yield f"  {one.repository}: {words or 'no file differs'} {since}, {size(one.bytes)} to move"
    for letter, path in one.names:
        yield f"    {letter}  {octal(path)}"
    if one.files > len(one.names):
        yield f"    and {one.files - len(one.names)} more"
    if one.reasons:
        yield f"    only a reboot brings: {', '.join(one.reasons)}"


def _who(clients: Mapping[Kind, int]) -> Iterator[str]:
    total = sum(clients.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(clients.items()) if count)
    if not total:
        yield "no clients follow it"
    elif all(kind in _AT_BOOT for kind in clients):
        yield f"{_count(total, 'client', 'clients')} ({kinds}), at next boot"
    else:
        yield f"{_count(total, 'client', 'clients')} ({kinds})"


def _count(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _released(done: Done) -> str:
    release = done.release
    before = f" (before: {done.before.name})" if done.before else ""
    parts = [f"{name} {oid.hex()[:7]}" for name, oid in _sorted(release.commits, release.prototype)]
    return f"{release.name} = {' + '.join(parts)}{before}"


def _steps(done: Done) -> Iterator[str]:
    yield from (f"  {step}" for step in done.steps)


def _complain(problems: Iterable[Problem]) -> None:
    """Raise what went wrong: the error itself if it is one, else all in one line."""
    found = list(problems)
    if len(found) == 1:
        raise found[0].error
    if found:
        said = "; ".join(one.error.message for one in found)
        raise PartlyDoneError(f"not all is released: {said}", f"{found[0].error.hint}; then gitstate reconcile")


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
        "commits": _commits(plan.commits),
        "changes": [_difference_json(one) for one in plan.differences],
        "clients": {str(kind): plan.clients.get(kind, 0) for kind in Kind},
        "bytes": plan.bytes,
        "rendered": rendered,
        "release": release_json(made) if made else None,
        "dry_run": session.dry_run,
    }


def _commits(commits: Mapping[str, bytes]) -> dict[str, str]:
    return {name: oid.hex() for name, oid in sorted(commits.items())}


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


@click.command(cls=Command, examples=("gitstate rollback lab3", "gitstate rollback lab3 lab3/12 -n"))
@click.argument("channel", shell_complete=complete_channel)
@click.argument("release", required=False)
@click.option("--author", metavar="NAME", help="Who does it: 'Name <mail>'.")
@common
@writes
@pass_session
def rollback(session: Session, channel: str, release: str | None, author: str | None) -> None:
    """Let CHANNEL run RELEASE again: prototype, layers, boot files.

    Without RELEASE it is the one before; once more goes further back. It is a
    release of its own, so history tells of it.
    """
    plan = going_back.plan(session.site, channel, release)
    who = settings.author(session.settings, author), settings.committer()
    made = None
    if plan.is_needed and not session.dry_run:
        made = going_back.apply(plan, who, session.observer)
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
    lines = [line, *(_steps(made) if made else ()), *(_who(plan.clients) if plan.is_needed else ())]
    emit(session, "rollback/1", value, lines)


# --- reconcile --------------------------------------------------------------------------------------------------------


@click.command(cls=Command, examples=("gitstate reconcile", "gitstate reconcile -n"))
@common
@writes
@pass_session
def reconcile(session: Session) -> None:
    """Publish what tags ask for, and finish what was begun.

    Run it as often as you like: a tag is released once. git's hooks wake it
    where the units of gitstate are installed.
    """
    committer = settings.committer()
    if session.dry_run:
        outcome = reconciling.foresee(session.site, committer, session.observer)
    else:
        outcome = reconciling.reconcile(session.site, committer, session.observer)
    lines = list(outcome_lines(outcome))
    emit(session, "reconcile/1", _outcome_json(session, outcome), lines or ["nothing to publish"])
    for wish, newer in outcome.overtaken:
        talk(session, f"{wish.name} in {wish.repository} never was released, and {newer} is newer: git tag -d it")
    _complain(outcome.problems)


def outcome_lines(outcome: Outcome) -> Iterator[str]:
    """What was done, for people."""
    for done in outcome.published:
        yield _released(done)
        yield from _steps(done)
    yield from (f"would release {one.name}: {one.repository} {one.commit.hex()[:7]}" for one in outcome.foreseen)
    yield from (f"mended: {line}" for line in outcome.mended)


def _outcome_json(session: Session, outcome: Outcome) -> dict[str, Any]:
    return {
        "published": [
            release_json(done.release) | {"before": str(done.before.name) if done.before else None}
            for done in outcome.published
        ],
        "foreseen": [_wanted(one.repository, str(one.name), one.commit) for one in outcome.foreseen],
        "refused": [
            {
                "channel": one.channel,
                "what": one.what,
                "code": one.error.code,
                "message": one.error.message,
                "hint": one.error.hint,
            }
            for one in outcome.problems
        ],
        "overtaken": [
            {"repository": wish.repository, "tag": str(wish.name), "by": str(newer)}
            for wish, newer in outcome.overtaken
        ],
        "mended": outcome.mended,
        "dry_run": session.dry_run,
    }


def _wanted(repository: str, tag: str, commit: bytes) -> dict[str, str]:
    return {"repository": repository, "tag": tag, "commit": commit.hex()}
