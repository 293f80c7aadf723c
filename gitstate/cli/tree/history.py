"""log, show, diff and clone: git's own words and arguments, metadata in words."""

from __future__ import annotations

import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, takewhile
from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import Function, Session, common, complete_repository, pass_session, writes
from gitstate.cli.base.help import Command
from gitstate.cli.base.output import emit, location, put
from gitstate.core.errors import UsageError
from gitstate.store import Repository
from gitstate.tree import history


class _GitCommand(Command):
    """REPO and whatever git takes: only whole words that are options of ours are taken from the line.

    click by itself takes the ``h`` of ``-Gpath`` for help, and swallows the ``--`` between revisions and paths.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ours, theirs = self._apart(ctx, deque(args))
        return super().parse_args(ctx, [*ours, "--", *theirs])

    def _apart(self, ctx: click.Context, words: deque[str]) -> tuple[list[str], list[str]]:
        options = {text: one for one in self.get_params(ctx) if isinstance(one, click.Option) for text in one.opts}
        ours: list[str] = []
        theirs: list[str] = []
        while words and words[0] != "--":
            word = words.popleft()
            option = options.get(word.partition("=")[0])
            (theirs if option is None else ours).append(word)
            if option is not None and not option.is_flag and "=" not in word and words:
                ours.append(words.popleft())
        return ours, [*theirs, *words]


def _git_words(function: Function) -> Function:
    metavar = "[REPO] [GIT OPTION]... [REV]... [-- PATH...]"
    return click.argument("words", nargs=-1, metavar=metavar, shell_complete=complete_repository)(function)


def _command(*examples: str) -> Callable[[Callable[..., Any]], click.Command]:
    return click.command(cls=_GitCommand, examples=examples)


def _asked(session: Session, words: tuple[str, ...]) -> tuple[str, Repository, tuple[str, ...]]:
    """REPO, wherever it stands among git's words, and the rest of them."""
    plain = [word for word in takewhile(lambda word: word != "--", words) if not word.startswith("-")]
    name, rest = session.split(words, plain)
    return name, session.repository(name), tuple(rest)


@_command("gitstate log desktop -- etc/fstab", "gitstate log desktop -p -3", "gitstate log desktop --since=yesterday")
@_git_words
@common
@pass_session
def log(session: Session, words: tuple[str, ...]) -> None:
    """Show history. Takes what git log takes.

    With paths, commits are listed that changed their content or their metadata.
    """
    name, repository, arguments = _asked(session, words)
    if session.json:
        emit(session, "log/1", {"repository": name, "commits": list(history.log_json(repository, arguments))}, [])
    else:
        _page(session, history.log(repository, arguments, color=session.colour))


@_command("gitstate show desktop", "gitstate show desktop HEAD~1 -- etc", "gitstate show desktop v1:etc/fstab")
@_git_words
@common
@pass_session
def show(session: Session, words: tuple[str, ...]) -> None:
    """Show what snapshots changed. Takes what git show takes.

    The files' content is followed by what happened to owners, modes, ACLs,
    capabilities, devices and hard links.
    """
    name, repository, arguments = _asked(session, words)
    if session.json:
        commits = [one | _parted(one["changes"]) for one in history.show_json(repository, arguments)]
        emit(session, "show/1", {"repository": name, "commits": commits}, [])
    else:
        _page(session, history.show(repository, arguments, color=session.colour))


@_command(
    "gitstate diff desktop", "gitstate diff desktop v1 v2 -- etc", "gitstate diff desktop --stat HEAD~5 -- usr/bin"
)
@_git_words
@click.option("--times", is_flag=True, help="Tell changes of times alone, too.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there are differences; -q does it silently.")
@common
@pass_session
def diff(session: Session, words: tuple[str, ...], times: bool, exit_code: bool) -> int:
    """Compare snapshots, or one with the live tree.

    Takes what git diff takes: two revisions, or one to compare with the live
    tree; without any it is the one that the live tree was last recorded as.
    """
    name, repository, arguments = _asked(session, words)
    with _comparison(session, repository, arguments) as compared:
        assert compared.new is not None
        if session.json:
            ids = {"old": compared.old.hex(), "new": compared.new.hex()}
            emit(session, "diff/1", {"repository": name, **ids, **_parted(list(compared.json()))}, [])
        elif not session.quiet:
            _page(session, compared.lines(color=session.colour, times=times))
        return 1 if (exit_code or session.quiet) and compared.differs() else 0


@contextmanager
def _comparison(session: Session, repository: Repository, arguments: tuple[str, ...]) -> Iterator[history.Comparison]:
    """The two trees to compare; the live tree's new objects stand in a scratch directory."""
    compared = history.compared(repository, arguments, lambda: _recorded(repository))
    if compared.new is not None:
        yield compared
        return
    from gitstate.tree import checkin  # two snapshots are compared in half the time that this import takes

    with repository.scratch() as scratch:
        tree = checkin.preview(repository, checkin.live_tree(repository, None), scratch, session.observer)
        yield compared.against(tree, scratch)


def _recorded(repository: Repository) -> str:
    """The commit that the live tree was last recorded as."""
    from gitstate.tree import checkin

    base = checkin.base_of(repository)
    return base.hex() if base else "HEAD"


def _parted(changes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Entries and hard links apart, as ``status`` and ``verify`` have them."""
    return {
        "changes": [one for one in changes if "links" not in one],
        "links": [one for one in changes if "links" in one],
    }


def _page(session: Session, lines: Iterable[bytes]) -> None:
    """On a terminal what is longer than the screen goes through the pager."""
    stream = iter(lines)
    head: list[bytes] = []
    if sys.stdout.isatty() and not session.quiet:
        head = list(_screen(stream))
        if (more := next(stream, None)) is not None:
            text = (line.decode(errors="replace") for line in chain(head, [more], stream))
            click.echo_via_pager(text, color=None if session.colour else False)
            return
    for line in chain(head, stream):
        put(line)


def _screen(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The lines that fit on the terminal, the next prompt below them."""
    columns, rows = shutil.get_terminal_size()
    while rows > 1 and (line := next(lines, None)) is not None:
        rows -= 1 + line.count(b"\n", 0, -1) + len(line) // (columns + 1)
        yield line


@click.command(cls=Command, examples=("gitstate clone desktop ~/desktop",))
@click.argument("repo", required=False, shell_complete=complete_repository)
@click.argument("directory", required=False, metavar="DIRECTORY", type=click.Path(readable=False))
@common
@writes
@pass_session
def clone(session: Session, repo: str | None, directory: str | None) -> None:
    """Clone REPO to DIRECTORY by plain git.

    The clone is set up so that no byte is converted and diffs of records read
    well. Edit it with git and push it back, or only look.
    """
    name, (where,) = session.take(repo, directory)
    if where is None:
        raise UsageError("clone to where?", "gitstate clone REPO DIRECTORY")
    repository, target = session.repository(name), Path(where)
    value = {"repository": name, "directory": location(target), "dry_run": session.dry_run}
    if session.dry_run:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UsageError(f"{target} is not an empty directory", "clone into a new one")
        emit(session, "clone/1", value, [f"would clone {repository.path} to {target}"])
        return
    session.observer.phase(f"git clone {name}")
    repository.clone(target)
    emit(session, "clone/1", value, [str(target)])
