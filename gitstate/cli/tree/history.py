"""log, show and diff: git's own arguments, metadata in words."""

from __future__ import annotations

import shutil
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, takewhile
from typing import Any

import click

from gitstate.cli.base.app import Function, Session, command, complete_repository
from gitstate.cli.base.help import Command
from gitstate.cli.base.output import emit, write_out
from gitstate.tree import history


class _GitCommand(Command):
    """REPO and git's arguments: only whole words that are gitstate's own options are taken out.

    click alone would take the ``h`` of ``-Gpath`` for help, and drop the ``--`` between revisions and paths.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ours, theirs = self._separate(ctx, deque(args))
        return super().parse_args(ctx, [*ours, "--", *theirs])

    def _separate(self, ctx: click.Context, words: deque[str]) -> tuple[list[str], list[str]]:
        options = {
            text: option for option in self.get_params(ctx) if isinstance(option, click.Option) for text in option.opts
        }
        ours: list[str] = []
        theirs: list[str] = []
        while words and words[0] != "--":
            word = words.popleft()
            option = options.get(word.partition("=")[0])
            (theirs if option is None else ours).append(word)
            if option is not None and not option.is_flag and "=" not in word and words:
                ours.append(words.popleft())
        return ours, [*theirs, *words]


def _git_arguments(function: Function) -> Function:
    metavar = "[REPO] [GIT OPTION]... [REV]... [-- PATH...]"
    return click.argument("words", nargs=-1, metavar=metavar, shell_complete=complete_repository)(function)


def _parse(session: Session, words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """REPO, wherever it is among git's arguments, and the other arguments."""
    plain = [word for word in takewhile(lambda word: word != "--", words) if not word.startswith("-")]
    name, rest = session.split(words, plain)
    return name, tuple(rest)


@command(
    "gitstate log desktop -- etc/fstab",
    "gitstate log desktop -p -3",
    "gitstate log desktop --since=yesterday",
    cls=_GitCommand,
)
@_git_arguments
def log(session: Session, words: tuple[str, ...]) -> None:
    """Show history. Takes the options of git log.

    With paths, list the commits that changed their content or their metadata.
    Write the value of an option in the same word: --date=iso.
    """
    name, arguments = _parse(session, words)
    repository = session.opened.repository(name)
    if session.json:
        emit(session, "log/1", {"repository": name, "commits": list(history.log_json(repository, arguments))}, [])
    else:
        _page(session, history.log(repository, arguments, color=session.colour))


@command(
    "gitstate show desktop",
    "gitstate show desktop HEAD~1 -- etc",
    "gitstate show desktop v1:etc/fstab",
    cls=_GitCommand,
)
@_git_arguments
def show(session: Session, words: tuple[str, ...]) -> None:
    """Show what snapshots changed. Takes the options of git show.

    Changes of content are followed by those of owners, modes, ACLs,
    capabilities, devices and hard links.
    """
    name, arguments = _parse(session, words)
    repository = session.opened.repository(name)
    if session.json:
        commits = [one | _by_kind(one["changes"]) for one in history.show_json(repository, arguments)]
        emit(session, "show/1", {"repository": name, "commits": commits}, [])
    else:
        _page(session, history.show(repository, arguments, color=session.colour))


@command(
    "gitstate diff desktop",
    "gitstate diff desktop v1 v2 -- etc",
    "gitstate diff desktop --stat HEAD~5 -- usr/bin",
    cls=_GitCommand,
)
@_git_arguments
@click.option("--times", is_flag=True, help="Show changes of times alone, too.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there are differences; with -q, print nothing.")
def diff(session: Session, words: tuple[str, ...], times: bool, exit_code: bool) -> int:
    """Compare snapshots, or one with the live tree.

    Takes the options of git diff, and two revisions, or one to compare with
    the live tree; by default the one that it was last recorded as.
    """
    name, arguments = _parse(session, words)
    repository = session.opened.repository(name)
    with history.open_comparison(repository, arguments, session.observer) as comparison:
        assert comparison.new is not None
        if session.json:
            ids = {"old": comparison.old.hex(), "new": comparison.new.hex()}
            emit(session, "diff/1", {"repository": name, **ids, **_by_kind(list(comparison.json()))}, [])
        elif not session.quiet:
            _page(session, comparison.lines(color=session.colour, times=times))
        return 1 if (exit_code or session.quiet) and comparison.differs() else 0


def _by_kind(changes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Entries and hard links in two lists, as in ``status`` and ``verify``."""
    return {
        "changes": [one for one in changes if "links" not in one],
        "links": [one for one in changes if "links" in one],
    }


def _page(session: Session, lines: Iterable[bytes]) -> None:
    """Print; on a terminal, through a pager if the output is longer than the screen."""
    stream = iter(lines)
    head: list[bytes] = []
    if sys.stdout.isatty() and not session.quiet:
        head = list(_screen(stream))
        if (more := next(stream, None)) is not None:
            text = (line.decode(errors="replace") for line in chain(head, [more], stream))
            click.echo_via_pager(text, color=None if session.colour else False)
            return
    for line in chain(head, stream):
        write_out(line)


def _screen(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The first lines, as many as fit on the terminal above the next prompt."""
    columns, rows = shutil.get_terminal_size()
    while rows > 1 and (line := next(lines, None)) is not None:
        rows -= 1 + line.count(b"\n", 0, -1) + len(line) // (columns + 1)
        yield line
