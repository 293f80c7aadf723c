"""What is staged and published, the refs that move with it, and objects as bytes, against real git."""

from __future__ import annotations

import random
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from gitstate.core.errors import LockedError, RefusedError
from gitstate.core.signature import Signature
from gitstate.store import objects
from gitstate.store.objects import FILE, TREE, Commit, TreeItem, Type, format_tree, object_id
from gitstate.store.repository import MAIN, Repository
from gitstate.store.staging import Staging
from tests.store.harness import WHO, assert_clear, commit, stage
from tests.support import needs
from tests.testing.git import EMPTY_TREE, Git

pytestmark = needs("git")


# --- staging --------------------------------------------------------------------------------------------------------


def test_everything_staged_is_there_and_named_by_its_content(repository: Repository) -> None:
    big = random.Random(1).randbytes(100_000)
    with repository.staging() as staging:
        made = stage(staging, {"a": b"a", "b": b"", "c": b"a"})
        pieces = iter([big, b""])
        assert staging.stream(len(big), pieces.__next__, repository.has_packed) == object_id(Type.BLOB, big)
        assert staging.holds(object_id(Type.BLOB, big))
        assert not staging.holds(object_id(Type.BLOB, b"other"))
        items = [
            TreeItem(FILE, b"big", object_id(Type.BLOB, big)),
            TreeItem(TREE, b"old", repository_tree(staging, b"a")),
        ]
        tree = staging.add(Type.TREE, format_tree(items))
        second = staging.add(Type.COMMIT, Commit(tree, [made], WHO, WHO, "second").encode())
        assert staging.blobs == 3
        staging.publish([(MAIN, second, None)], "test")
    git = Git(repository.path)
    assert git.fsck() == ""
    assert git("cat-file", "blob", "main:big") == big
    assert git("log", "--format=%s|%an|%ae|%aI").decode().splitlines() == [
        "second|Ada|ada@example.com|2023-11-15T03:43:20+05:30",
        "message|Ada|ada@example.com|2023-11-15T03:43:20+05:30",
    ]
    assert list((repository.path / "objects/pack").glob("*.keep")) == []


def repository_tree(staging: Staging, content: bytes) -> bytes:
    return staging.add(Type.TREE, format_tree([TreeItem(FILE, b"x", object_id(Type.BLOB, content))]))


def test_a_known_or_repeated_stream_is_dropped(repository: Repository) -> None:
    known = object_id(Type.BLOB, b"a" * 1000)
    commit(repository, {"a": b"a" * 1000})
    with repository.staging() as staging:
        for _ in range(2):
            assert staging.stream(1000, iter([b"a" * 1000, b""]).__next__, repository.has_packed) == known
            assert staging.stream(1000, iter([b"b" * 1000, b""]).__next__, repository.has_packed) != known
        assert staging.blobs == 1
        assert len(list(staging.directory.iterdir())) == 2, "the main pack and one large one"


def test_threads_stage_at_once(repository: Repository) -> None:
    blobs = {f"{number:04}": b"%d" % (number // 2) for number in range(1000)}
    with repository.staging() as staging, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: staging.blob(object_id(Type.BLOB, data), data), blobs.values()))
        assert staging.blobs == 500
        made = stage(staging, blobs)
        staging.publish([(MAIN, made, None)], "test")
    assert repository.fsck() == []


def test_a_lost_race_loses_nothing_else(repository: Repository) -> None:
    first = commit(repository, {"a": b"1"})
    steps: list[str] = []
    with repository.staging() as staging:
        late = stage(staging, {"a": b"2"}, first)
        second = commit(repository, {"a": b"3"})
        with pytest.raises(LockedError) as caught:
            staging.publish([(MAIN, late, first)], "test", steps.append)
    assert_clear(caught.value)
    assert steps == ["pack", "idx"]
    assert repository.ref(MAIN) == second
    assert list((repository.path / "objects/pack").glob("*.keep")) == []
    with repository.staging() as staging:  # the same pack once more, now where it fits
        assert stage(staging, {"a": b"2"}, first) == late
        staging.publish([("refs/heads/late", late, None)], "test")
    assert Git(repository.path).fsck() == ""
    assert repository.ref("refs/heads/late") == late


# --- refs -----------------------------------------------------------------------------------------------------------


