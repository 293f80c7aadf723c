"""log, show, diff and clone: git's own words and arguments, metadata in words."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from gitstate import checkin, history
from gitstate.cli.app import Command, Session, common, pass_session, writes
from gitstate.cli.output import emit
from gitstate.store import Repository

_GIT_ARGUMENTS = {"ignore_unknown_options": True, "allow_interspersed_args": True}


def _git_words(function: Command) -> Command:
    """REPO and then whatever git takes; ``--`` is kept for git to see."""
    return click.argument("repo")(click.argument("arguments", nargs=-1, type=click.UNPROCESSED)(function))


class _GitCommand(click.Command):
    """Keeps the ``--`` that separates revisions from paths, which click would swallow."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        before, mark, after = _split(args)
        rest = super().parse_args(ctx, before)
        ctx.params["arguments"] = (*ctx.params.get("arguments", ()), *mark, *after)
        return rest


def _split(args: list[str]) -> tuple[list[str], list[str], list[str]]:
    if "--" not in args:
        return args, [], []
    place = args.index("--")
    return args[:place], ["--"], args[place + 1 :]


def _command(epilog: str) -> Callable[[Callable[..., Any]], click.Command]:
    return click.command(cls=_GitCommand, context_settings=_GIT_ARGUMENTS, epilog=epilog)


@_command("Examples:\n\n\b\n  gitstate log desktop -- etc/fstab\n  gitstate log desktop -p -3")
@_git_words
@common
@pass_session
def log(session: Session, repo: str, arguments: tuple[str, ...]) -> None:
    """Show REPO's history. Takes git log's own arguments."""
    repository = session.site.repository(repo)
    if session.json:
        emit(session, "log/1", {"repository": repo, "commits": list(history.log_json(repository, arguments))}, [])
    else:
        _page(session, history.log(repository, arguments, color=session.colour))


@_command("Example:  gitstate show desktop HEAD~1")
@_git_words
@common
@pass_session
def show(session: Session, repo: str, arguments: tuple[str, ...]) -> None:
    """Show what snapshots changed, content and metadata. Takes git show's own arguments."""
    repository = session.site.repository(repo)
    if session.json:
        emit(session, "show/1", {"repository": repo, "commits": list(history.show_json(repository, arguments))}, [])
    else:
        _page(session, history.show(repository, arguments, color=session.colour))


@_command("Examples:\n\n\b\n  gitstate diff desktop\n  gitstate diff desktop v1 v2 -- etc")
@_git_words
@click.option("--times", is_flag=True, help="Tell changes of times alone, too.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there are differences.")
@common
@pass_session
def diff(session: Session, repo: str, arguments: tuple[str, ...], times: bool, exit_code: bool) -> int:
    """Compare two snapshots, or one (HEAD if left out) with the live tree. Takes git diff's own arguments."""
    repository = session.site.repository(repo)
    with _two_trees(session, repository, arguments) as (old, new, objects):
        if session.json:
            changes = list(history.diff_json(repository, old, new, arguments, objects=objects))
            emit(session, "diff/1", {"repository": repo, "changes": changes}, [])
        else:
            lines = history.diff_trees(
                repository, old, new, arguments, objects=objects, color=session.colour, times=times
            )
            _page(session, lines)
        return 1 if exit_code and history.differs(repository, old, new, arguments, objects=objects) else 0


@contextmanager
def _two_trees(
    session: Session, repository: Repository, arguments: tuple[str, ...]
) -> Iterator[tuple[bytes, bytes, Path | None]]:
    """The two trees to compare; for the live tree a directory with its new objects, too."""
    old, new = history.sides(repository, arguments)
    if new is not None:
        yield old, new, None
        return
    scratch = Path(tempfile.mkdtemp(prefix="gitstate-diff-", dir=repository.private))
    try:
        tree = checkin.preview(repository, checkin.live_tree(repository, None), scratch, session.observer)
        yield old, tree, scratch
    finally:
        shutil.rmtree(scratch)


def _page(session: Session, lines: Iterable[bytes]) -> None:
    if sys.stdout.isatty() and not session.quiet:
        click.echo_via_pager((line.decode(errors="replace") for line in lines), color=session.colour)
        return
    sys.stdout.flush()
    for line in lines:
        sys.stdout.buffer.write(line)


@click.command(epilog="Example:  gitstate clone desktop ~/desktop")
@click.argument("repo")
@click.argument("directory", type=click.Path(path_type=Path))
@common
@writes
@pass_session
def clone(session: Session, repo: str, directory: Path) -> None:
    """Clone REPO to DIRECTORY by plain git, set up so that diffs read well and no byte is converted."""
    repository = session.site.repository(repo)
    value = {"repository": repo, "directory": str(directory.absolute())}
    if session.dry_run:
        emit(session, "clone/1", value, [f"would clone {repository.path} to {directory}"])
        return
    session.observer.phase(f"git clone {repo}")
    repository.clone(directory)
    emit(session, "clone/1", value, [str(directory)])
