"""Small changes: what they write, how much of it, and what happens when it can't be."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from gitstate.core.errors import LockedError
from gitstate.core.signature import Signature
from gitstate.store import MAIN, Commit, Repository, TreeItem, Type, object_id, write_objects
from gitstate.store.objects import FILE, format_tree
from gitstate.store.small import FEW
from tests.support import needs
from tests.testing.git import Git

pytestmark = needs("git")

WHO: Final = Signature("Ada <ada@example.com>", 1_700_000_000, "+0530")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "directory.git", hooked=False)


def change(blobs: int, parent: bytes | None = None) -> tuple[dict[bytes, tuple[Type, bytes]], bytes]:
    """Objects of a commit with so many files, and its id."""
    objects = {}

    def enter(kind: Type, data: bytes) -> bytes:
        oid = object_id(kind, data)
        objects[oid] = kind, data
        return oid

    items = [TreeItem(FILE, b"%d" % number, enter(Type.BLOB, b"%d\n" % number)) for number in range(blobs)]
    tree = enter(Type.TREE, format_tree(items))
    commit = Commit(tree, [parent] if parent else [], WHO, WHO, "m")
    return objects, enter(Type.COMMIT, commit.encode())


@pytest.mark.parametrize("blobs", [0, 1, FEW - 2, FEW - 1, 500])
def test_what_is_written_is_read_by_git(repository: Repository, blobs: int) -> None:
    objects, commit = change(blobs)
    write_objects(repository, objects, [(MAIN, commit, None)], "test: small")
    git = Git(repository.path)
    assert git.fsck() == ""
    assert len(git("ls-tree", "main").splitlines()) == blobs
    assert git("reflog", "main").decode().count("test: small") == 1
    assert all(repository.typed(oid) == one for oid, one in objects.items())
    loose = list((repository.path / "objects").glob("??/*"))
    packs = list((repository.path / "objects" / "pack").glob("*.pack"))
    assert (len(loose), len(packs)) == ((len(objects), 0) if len(objects) <= FEW else (0, 1))
    assert {path.stat().st_mode & 0o777 for path in loose} <= {0o444}
    assert sorted(os.listdir(repository.private)) == []


def test_a_ref_that_moved_stops_it(repository: Repository) -> None:
    objects, commit = change(1)
    write_objects(repository, objects, [(MAIN, commit, None)], "x")
    more, other = change(2)
    with pytest.raises(LockedError):
        write_objects(repository, more, [(MAIN, other, None)], "x")
    assert repository.ref(MAIN) == commit
    assert Git(repository.path).fsck() == ""


def test_what_is_there_already_may_be_written_again(repository: Repository) -> None:
    objects, commit = change(3)
    write_objects(repository, objects, [(MAIN, commit, None)], "x")
    Git(repository.path)("gc", "-q")
    more, second = change(4, commit)
    write_objects(repository, objects | more, [(MAIN, second, commit)], "x")
    assert Git(repository.path).fsck() == ""


def test_one_that_a_crash_cut_short_is_replaced(repository: Repository) -> None:
    objects, commit = change(1)
    for oid in objects:
        path = repository.path / "objects" / oid.hex()[:2] / oid.hex()[2:]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    write_objects(repository, objects, [(MAIN, commit, None)], "x")
    assert Git(repository.path).fsck() == ""
