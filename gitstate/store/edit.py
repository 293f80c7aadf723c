"""A git tree with some of its files replaced, and the new objects that it takes. Writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gitstate.store.objects import TREE, TreeItem, Type, format_tree, object_id, parse_tree

Read = Callable[[bytes], bytes]
"""From an object's id to its content."""

Edits = Mapping[bytes, tuple[int, bytes] | None]
"""From stored paths to git's mode and the id of what is to stand there, None to remove it."""


class NewObjects(dict[bytes, tuple[Type, bytes]]):
    """Objects to be written: type and content by id."""

    def add(self, kind: Type, data: bytes) -> bytes:
        """Add an object; its id."""
        oid = object_id(kind, data)
        self[oid] = kind, data
        return oid


def edit_tree(read: Read, root: bytes | None, edits: Edits, objects: NewObjects) -> bytes:
    """The id of the tree ``root`` after ``edits``; new trees are added to ``objects``.

    Directories are created as needed, in place of a file too, and removed when they become empty. Raises DamagedError.
    """
    return _edit(read, root, edits, objects) or objects.add(Type.TREE, b"")


def _edit(read: Read, tree: bytes | None, edits: Edits, objects: NewObjects) -> bytes | None:
    """None for a tree that has become empty."""
    here: dict[bytes, tuple[int, bytes] | None] = {}
    below: dict[bytes, dict[bytes, tuple[int, bytes] | None]] = {}
    for path, entry in edits.items():
        name, slash, rest = path.partition(b"/")
        if slash:
            below.setdefault(name, {})[rest] = entry
        else:
            here[name] = entry
    items = {item.name: item for item in parse_tree(read(tree))} if tree else {}
    for name, deeper in below.items():
        old = items.get(name)
        new = _edit(read, old.oid if old and old.mode == TREE else None, deeper, objects)
        here[name] = (TREE, new) if new else None
    for name, entry in here.items():
        items.pop(name, None)
        if entry is not None:
            items[name] = TreeItem(entry[0], name, entry[1])
    return objects.add(Type.TREE, format_tree(items.values())) if items else None
