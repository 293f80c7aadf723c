"""What a package manager's run changed, in one line and in many."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.store.site import Site
from gitstate.tree import checkin
from gitstate.tree.shell.packages import Packages, compare, message, parse
from gitstate.tree.shell.record import Recorder
from gitstate.tree.shell.requests import Request

NAMES = st.text("abc+-.", min_size=1, max_size=3).map(lambda text: f"a{text}")
VERSIONS = st.sets(st.sampled_from(("1", "2", "1:3~rc1")), min_size=1, max_size=2)
INSTALLED = st.dictionaries(NAMES, VERSIONS, max_size=6)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (b"a 1\n", b"a 1\n", "no package changed"),
        (b"a 1\n", b"a 2\n", "a 1 -> 2"),
        (b"firefox-esr 140\nold 1\n", b"firefox-esr 153\nnew 1\nlib 2\n", "firefox-esr 140 -> 153, +2 -1"),
        (b"", b"hello 2.10-3\n", "+hello 2.10-3"),
        (b"a 1\nb 1\n", b"c 1\n", "+c 1, -a 1, -b 1"),
        (b"linux 1\nlinux 2\n", b"linux 2\nlinux 3\n", "linux 1 -> 3"),
        (b"linux 1\n", b"linux 1\nlinux 2\n", "+linux 2"),
        (b"", b"a 1\nb 1\nc 1\nd 1\n", "+4"),
        (b"a 1\nb 1\nc 1\nd 1\n", b"a 2\nb 2\nc 2\nd 2\n", "a 1 -> 2, b 1 -> 2, c 1 -> 2 and 1 more"),
        (b"libc6:amd64 2.36\n", b"libc6:amd64 2.37\n", "libc6:amd64 2.36 -> 2.37"),
    ],
)
def test_the_summary_names_few_and_counts_many(before: bytes, after: bytes, told: str) -> None:
    text = message("apt", compare(parse(before), parse(after)))
    assert text.partition("\n")[0] == f"apt: {told}"
    assert ("\n\n" in text) == ("+4" in told or "more" in told or "+2 -1" in told)


def test_what_is_no_line_of_a_list_is_left_out() -> None:
    assert parse(b"a 1\n\x1b[2J 1\nb\nc 1 2\n-d 1\n" + b"e" * 300 + b" 1\nf \xff\n\n") == {"a": {"1"}}


@given(INSTALLED, INSTALLED)
def test_the_changes_make_the_one_out_of_the_other(before: dict[str, set[str]], after: dict[str, set[str]]) -> None:
    changes = compare(before, after)
    made = {(name, version) for name, versions in before.items() for version in versions}
    for name, old, new in changes.upgraded:
        made = made - {(name, old)} | {(name, new)}
    made = made - set(changes.removed) | set(changes.added)
    assert made == {(name, version) for name, versions in after.items() for version in versions}
    assert (changes == Packages((), (), ())) == (before == after)


def test_a_full_disk_ends_no_package_manager(tmp_path: Path) -> None:
    """It is told, as all that goes wrong: the shell would end, and dpkg in the middle of its work."""

    def full() -> checkin.Request:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    recorder = Recorder(Site.create(tmp_path / "site"), None, full)
    assert recorder.answer(Request(True, "apt", b"")).startswith("not checked in before apt: No space left on device")
