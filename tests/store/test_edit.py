"""Trees edited by paths, judged by git's own index."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gitstate.store import Type, write_objects
from gitstate.store.edit import NewObjects, edit_tree
from gitstate.store.objects import EXECUTABLE, FILE
from gitstate.store.repository import Repository
from tests.testing.git import EMPTY_TREE

PATHS = st.lists(st.sampled_from([b"a", b"b", b"a.b", b"a-", b"c0"]), min_size=1, max_size=3).map(b"/".join)
EDITS = st.dictionaries(PATHS, st.none() | st.tuples(st.sampled_from([FILE, EXECUTABLE]), st.binary(max_size=2)))


def clear(edits: dict[bytes, tuple[int, bytes] | None]) -> dict[bytes, tuple[int, bytes] | None]:
    """Without paths that lie below others."""
    return {path: entry for path, entry in edits.items() if not any(path.startswith(one + b"/") for one in edits)}


@settings(max_examples=60, deadline=None)
@given(st.lists(EDITS.map(clear), max_size=4))
def test_a_tree_is_what_it_would_be_if_made_anew(steps: list[dict[bytes, tuple[int, bytes] | None]]) -> None:
    objects = NewObjects()
    root, files = None, {}
    for edits in steps:
        stored = {path: entry and (entry[0], objects.add(Type.BLOB, entry[1])) for path, entry in edits.items()}
        root = edit_tree(lambda oid: objects[oid][1], root, stored, objects)
        for path, entry in stored.items():
            above = [one for one in files if path.startswith(one + b"/")]
            for gone in (path, *(one for one in files if one.startswith(path + b"/")), *above):
                files.pop(gone, None)
            if entry:
                files[path] = entry
        assert root == edit_tree(lambda oid: b"", None, files, objects)
    if not files and root:
        assert root == EMPTY_TREE


def test_git_sees_the_same_files(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "r.git", hooked=False)
    objects = NewObjects()
    blob = objects.add(Type.BLOB, b"x")
    root = edit_tree(repository.read, None, {b"a/b/c": (FILE, blob), b"a.c": (EXECUTABLE, blob)}, objects)
    write_objects(repository, objects, [], "test")
    again = NewObjects()
    root = edit_tree(repository.read, root, {b"a/b/c": None, b"a/d": (FILE, blob)}, again)
    assert len(again) == 2, "trees that stay are not written again"
    write_objects(repository, again, [], "test")
    listed = repository.git("ls-tree", "-r", root.hex()).decode().split("\n")[:-1]
    assert listed == [f"100755 blob {blob.hex()}\ta.c", f"100644 blob {blob.hex()}\ta/d"]
    assert repository.fsck() == []
