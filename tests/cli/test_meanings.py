"""Other programs' words: each leads to a command of ours, wherever it is suggested, and says nothing that isn't so."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import click
import pytest

from gitstate.cli.base.app import app
from gitstate.cli.base.help import BY_MEANING, PLAIN_GIT
from tests.support import needs


def groups(group: click.Group, ctx: click.Context) -> Iterator[tuple[click.Group, click.Context]]:
    """A group and those below it, each with its context."""
    yield group, ctx
    for name in group.list_commands(ctx):
        below = group.get_command(ctx, name)
        if isinstance(below, click.Group):
            yield from groups(below, click.Context(below, parent=ctx, info_name=name))


GROUPS = list(groups(app, click.Context(app, info_name="gitstate")))


def exists(group: click.Group, ctx: click.Context, path: str) -> bool:
    """Whether a command of a group, or of one below it, has that path."""
    found: click.Command | None = group
    for name in path.split():
        found = found.get_command(ctx, name) if isinstance(found, click.Group) else None
    return found is not None


@pytest.mark.parametrize("word", BY_MEANING)
def test_a_word_leads_to_commands(word: str) -> None:
    suggested: set[str] = set()
    for group, ctx in GROUPS:
        if group.get_command(ctx, word) is None:
            first = [path for path in BY_MEANING[word] if group.get_command(ctx, path.split()[0])]
            assert [path for path in first if not exists(group, ctx, path)] == [], (ctx.info_name, word)
            suggested |= {*first}
    assert suggested == {*BY_MEANING[word]} or app.get_command(GROUPS[0][1], word) is not None


@needs("git")
@pytest.mark.parametrize("word", PLAIN_GIT)
def test_git_has_the_command(word: str) -> None:
    known = subprocess.run(["git", "--list-cmds=main"], capture_output=True, text=True, check=True).stdout.split()
    assert PLAIN_GIT[word].split()[3] in known
    assert app.get_command(click.Context(app), word) is None
