"""shell."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import click

from gitstate.cli.base import progress
from gitstate.cli.base.app import Session, command, complete_repository
from gitstate.cli.base.help import Command
from gitstate.cli.base.output import DeclinedError, emit, location, suggest
from gitstate.cli.tree.changes import live_option, status_lines
from gitstate.cli.tree.message import asked
from gitstate.cli.tree.mounts import mount_lines, mounts_json
from gitstate.core import settings
from gitstate.core.names import visible
from gitstate.core.wording import counted
from gitstate.tree import checkin as engine
from gitstate.tree import shell as use_case
from gitstate.tree.checkin import Request, Status


class _ProgramCommand(Command):
    """What stands behind ``--`` is a program and its arguments, whatever it looks like."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" not in args:
            return super().parse_args(ctx, args)
        at = args.index("--")
        left = super().parse_args(ctx, args[:at])
        ctx.params["program"] = (*ctx.params["program"], *args[at + 1 :])
        return left


@command(
    "gitstate shell desktop",
    "gitstate shell desktop -- apt-get upgrade",
    "gitstate shell desktop -m 'an editor' -- apt-get install -y vim",
    writes=True,
    cls=_ProgramCommand,
)
@click.argument("repo", required=False, shell_complete=complete_repository)
@click.argument("program", metavar="[-- PROGRAM [ARGUMENT]...]", nargs=-1, type=click.UNPROCESSED)
@live_option
@click.option("-m", "--message", metavar="TEXT", help="Check in with this message; don't ask without a terminal.")
@click.option("--author", metavar="NAME", help="Author of the change: 'Name <mail>'.")
def shell(
    session: Session,
    repo: str | None,
    program: tuple[str, ...],
    live: Path | None,
    message: str | None,
    author: str | None,
) -> int:
    """Open a root shell in REPO's live tree, or run PROGRAM there.

    It has processes and mounts of its own (/dev, /proc, /sys, /run, /tmp,
    /var/tmp, package caches, the server's resolver), which end with it, and
    packages' services aren't started. What apt and dnf change is checked in
    before and after each run. At the end it asks whether to check in; without
    a terminal it tells what has changed, or checks in if there is -m and
    PROGRAM has exited with 0. The exit code is PROGRAM's.
    """
    name = session.name(repo)
    repository = session.opened.repository(name)
    tree = engine.live_tree(repository, live)
    options = use_case.load(session.opened.site)
    todo = use_case.plan(repository, tree, program, packages=options.packages, nspawn=options.nspawn)
    if session.dry_run:
        emit(session, "shell/1", _as_json(session, name, todo), _plan_lines(todo))
        return 0

    def request(text: str = "") -> Request:
        who = session.author(author, repository.path)
        return Request(repository, tree, text, who, settings.committer())

    recorder = use_case.Recorder(session.opened.site, None if repository.is_layer or live else name, request)
    code = use_case.run(repository, todo, recorder.answer, to_stderr=session.json)
    found = engine.status(repository, tree, session.observer)
    commit = None
    if _is_wanted(session, name, found, message, code):
        with suppress(DeclinedError), _message(session, request(), found, message) as text:  # none if it is empty
            commit = engine.record(request(text), session.observer).commit
            suggest(session, f"checked in as {commit.hex()[:7]}" if commit else f"{name}: nothing changed")
    value = _as_json(session, name, todo) | {
        "exit_code": code,
        "recorded": [one.hex() for one in (*recorder.commits, *([commit] if commit else []))],
        "changes": len(_counted(found)) if commit is None else 0,
    }
    if session.json:
        emit(session, "shell/1", value, [])
    return code


def _message(session: Session, request: Request, found: Status, message: str | None) -> AbstractContextManager[str]:
    return nullcontext(message) if message else asked(session, request, found)


def _is_wanted(session: Session, name: str, found: Status, message: str | None, code: int) -> bool:
    """Whether to check in: as the person at the terminal says, else if there is a message and PROGRAM went well."""
    number = len(_counted(found))
    if found.tree == found.old_tree:
        return False
    changed = f"{counted(number, 'file')} changed" if number else "only times have changed"
    if session.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        if message is not None and not code:
            return True
        why = f", not checked in after exit code {code}" if message is not None else ""
        suggest(session, f"{name}: {changed}{why}: gitstate status {name}")
        return False
    progress.clear()
    while number:
        word = click.prompt(f"{changed}, check in? [y/N/diff]", default="n", show_default=False, err=True).lower()
        if word not in ("d", "diff"):
            return word in ("y", "yes")
        for line in status_lines(session, name, found, False):
            print(line, file=sys.stderr)
    return False


def _counted(found: Status) -> list[object]:
    return [*(one for one in found.changes if not one.is_time_only), *found.links]


def _plan_lines(todo: use_case.Plan) -> Sequence[str]:
    return [*mount_lines(todo.mounts), f"run  {visible(' '.join(todo.words))}  ({todo.way})"]


def _as_json(session: Session, name: str, todo: use_case.Plan) -> dict[str, Any]:
    return {
        "repository": name,
        "live": location(todo.live),
        "way": str(todo.way),
        "program": list(todo.words),
        "mounts": mounts_json(todo.mounts),
        "packages": todo.packages,
        "dry_run": session.dry_run,
    }
