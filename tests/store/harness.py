"""What tests of repositories share."""

from __future__ import annotations

from typing import Final

from gitstate.core.errors import GitstateError
from gitstate.core.signature import Signature
from gitstate.store.objects import FILE, Commit, TreeItem, Type, format_tree, object_id
from gitstate.store.repository import MAIN, Repository
from gitstate.store.staging import Staging

WHO: Final = Signature("Ada <ada@example.com>", 1_700_000_000, "+0530")


def stage(staging: Staging, contents: dict[str, bytes], *parents: bytes, message: str = "message") -> bytes:
    """A commit of these files, staged."""
    items = []
    for name, data in contents.items():
        staging.blob(object_id(Type.BLOB, data), data)
        items.append(TreeItem(FILE, name.encode(), object_id(Type.BLOB, data)))
    tree = staging.add(Type.TREE, format_tree(items))
    return staging.add(Type.COMMIT, Commit(tree, parents, WHO, WHO, message).encode())


def commit(
    repository: Repository, contents: dict[str, bytes], *parents: bytes, ref: str = MAIN, message: str = "message"
) -> bytes:
    """A commit of these files, published; by default on top of the ref."""
    tip = repository.ref(ref)
    with repository.staging() as staging:
        made = stage(staging, contents, *(parents or ([tip] if tip else [])), message=message)
        staging.publish([(ref, made, tip)], f"test: {message}")
    return made


def assert_clear(error: GitstateError) -> None:
    """One line that says what to do."""
    assert "\n" not in str(error)
    assert error.hint
    assert "Traceback" not in str(error)