def test_refs_move_from_where_they_are_known_to_be(repository: Repository) -> None:
    first = commit(repository, {"a": b"1"})
    second = commit(repository, {"a": b"2"})
    git = Git(repository.path)
    assert repository.ref(MAIN) == second
    assert repository.ref("refs/heads/nothing") is None
    for move in (
        (MAIN, first, first),
        (MAIN, first, None),
        ("refs/heads/new", first, first),
        (MAIN, second, bytes.fromhex("1" * 40)),
    ):
        with pytest.raises(LockedError) as caught:
            repository.move_refs([("refs/heads/other", first, None), move], "test")
        assert_clear(caught.value)
        assert repository.ref("refs/heads/other") is None, "all or none"
        assert repository.ref(MAIN) == second
    repository.move_refs([("refs/heads/other", first, None), (MAIN, first, second)], "checkin: why")
    assert git("for-each-ref", "--format=%(refname) %(objectname)").decode().split() == [
        *(MAIN, first.hex()),
        *("refs/heads/other", first.hex()),
    ]
    assert git("reflog", "main", "-1", "--format=%gs") == b"checkin: why\n"


def hook(repository: Repository, name: str, text: str) -> None:
    place = repository.path / "hooks" / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)


def test_moving_refs_runs_gits_hooks(repository: Repository) -> None:
    log = repository.path / "log"
    hook(repository, "reference-transaction", f'echo "$1" >>{log}; cat >>{log}')
    made = commit(repository, {"a": b"1"})
    told = log.read_text().splitlines()
    assert f"{'0' * 40} {made.hex()} {MAIN}" in told
    assert "committed" in told


def test_what_a_hook_refuses_is_not_called_a_race(repository: Repository) -> None:
    first = commit(repository, {"a": b"1"})
    hook(repository, "reference-transaction", '[ "$1" != prepared ]')
    with pytest.raises(RefusedError) as caught:
        commit(repository, {"a": b"2"})
    assert "hook" in caught.value.message
    assert_clear(caught.value)
    assert repository.ref(MAIN) == first


# --- objects as bytes -----------------------------------------------------------------------------------------------


def test_ids_and_trees_are_gits(repository: Repository) -> None:
    git = Git(repository.path)
    for data in (b"", b"x", bytes(1000)):
        assert object_id(Type.BLOB, data).hex().encode() == git("hash-object", "--stdin", stdin=data).strip()
    blob = git.put(3, b"x")
    git.put(2, b"")
    items = [
        *(TreeItem(objects.FILE, name, blob) for name in (b"a", b"a.b", b"a-b", b"b\xff", b"z\n", b"ab")),
        *(TreeItem(objects.TREE, name, EMPTY_TREE) for name in (b"a0", b"b", b"A")),
        TreeItem(objects.EXECUTABLE, b"a1", blob),
        TreeItem(objects.SYMLINK, b"l", blob),
    ]
    listing = b"".join(
        b"%06o %s %s\t%s\0" % (mode, b"tree" if mode == TREE else b"blob", oid.hex().encode(), name)
        for mode, name, oid in items
    )
    tree = format_tree(items)
    assert object_id(Type.TREE, tree).hex().encode() == git("mktree", "-z", stdin=listing).strip()
    assert sorted(objects.parse_tree(tree)) == sorted(items)
    assert format_tree(objects.parse_tree(tree)) == tree


def test_a_commit_is_as_git_writes_it(repository: Repository) -> None:
    git = Git(repository.path)
    git.put(2, b"")
    ours = Commit(
        EMPTY_TREE, [], Signature("A B <a@b>", 5, "-0800"), Signature("C <c@d>", 6), "\n\nsubject\n\nbody é\n\n"
    ).encode()
    variables = ["GIT_AUTHOR_NAME=A B", "GIT_AUTHOR_EMAIL=a@b", "GIT_AUTHOR_DATE=@5 -0800"]
    variables += ["GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@d", "GIT_COMMITTER_DATE=@6 +0000"]
    command = [
        "env",
        *variables,
        "git",
        f"--git-dir={git.path}",
        "commit-tree",
        EMPTY_TREE.hex(),
        "-m",
        "subject\n\nbody é",
    ]
    assert (
        subprocess.run(command, check=True, capture_output=True).stdout.decode().strip()
        == object_id(Type.COMMIT, ours).hex()
    )
