"""Paths on the command line begin at the current directory inside a live tree, else at the root."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.errors import UsageError
from gitstate.core.names import tree_path
from tests.gitstate_command import Site, make_site
from tests.support import root_only

parts = st.lists(st.sampled_from([b"a", b"b", b".", b"..", b""]), max_size=6)


@given(parts, st.lists(st.sampled_from([b"x", b"y"]), max_size=3))
def test_relative_paths_are_what_the_kernel_makes_of_them(words: list[bytes], here: list[bytes]) -> None:
    text, below = b"/".join(words), b"/".join(here)
    if text.startswith(b"/"):
        return
    expected = os.path.normpath(b"/R/" + below + b"/" + text)
    depth, highest = len(here), 0
    for word in words:
        depth += {b"..": -1}.get(word, word not in (b"", b"."))
        highest = min(highest, depth)
    if highest < 0:
        with pytest.raises(UsageError):
            tree_path(text, below)
    else:
        assert tree_path(text, below) == expected.removeprefix(b"/R").removeprefix(b"/")


def test_without_a_live_tree_nothing_climbs() -> None:
    with pytest.raises(UsageError):
        tree_path(b"etc/../passwd")
    assert tree_path(b"/etc//./passwd") == b"etc/passwd"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with a live tree of three snapshots."""
    place = tmp_path_factory.mktemp("paths")
    (place / "live" / "etc").mkdir(parents=True)
    site = make_site(place / "site")
    site.run("prototype", "create", "p", "--live", str(place / "live"))
    for name in ("fstab", "hosts"):
        (place / "live" / "etc" / name).write_text(f"{name}\n")
        site.run("checkin", "p", "-m", name)
    (place / "live" / "etc" / "fstab").unlink()
    site.run("checkin", "p", "-m", "removed")
    return place


def subjects(place: Path, *words: str, cwd: Path) -> list[str]:
    done = Site(place / "site").run("log", "--format=%s", *words, cwd=cwd)
    assert "in no snapshot" not in done.stderr
    return done.stdout.splitlines()


@root_only
def test_log_begins_at_the_current_directory(place: Path) -> None:
    etc = place / "live" / "etc"
    assert subjects(place, "--", "hosts", cwd=etc) == ["hosts"]
    assert subjects(place, "hosts", cwd=etc) == ["hosts"]
    assert subjects(place, "--", "fstab", cwd=etc) == ["removed", "fstab"]
    assert subjects(place, "-n", "1", ".", cwd=etc) == ["removed"]
    assert subjects(place, "--", ":/etc/hosts", "/etc/fstab", cwd=etc) == ["removed", "hosts", "fstab"]
    assert subjects(place, "--", str(etc / "hosts"), cwd=etc) == ["hosts"]
    assert subjects(place, "p", "--", "etc/hosts", cwd=place) == ["hosts"]
    assert subjects(place, "HEAD", "--", ":!fstab", ".", cwd=etc) == ["hosts", "fstab"]  # which made etc


@root_only
def test_a_path_that_matches_nothing_is_told(place: Path) -> None:
    site = Site(place / "site")
    for words, cwd in (
        (("log", "p", "--", "etc/hsots"), place),
        (("diff", "HEAD~1", "--", "hsots"), place / "live/etc"),
    ):
        done = site.run(*words, cwd=cwd)
        assert "/etc/hsots is in no snapshot of p" in done.stderr
    site.refuses(2, "log", "--", "../../x", naming="../../x", cwd=place / "live" / "etc")


@root_only
def test_an_allowance_begins_there_too(place: Path) -> None:
    (place / "live" / "etc" / "ssh").mkdir()
    (place / "live" / "etc" / "ssh" / "ssh_host_rsa_key").write_text("key\n")
    words = ("checkin", "-n", "-m", "x", "--because", "a test", "--allow")
    Site(place / "site").run(*words, "ssh/ssh_host_rsa_key", cwd=place / "live" / "etc")
    Site(place / "site").run(*words, "etc/ssh/ssh_host_rsa_key", cwd=place / "live" / "etc", code=4)
