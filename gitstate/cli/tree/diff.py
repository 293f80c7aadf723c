"""diff."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import takewhile
from typing import Final

import click

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit
from gitstate.cli.tree.git_words import GitCommand, by_kind, git_arguments, page, parse_words
from gitstate.core import fs
from gitstate.core.errors import GitstateError, NotFoundError, UsageError
from gitstate.tree import history
from gitstate.tree.history import Comparison, Side

_SNAPSHOT: Final = re.compile(r"[^@]+@[^{].*", re.DOTALL)
"""REPO@REV; ``main@{1}`` is git's."""
_USAGE: Final = "[REPO] [GIT OPTION]... [REV]... [-- PATH...]"


@command(
    "gitstate diff desktop",
    "gitstate diff desktop v1 v2 -- etc",
    "gitstate diff desktop --stat HEAD~5 -- usr/bin",
    "gitstate diff desktop@v1 kiosk@HEAD -- etc",
    "gitstate diff desktop@HEAD kiosk",
    "gitstate diff lab3-14 lab3-15",
    cls=GitCommand,
)
@git_arguments(_USAGE)
@click.option("--times", is_flag=True, help="Show changes of times alone, too.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there are differences; with -q, print nothing.")
def diff(session: Session, words: tuple[str, ...], times: bool, exit_code: bool) -> int:
    """Compare snapshots, live trees, or machines.

    Takes the options of git diff, and two revisions of REPO, or one to compare
    with the live tree; by default the one that it was last recorded as.

    Two repositories: REPO@REV is a snapshot, REPO alone its live tree. Two
    clients: the snapshots that they boot, and what their layers lay over them.
    """
    sides = _sides(session, words)
    if sides is not None:
        (old, new), arguments = sides
        with history.open_sides(old, new, arguments, session.observer) as comparison:
            return _show(session, old.repository.name, new.repository.name, comparison, times, exit_code)
    hosts = _hosts(session, words)
    if hosts is not None:
        from gitstate.cli.tree.machines import show_machines

        return show_machines(session, hosts, _without(words, hosts), times, exit_code)
    name, arguments = parse_words(session, words)
    repository = session.opened.repository(name)
    with history.open_comparison(repository, arguments, session.observer) as comparison:
        return _show(session, name, name, comparison, times, exit_code)


def _show(session: Session, name: str, other: str, comparison: Comparison, times: bool, exit_code: bool) -> int:
    assert comparison.new is not None
    if session.json:
        ids = {"other": other if other != name else None, "old": comparison.old.hex(), "new": comparison.new.hex()}
        emit(session, "diff/1", {"repository": name, **ids, **by_kind(list(comparison.json()))}, [])
    elif not session.quiet:
        page(session, comparison.lines(color=session.colour, times=times))
    return 1 if (exit_code or session.quiet) and comparison.differs() else 0


# --- which two things -------------------------------------------------------------------------------------------------


def _plain(words: tuple[str, ...]) -> list[str]:
    """The first words that may name something, two at most."""
    return [word for word in takewhile(lambda word: word != "--", words) if not word.startswith("-")][:2]


def _without(words: tuple[str, ...], named: list[str]) -> tuple[str, ...]:
    """git's options, and paths behind ``--``: plain words behind the two names are paths."""
    dashes = words.index("--") if "--" in words else len(words)
    rest = list(words[:dashes])
    for word in named:
        rest.remove(word)
    flags = [word for word in rest if word.startswith("-")]
    paths = [word for word in rest if not word.startswith("-")]
    return (*flags, "--", *paths, *words[dashes + 1 :])


def _sides(session: Session, words: tuple[str, ...]) -> tuple[tuple[Side, Side], tuple[str, ...]] | None:
    """Two snapshots or live trees, each named with its repository; None if the words are others."""
    named = _plain(words)
    if len(named) != 2:
        return None
    if not all(map(_SNAPSHOT.fullmatch, named)) and not all(_is_side(session, word) for word in named):
        return None
    if "@" not in named[0] and _is_revision(session, named[0], named[1]):  # REPO REV, as everywhere
        return None
    old, new = (_side(session, word) for word in named)
    return (old, new), _without(words, named)


def _is_side(session: Session, word: str) -> bool:
    with suppress(UsageError):  # not even a name
        return fs.has_directory(session.opened.site.repository_path(word.partition("@")[0]))
    return False


def _side(session: Session, word: str) -> Side:
    name, at, revision = word.partition("@")
    if at and not revision:
        raise UsageError(f"{word}: a revision is missing", f"{name}@HEAD, or {name} alone for its live tree")
    return Side(session.opened.repository(name), revision or None)


def _is_revision(session: Session, name: str, word: str) -> bool:
    try:
        session.opened.repository(name).resolve(word)
    except NotFoundError:
        return False
    return True


def _hosts(session: Session, words: tuple[str, ...]) -> list[str] | None:
    """Two clients' names; None if the words are others, or mean something in the live tree that we are in.

    Raises NotFoundError if only the first is a client's.
    """
    named = _plain(words)
    if len(named) != 2 or any(_is_side(session, word) for word in named):
        return None
    with suppress(GitstateError):
        here = session.name(None)
        if all(_is_revision(session, here, word) for word in named):
            return None
    directory = session.opened.directory
    try:
        directory.client(named[0].lower())
    except NotFoundError:
        return None
    directory.client(named[1].lower())
    return named
