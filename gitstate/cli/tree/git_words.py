"""What log, show, diff and blame share: git's own arguments beside ours, and a pager."""

from __future__ import annotations

import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, takewhile
from typing import Any

import click

from gitstate.cli.base.app import Function, Session, complete_repository
from gitstate.cli.base.help import Command
from gitstate.cli.base.output import write_out
from gitstate.cli.base.paths import DASHES, is_inside, locate
from gitstate.tree.history.arguments import matches_nothing, relocated


class GitCommand(Command):
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


def git_arguments(metavar: str = "[REPO] [GIT OPTION]... [REV]... [-- PATH...]") -> Callable[[Function], Function]:
    """REPO and whatever git takes."""
    return click.argument("words", nargs=-1, metavar=metavar, shell_complete=complete_repository)


def parse_words(session: Session, words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """REPO, wherever it is among git's arguments, and the other arguments."""
    plain = [word for word in takewhile(lambda word: word != "--", words) if not word.startswith("-")]
    name, rest = session.split(words, plain)
    return name, tuple(_from_root(session, name, rest))


def _from_root(session: Session, name: str, words: Sequence[str]) -> Iterator[str]:
    """The words, with paths from the root of the snapshot; says which of those behind ``--`` are nowhere.

    In front of it a word is a path if something of that name stands in the live tree.
    """
    repository = session.opened.repository(name)
    find, here = locate(repository.live), is_inside(repository.live)
    rest = deque(words)
    while rest and rest[0] != DASHES:
        word = rest.popleft()
        is_path = here and not word.startswith((":", "-")) and os.path.lexists(word) and not repository.identify(word)
        yield relocated(word, find).removeprefix("/") or ":/" if is_path else word
    if rest:
        yield rest.popleft()
    for word in rest:
        path = relocated(word, find)
        if matches_nothing(repository, path):
            session.observer.notice(f"{path} is in no snapshot of {name}")
        yield path


def by_kind(changes: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Entries and hard links in two lists, as in ``status`` and ``verify``."""
    return {
        "changes": [one for one in changes if "links" not in one],
        "links": [one for one in changes if "links" in one],
    }


def page(session: Session, lines: Iterable[bytes]) -> None:
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
