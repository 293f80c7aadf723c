"""A snapshot with some of its entries replaced. Writes nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from gitstate.core.entry import Directory, Entry, Meta
from gitstate.core.names import LINKS, RECORDS
from gitstate.store.edit import NewObjects
from gitstate.store.objects import FILE, TreeItem, Type, format_tree
from gitstate.tree.manifest import format_links
from gitstate.tree.snapshot import EMPTY, Lookup, ReadObject, make_directory, read_links

Edit = Entry | Meta | None
"""What is to stand at a path: a file, symlink, device or fifo; a directory with that metadata; nothing."""

Group = tuple[bytes, ...]


def edit_entries(
    read: ReadObject,
    root: bytes | None,
    edits: Mapping[bytes, Edit],
    objects: NewObjects,
    links: Collection[Group] = (),
) -> bytes:
    """The root tree ``root`` (None: an empty one) after ``edits``; new trees and records are added to ``objects``.

    Missing directories are made, a directory that becomes empty stays. No path may lie below one that is to be no
    directory. ``links`` are hard-link groups of paths in ``edits``; other edited paths leave their groups. Raises
    DamagedError.
    """
    below = Lookup(read, root) if root is not None else None
    made: dict[bytes, dict[bytes, bytes]] = {}
    for path, files in _by_directory(edits):
        old = (below.directory(path) if below else None) or EMPTY
        own = edits.get(path)
        found = _edited(old, files, made.pop(path, {}), own if isinstance(own, Meta) else old.own)
        records, items = make_directory(found.own, found.files.values(), found.subdirectories.items(), root=not path)
        items.append(TreeItem(FILE, RECORDS, objects.add(Type.BLOB, records)))
        if not path and (groups := _links(read, root, edits, links)):
            items.append(TreeItem(FILE, LINKS, objects.add(Type.BLOB, format_links(groups))))
        tree = objects.add(Type.TREE, format_tree(items))
        above, _, name = path.rpartition(b"/")
        made.setdefault(above, {})[name] = tree
    return tree


def lies_below(path: bytes, edits: Mapping[bytes, Edit]) -> bool:
    """Whether an edit leaves no directory above ``path``."""
    while path:
        path = path.rpartition(b"/")[0]
        if path in edits and not isinstance(edits[path], Meta):
            return True
    return False


def _by_directory(edits: Mapping[bytes, Edit]) -> Iterable[tuple[bytes, dict[bytes, Entry | None]]]:
    """Every directory that changes, the deepest first, and what changes in it beside subdirectories."""
    found: dict[bytes, dict[bytes, Entry | None]] = {b"": {}}
    for path, edit in edits.items():
        above, _, name = path.rpartition(b"/")
        if isinstance(edit, Meta):
            found.setdefault(path, {})
        else:
            found.setdefault(above, {})[name] = edit
        while above:
            found.setdefault(above, {})
            above = above.rpartition(b"/")[0]
    return sorted(found.items(), key=lambda one: one[0].count(b"/") + bool(one[0]), reverse=True)


def _edited(
    old: Directory, files: Mapping[bytes, Entry | None], subdirectories: Mapping[bytes, bytes], own: Meta
) -> Directory:
    kept = {name: entry for name, entry in old.files.items() if name not in files and name not in subdirectories}
    kept |= {name: entry for name, entry in files.items() if entry is not None}
    trees = {name: tree for name, tree in old.subdirectories.items() if name not in files}
    return Directory(own, dict(sorted(kept.items())), dict(sorted((trees | dict(subdirectories)).items())))


def _links(read: ReadObject, root: bytes | None, edits: Mapping[bytes, Edit], links: Collection[Group]) -> list[Group]:
    """The hard-link groups: those of the old tree without edited paths, and the new ones."""
    groups = [*links]
    for group in read_links(read, root) if root is not None else ():
        left = tuple(path for path in group if path not in edits and not lies_below(path, edits))
        if len(left) > 1:
            groups.append(left)
    return sorted(groups)
