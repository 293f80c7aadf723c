"""Where edits made on a snapshot go: a new branch, the branch that they were made on, one that has moved on since."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import needs, root_only
from tests.tree.overlay.harness import Below, Overlay

pytestmark = [needs("git", "mount"), root_only]


@pytest.fixture
def below(tmp_path: Path) -> Below:
    return Below(tmp_path)


@pytest.fixture
def edited(below: Below) -> Path:
    """An upper directory with one edit: of etc/hosts."""
    overlay = Overlay(below, below.place / "overlay")
    with overlay.mounted() as shown:
        (shown / "etc/hosts").write_text("edited\n")
    return overlay.upper


def checkin(below: Below, *words: str, code: int = 0) -> str:
    done = below.site.run("checkin", "desktop", "-m", "edited", "--upper", *words, code=code)
    return done.stdout + done.stderr


def ids(below: Below, *revisions: str) -> list[str]:
    return [below.site.git("desktop", "rev-parse", one).strip() for one in revisions]


def on_main(below: Below, path: str, text: str) -> None:
    """Somebody else's check-in."""
    (below.place / "root" / path).write_text(text)
    below.site.run("checkin", "desktop", "-m", "elsewhere")


def test_a_new_branch_begins_at_the_snapshot_below(below: Below, edited: Path) -> None:
    on_main(below, "a/d/four", "on main\n")
    checkin(below, str(edited), "--base", "main~1", "--branch", "checkin/lab3-12/20261130T170000Z")
    (parent, old) = ids(below, "checkin/lab3-12/20261130T170000Z^", "main~1")
    assert parent == old
    assert below.site.git(
        "desktop", "diff", "--name-only", "main~1", "checkin/lab3-12/20261130T170000Z", "--", "etc/hosts"
    )


def test_a_live_tree_was_not_recorded_as_what_came_from_elsewhere(below: Below, edited: Path) -> None:
    checkin(below, str(edited))
    assert "since " + ids(below, "main~1")[0][:7] in below.site.out("status", "desktop")
    below.site.run("checkin", "desktop", "-m", "live", code=12)


def test_a_branch_that_moved_on_is_merged(below: Below, edited: Path) -> None:
    on_main(below, "a/d/four", "on main\n")
    checkin(below, str(edited), "--base", "main~1")
    tip, first, second, was = ids(below, "main", "main^1", "main^2", "main^2~1")
    assert ids(below, "main^1~1") == [was]
    assert len({tip, first, second, was}) == 4
    assert below.site.git("desktop", "show", "main:etc/hosts") == "edited\n"
    assert below.site.git("desktop", "show", "main:a/d/four") == "on main\n"
    assert "nothing changed" in checkin(below, str(edited), "--base", was)
    assert ids(below, "main") == [tip]
    below.site.run("fsck")


def test_what_does_not_go_together_changes_nothing(below: Below, edited: Path) -> None:
    on_main(below, "etc/hosts", "on main\n")
    before = below.site.git("desktop", "for-each-ref")
    said = checkin(below, str(edited), "--base", "main~1", code=12)
    assert "/etc/hosts (both sides changed its content)" in said
    assert said in checkin(below, str(edited), "--base", "main~1", "-n", code=12)
    assert below.site.git("desktop", "for-each-ref") == before


def test_texts_that_both_changed_are_merged_by_line(below: Below) -> None:
    lines = [f"line {number}\n" for number in range(9)]
    on_main(below, "etc/hosts", "".join(lines))
    overlay = Overlay(below, below.place / "lines")
    with overlay.mounted() as shown:
        (shown / "etc/hosts").write_text("".join([*lines[:-1], "edited\n"]))
    on_main(below, "etc/hosts", "".join(["on main\n", *lines[1:]]))
    checkin(below, str(overlay.upper), "--base", "main~1")
    assert below.site.git("desktop", "show", "main:etc/hosts") == "".join(["on main\n", *lines[1:-1], "edited\n"])


def test_a_snapshot_that_is_not_there_is_named(below: Below, edited: Path) -> None:
    below.site.refuses(
        10, "checkin", "desktop", "-m", "x", "--upper", str(edited), "--base", "0" * 40, naming="0000000"
    )


@pytest.mark.parametrize(
    "words",
    [("--base", "main"), ("--upper", "U", "--tar", "T"), ("--upper", "U", "--live", "L"), ("--tar", "T", "--replace")],
)
def test_options_that_exclude_each_other(below: Below, words: tuple[str, ...]) -> None:
    below.site.refuses(2, "checkin", "desktop", "-m", "x", *words)
