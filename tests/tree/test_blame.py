"""blame on real repositories; plain git is the judge."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitstate.core.errors import GitstateError, NotFoundError, UsageError
from gitstate.tree.history import blame
from tests.tree.test_history import DIRECTORY, ZERO_DEVICE, History, file


@pytest.fixture
def sample(tmp_path: Path) -> History:
    history = History(tmp_path / "desktop.git")
    first = [(b"etc/fstab", file("a\nb\n")), (b"etc/.gitignore", file("x\n")), (b"etc/[a]*", file("odd\n"))]
    history.commit("first", [*first, (b"dev/zero", ZERO_DEVICE), (b"srv", DIRECTORY)])
    history.commit("second", [(b"etc/fstab", file("a\nc\n\tb \xe9\n")), (b"etc/.gitignore", file("x\ny\n"))])
    history.commit("owner alone", [(b"etc/fstab", file("a\nc\n\tb \xe9\n", 0o600, gid=42))])
    return history


def ask(sample: History, *words: str) -> str:
    return b"".join(blame.ask(sample.repository, words).output()).decode()


@pytest.mark.parametrize(
    ("words", "plain"),
    [
        (["etc/fstab"], ["main", "--", "etc/fstab"]),
        (["--", "/etc/fstab"], ["main", "--", "etc/fstab"]),
        (["main~2", "etc/fstab"], ["main~2", "--", "etc/fstab"]),
        (["-L", "2,3", "etc/fstab"], ["-L2,3", "main", "--", "etc/fstab"]),
        (["--porcelain", "-w", "etc/fstab"], ["--porcelain", "-w", "main", "--", "etc/fstab"]),
        (["main~2..main", "etc/fstab"], ["main~2..main", "--", "etc/fstab"]),
        (["etc/.gitignore"], ["main", "--", "etc/.gitstate=.gitignore"]),
        (["--", "etc/[a]*"], ["main", "--", "etc/[a]*"]),
    ],
)
def test_it_prints_what_git_prints_of_the_stored_file(sample: History, words: list[str], plain: list[str]) -> None:
    assert ask(sample, *words) == sample.git("blame", *plain)


def test_lines(sample: History) -> None:
    first, second = (sample.git("rev-parse", f"main~{number}").strip() for number in (2, 1))
    found = list(blame.ask(sample.repository, ["etc/fstab"]).lines())
    assert [(one.number, one.commit, one.text) for one in found] == [
        (1, first, "a"),
        (2, second, "c"),
        (3, second, "\tb é"),
    ]
    assert {one.author for one in found} == {"A <a@example.org>"}
    assert found[0].when < found[1].when


@pytest.mark.parametrize(
    ("words", "kind", "said"),
    [
        ([], UsageError, "one file"),
        (["--", "etc/fstab", "etc/.gitignore"], UsageError, "one file"),
        (["etc"], UsageError, "/etc is a directory"),
        (["dev/zero"], UsageError, "/dev/zero is no file"),
        (["--", "etc/gone"], NotFoundError, "/etc/gone"),
        (["etc/gone"], NotFoundError, "etc/gone"),
        (["gone"], NotFoundError, "no revision 'gone' and no such path .*put -- before paths"),
        (["gone~1", "etc/fstab"], NotFoundError, "no revision 'gone~1' .its branches"),
        (["--", "etc/.gitstate"], NotFoundError, "/etc/.gitstate"),
        (["--contents=/etc/passwd", "etc/fstab"], UsageError, "--contents"),
        (["--no-such-flag", "etc/fstab"], UsageError, "no-such-flag"),
        (["--", "../etc/passwd"], UsageError, "not a path"),
    ],
)
def test_what_it_refuses(sample: History, words: list[str], kind: type[GitstateError], said: str) -> None:
    with pytest.raises(kind, match=said):
        ask(sample, *words)
