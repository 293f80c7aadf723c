"""Refs and configuration read by ourselves: git is the judge, and has the last word on what isn't plain."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitstate.core.errors import DamagedError
from gitstate.store import refs
from gitstate.store.configuration import read_plain, values
from gitstate.store.refs import last_move, list_refs, plain_name, read_ref, read_refs
from gitstate.store.repository import MAIN, Repository
from tests.support import needs
from tests.testing.git import EMPTY_TREE, Git

pytestmark = needs("git")


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A repository with refs of all sorts: packed, loose, both, symbolic, annotated, in directories, of one name."""
    git = Git.create(tmp_path / "r.git", ["user.name=A", "user.email=a@example.com"])
    one, two, three = (git.commit(EMPTY_TREE, message=message).hex() for message in (b"1\n", b"2\n", b"3\n"))
    for name in ("heads/main", "heads/side/way", "heads/both", "tags/light", "tags/lab3/1", "gitstate/live", "x/y/z"):
        git("update-ref", f"refs/{name}", one)
    git("tag", "-a", "-m", "x", "annotated", one)
    git("pack-refs", "--all")
    for name in ("heads/both", "heads/loose", "tags/loose", "heads/émile"):
        git("update-ref", f"refs/{name}", two)
    git("update-ref", "refs/heads/twice", two)
    git("update-ref", "refs/tags/twice", three)
    git("symbolic-ref", "refs/heads/pointer", "refs/heads/both")
    git("symbolic-ref", "refs/heads/dangling", "refs/heads/nothing")
    (git.path / "refs" / "heads" / "both.lock").write_text("")
    return git


def test_all_refs_are_listed_and_read_as_git_does(git: Git) -> None:
    told = git("for-each-ref", "--format=%(objectname) %(refname)").decode().splitlines()
    expected = {name: oid for oid, name in (line.split(" ", 1) for line in told)}
    listed = {name: read_ref(git.path, name) for name in list_refs(git.path)}
    assert listed.pop("refs/heads/dangling") is None
    assert {name: oid.hex() for name, oid in listed.items() if oid} == expected
    assert list(listed) == sorted(listed)
    under = {name: oid for name, oid in expected.items() if name.startswith("refs/tags/")}
    assert {name: oid.hex() for name, oid in read_refs(git.path, "refs/tags/").items()} == under
    assert read_ref(git.path, "HEAD") == read_ref(git.path, MAIN)
    assert read_ref(git.path, "refs/heads/none") is None


@pytest.mark.parametrize(
    "word",
    [
        *("main", "HEAD", "@", "side/way", "both", "loose", "light", "lab3/1", "annotated", "twice", "pointer"),
        *("heads/main", "tags/light", "refs/heads/main", "refs/gitstate/live", "gitstate/live", "x/y/z", "émile"),
        *("dangling", "nothing", "config", "description", "packed-refs", "refs", "heads", "side", "both.lock"),
        *("../r.git/HEAD", "refs/../HEAD", "refs//heads/main", "main/", ".", "", "-x", "a" * 300, "a b", "ma*", "\0"),
    ],
)
def test_a_name_means_what_it_means_to_git_or_is_left_to_git(git: Git, word: str) -> None:
    found = plain_name(git.path, word)
    if found is not None:
        assert found.hex() == git("rev-parse", "--verify", "-q", "--end-of-options", word).decode().strip()
    elif word and word.isalpha() and word.isascii() and "\0" not in word:
        assert git.ask("rev-parse", "--verify", "-q", word).returncode
    if word in ("main", "HEAD", "both", "annotated", "twice", "lab3/1", "refs/gitstate/live"):
        assert found is not None, "that is plain"


@pytest.mark.parametrize(
    "text", [b"", b"noise\n", b"1" * 39 + b"\n", b"ref: HEAD\n", b"ref: refs/../HEAD\n", b"ref:\n"]
)
def test_a_broken_ref_is_no_missing_one(git: Git, text: bytes) -> None:
    (git.path / "refs" / "heads" / "main").write_bytes(text)
    for name in ("HEAD", MAIN):
        with pytest.raises(DamagedError, match=name):
            read_ref(git.path, name)


def test_refs_in_a_circle(git: Git) -> None:
    (git.path / "refs" / "heads" / "a").write_text("ref: refs/heads/b\n")
    (git.path / "refs" / "heads" / "b").write_text("ref: refs/heads/a\n")
    with pytest.raises(DamagedError):
        read_ref(git.path, "refs/heads/a")


@pytest.mark.parametrize("cut", [1, 30, 100])
def test_packed_refs_cut_short_are_damage(git: Git, cut: int) -> None:
    text = (git.path / "packed-refs").read_bytes()
    (git.path / "packed-refs").write_bytes(text[:-cut])
    for ask in (lambda: read_ref(git.path, "refs/x/y/z"), lambda: list_refs(git.path)):
        with pytest.raises(DamagedError, match="packed-refs"):
            ask()


