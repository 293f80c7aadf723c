"""Revisions against real git, and the commits that they name."""

from __future__ import annotations

import os

import pytest

from gitstate.core.errors import DamagedError, NotFoundError
from gitstate.store.objects import Type, object_id
from gitstate.store.repository import MAIN, Repository
from tests.store.harness import assert_clear, commit
from tests.support import needs
from tests.testing.git import EMPTY_TREE, Git

pytestmark = needs("git")


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Three commits on main, a side branch merged, and tags of every sort."""
    repository = Repository.create(tmp_path_factory.mktemp("past") / "desktop.git")
    first = commit(repository, {"a": b"1"}, message="first thing")
    commit(repository, {"a": b"2"}, message="second thing")
    side = commit(repository, {"b": b"x"}, first, ref="refs/heads/side/way", message="aside")
    tip = repository.ref(MAIN)
    assert tip is not None
    commit(repository, {"a": b"3"}, tip, side, message="third thing")
    git = Git(repository.path, ["user.name=A", "user.email=a@example.com"])
    git("tag", "light", first.hex())
    git("tag", "-a", "-m", "x", "lab3/1", tip.hex())
    git("tag", "-a", "-m", "x", "of-a-tag", "lab3/1")
    git("tag", "of-a-tree", "main^{tree}")
    git("tag", "of-a-blob", "main:a")
    git("update-ref", "refs/gitstate/live", first.hex())
    git("pack-refs", "--all")
    git("branch", "loose", first.hex())
    return repository


@pytest.mark.parametrize(
    "revision",
    [
        *("main", "HEAD", "@", "heads/main", "refs/heads/main", "side/way", "loose", "refs/gitstate/live"),
        *("tags/light", "light", "lab3/1", "refs/tags/lab3/1", "of-a-tag", "of-a-tag^{}", "lab3/1^{commit}"),
        *("lab3/1~1", "lab3/1^0"),
        *("main^", "main~1", "main^2", "main^1^", "main~2", "main^0", "main^^", "HEAD~1^{commit}", "main^{/second}"),
        *("main@{0}", "main@{1}", "@{1}", "main~99", "main^3", "main^{tree}", "main:a", "main:"),
        *("of-a-tree", "of-a-blob", "^main", "main^!", "main^@", "main...light"),
        *("nothing", "", "-x", "--all", "light..main", "a b", "*", "é", "\udcff", "main^{nothing}", "main~x", "0" * 40),
        *("f" * 40, "main.lock", "..", "refs/heads/", "main/", "a" * 300, "mai", "lab3", "MAIN"),
    ],
)  # fmt: skip
def test_revisions_are_gits(past: Repository, revision: str) -> None:
    git = Git(past.path)
    name = os.fsdecode(revision.encode("utf-8", "surrogateescape")) + "^{commit}"
    told = git.ask("rev-parse", "--verify", "--quiet", "--end-of-options", name)
    if told.returncode == 0 and not told.stdout.startswith(b"^"):
        assert past.resolve(revision).hex() == told.stdout.decode().strip()
    else:
        with pytest.raises(NotFoundError) as caught:
            past.resolve(revision)
        assert_clear(caught.value)


def test_ids_may_be_short_and_in_capitals(past: Repository) -> None:
    for oid in past.first_parents(past.resolve("main"), 10):
        for text in (oid.hex(), oid.hex()[:12], oid.hex().upper()):
            assert past.resolve(text) == oid


@pytest.mark.parametrize(
    ("revision", "hint"),
    [
        ("mian", "did you mean main?"),
        ("side/wya", "did you mean side/way?"),
        ("lab3/2", "did you mean lab3/1?"),
        ("zzz", "its branches and tags: lab3/1, light, loose, main, of-a-blob and 3 more"),
    ],
)
def test_the_nearest_names_are_suggested(past: Repository, revision: str, hint: str) -> None:
    with pytest.raises(NotFoundError, match=f"desktop has no revision '{revision}'") as caught:
        past.resolve(revision)
    assert caught.value.hint == hint


def test_before_the_first_check_in_there_is_nothing(repository: Repository) -> None:
    for revision in ("main", "HEAD", "HEAD~1", "nothing"):
        with pytest.raises(NotFoundError) as caught:
            repository.resolve(revision)
        assert "nothing is checked in yet" in caught.value.hint
    assert repository.ref(MAIN) is None
    assert repository.names() == []


def test_names_and_parents_are_gits(past: Repository) -> None:
    git = Git(past.path)
    listed = git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", "refs/tags").decode().split()
    assert sorted(past.names()) == sorted(listed)
    line = git("rev-list", "--first-parent", "main").decode().split()
    main = past.resolve("main")
    assert [oid.hex() for oid in past.first_parents(main, 10)] == line
    assert [oid.hex() for oid in past.first_parents(main, 2)] == line[:2]
    assert past.ref("refs/tags/of-a-tag") == past.ref("refs/tags/lab3/1") == past.resolve("main^")


def test_a_snapshot_is_its_commit(past: Repository) -> None:
    snapshot = past.snapshot(past.resolve("main"))
    git = Git(past.path)
    told = git("log", "-1", "--format=%H %T %P", "main").decode().split()
    assert [snapshot.oid.hex(), snapshot.tree.hex(), *(oid.hex() for oid in snapshot.parents)] == told
    assert snapshot.author == "Ada <ada@example.com>"
    assert snapshot.when == 1_700_000_000
    assert snapshot.message == "third thing\n"


@pytest.mark.parametrize(
    ("head", "message", "author", "read"),
    [
        (b"", "é\n".encode(), "Zoë <z@x>", "é\n"),
        (b"encoding ISO-8859-1\n", b"\xe9\n", "Zo\xc3\xab <z@x>", "é\n"),
        (b"encoding nonsense\n", b"\xe9\n", "Zoë <z@x>", "\ufffd\n"),
        (b"encoding idna\n", b"\xe9\n", "Zoë <z@x>", "\ufffd\n"),
        (b"encoding hex\n", b"\xe9\n", "Zoë <z@x>", "\ufffd\n"),
        (b"", b"\xff\xfe\n", "Zoë <z@x>", "\ufffd\ufffd\n"),
        (b"", b"", "Zoë <z@x>", ""),
        (b"gpgsig -----BEGIN\n x\n", b"signed\n", "Zoë <z@x>", "signed\n"),
    ],
)
def test_commits_in_any_encoding_are_read(
    repository: Repository, head: bytes, message: bytes, author: str, read: str
) -> None:
    lines = [b"tree " + EMPTY_TREE.hex().encode(), "author Zoë <z@x> 1 +0000".encode(), b"committer C <c@x> 2 +0000"]
    oid = Git(repository.path).put(1, b"\n".join(lines) + b"\n" + head + b"\n" + message)
    snapshot = repository.snapshot(oid)
    assert (snapshot.message, snapshot.author, snapshot.when) == (read, author, 2)


@pytest.mark.parametrize(
    "body", [b"", b"tree x\n", b"tree " + b"0" * 40 + b"\n", b"\xff" * 100, b"author A <a@b> 1 +0000\n\nx"]
)
def test_a_broken_commit_is_damage(repository: Repository, body: bytes) -> None:
    oid = Git(repository.path).put(1, body)
    with pytest.raises(DamagedError) as caught:
        repository.snapshot(oid)
    assert_clear(caught.value)


def test_no_commit_is_no_snapshot(past: Repository) -> None:
    for oid in (bytes(20), b"\xff" * 20, EMPTY_TREE, object_id(Type.BLOB, b"1")):
        with pytest.raises(DamagedError) as caught:
            past.snapshot(oid)
        assert_clear(caught.value)