def test_no_ref_is_missed_while_git_packs_them(git: Git, monkeypatch: pytest.MonkeyPatch) -> None:
    """git writes packed-refs, then it removes the loose ones; here it does so after each of our looks."""

    def looking_before_git_packs(look: Callable[..., Any]) -> Callable[..., Any]:
        def looked(*arguments: Any) -> Any:
            found = look(*arguments)
            git("pack-refs", "--all", "--prune")
            return found

        return looked

    for name in ("_loose", "_packed"):
        with monkeypatch.context() as patched:
            patched.setattr(refs, name, looking_before_git_packs(getattr(refs, name)))
            for ask in (
                lambda: read_ref(git.path, "refs/heads/new"),
                lambda: "refs/heads/new" in list_refs(git.path),
                lambda: "refs/heads/new" in read_refs(git.path, "refs/heads/"),
            ):
                git("update-ref", "refs/heads/new", "main")
                assert ask()
                git("update-ref", "-d", "refs/heads/new")


# --- configuration ------------------------------------------------------------------------------------------


def as_git_reads(path: Path) -> dict[str, str] | None:
    """A configuration as git lists it, keys in lower case; None if git refuses it."""
    command = ["git", "config", "--null", "--list", "--file", str(path)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        return None
    items = [item.partition("\n") for item in done.stdout.decode(errors="surrogateescape").split("\0") if item]
    return {key.lower(): value for key, _, value in items}


LINES = st.one_of(
    st.sampled_from(
        ["[core]", "[a.b]", '[a "b c"]', '[ "x"]', "[A-1]", "  [core]  ", "[core] bare = true", "[core", "[]"]
    ),
    st.sampled_from(["bare = true", "\tbare=false", "k = a  b ", "k", "k =", "k = ", "k-2 = x=y", "1k = x", "k_ = x"]),
    st.sampled_from(
        ["# c", "; c", "k = a # c", "k = a;b", 'k = "a"', "k = a\\", "k = \\n", "", "  ", "k = a\tb", "k = é"]
    ),
    st.text('[]k ="\\#;\t\r\x0b\f ab.-1\0\u00a0\u2028', max_size=12),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([[], ["[core]"]]), st.lists(LINES, max_size=4), st.sampled_from(["\n", "\n\n", "\r\n"]))
def test_what_is_plain_is_read_as_git_reads_it(
    tmp_path_factory: pytest.TempPathFactory, head: list[str], lines: list[str], end: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "config-to-read"
    text = end.join([*head, *lines])
    path.write_bytes(text.encode())
    found = read_plain(text)
    if found is not None:
        assert found == as_git_reads(path)


def test_our_own_configurations_are_plain(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "r.git", live=tmp_path / "live of mine")
    text = (repository.path / "config").read_text()
    assert read_plain(text) == as_git_reads(repository.path / "config")
    wanted = values(repository.path)
    assert wanted == {name: repository.settings[name.lower()] for name in wanted}


def test_git_reads_what_is_not_plain(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "r.git", live=tmp_path / 'a "live" tree; # so \\ what')
    assert read_plain((repository.path / "config").read_text()) is None
    assert repository.live == tmp_path / 'a "live" tree; # so \\ what'


# --- logs of refs -----------------------------------------------------------------------------------------------------


def test_the_last_move_of_a_ref_is_what_git_logged(git: Git) -> None:
    git("config", "core.logAllRefUpdates", "true")
    old, new = read_ref(git.path, MAIN), read_ref(git.path, "refs/heads/loose")
    assert last_move(git.path, MAIN) is None
    git("update-ref", "-m", "first\treason: \N{SNOWMAN}", MAIN, "refs/heads/loose")
    assert last_move(git.path, MAIN) == (old, new, "first reason: \N{SNOWMAN}")
    git("update-ref", "-m", "second", MAIN, "refs/heads/side/way")
    assert last_move(git.path, MAIN) == (new, old, "second")
    git("update-ref", "-m", "made", "refs/heads/fresh/branch", "refs/heads/loose")
    assert last_move(git.path, "refs/heads/fresh/branch") == (bytes(20), new, "made")
    assert last_move(git.path, "refs/heads/fresh") is None


@pytest.mark.parametrize("end", ["0" * 39, f"{'0' * 40} {'1' * 40} A <a@b> 1 +0000\tcut", "\n", "x\n"])
def test_a_log_that_is_cut_short_tells_nothing(git: Git, end: str) -> None:
    git("config", "core.logAllRefUpdates", "true")
    git("update-ref", "-m", "x" * 3000, MAIN, "refs/heads/loose")
    assert last_move(git.path, MAIN)
    with open(git.path / "logs" / MAIN, "a") as log:
        log.write(end)
    assert last_move(git.path, MAIN) is None
