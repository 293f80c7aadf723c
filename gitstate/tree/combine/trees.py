"""Merge two trees entry by entry. Equal trees aren't read; renames aren't guessed."""

from __future__ import annotations

from collections.abc import Generator
from functools import cache
from typing import Final

from gitstate.core.entry import CAPABILITY, Directory, Entry, Kind, Meta
from gitstate.core.names import LINKS, RECORDS, join
from gitstate.store.edit import NewObjects
from gitstate.store.objects import FILE, TreeItem, Type, format_tree, parse_tree
from gitstate.tree.combine.links import Group, alike_parts, merge_groups
from gitstate.tree.combine.models import Conflict, MergedTree, MergeText, Reason
from gitstate.tree.combine.text import merge_text as merge_by_git
from gitstate.tree.manifest import format_links
from gitstate.tree.merge import merge_meta
from gitstate.tree.snapshot import (
    EMPTY,
    BoundedReader,
    Lookup,
    ReadObject,
    effective_links,
    make_directory,
    read_links,
)

_Node = Entry | bytes | None
"""What stands at a path: no directory, a directory's tree, nothing."""
_Work = Generator["_Work", bytes | None, bytes | None]
"""The merge of one directory; what it yields is the merge of a subdirectory. Recursion would end at some depth."""

_SECOND: Final = 10**9
_PRIVILEGES: Final = 0o6000


def merge_trees(
    read: ReadObject, base: bytes | None, ours: bytes, theirs: bytes, merge_text: MergeText = merge_by_git
) -> MergedTree:
    """Merge the changes from root tree ``base`` (None: empty) to ``ours`` and to ``theirs``.

    What one side changed is taken. What both changed: texts by line, metadata keyword by keyword, hard-link groups
    path by path, and where the changes don't go together, a conflict. A time alone never makes one. Writes nothing.
    Raises DamagedError, and what ``merge_text`` raises.
    """
    if ours == theirs or theirs == base:
        return MergedTree(ours)
    if ours == base:
        return MergedTree(theirs)
    return _Merger(read, merge_text).run(base, ours, theirs)


class _Merger:
    def __init__(self, read: ReadObject, merge_text: MergeText) -> None:
        self._stored = read
        self._directory = cache(BoundedReader(self._read))
        self._merge_text = merge_text
        self._objects = NewObjects()
        self._conflicts: set[Conflict] = set()

    def _read(self, oid: bytes) -> bytes:
        return self._objects[oid][1] if oid in self._objects else self._stored(oid)

    def run(self, base: bytes | None, ours: bytes, theirs: bytes) -> MergedTree:
        """Merge whole trees, which differ."""
        result: bytes | None = None
        work = [self._merge(b"", base, ours, theirs)]
        while work:
            try:
                below = work[-1].send(result)
            except StopIteration as end:
                work.pop()
                result = end.value
            else:
                work.append(below)
                result = None
        assert result is not None
        tree = self._with_links(result, base, ours, theirs)
        used = self._reached(tree)
        return MergedTree(tree, tuple(sorted(self._conflicts, key=lambda one: (one.path, one.reason.value))), used)

    def _reached(self, tree: bytes) -> NewObjects:
        """The new objects that the tree holds: a directory that became as it was on one side isn't one of them."""
        used, todo = NewObjects(), [tree]
        while todo:
            oid = todo.pop()
            if oid in self._objects and oid not in used:
                kind, data = used[oid] = self._objects[oid]
                todo += [item.oid for item in parse_tree(data)] if kind is Type.TREE else []
        return used

    # --- directories ---

    def _merge(self, path: bytes, base: bytes | None, ours: bytes | None, theirs: bytes | None) -> _Work:
        """The tree of a directory after the merge; None if it is in neither side's interest."""
        if ours == theirs or theirs == base:
            return ours
        if ours == base:
            return theirs
        old, left, right = (self._directory(tree, path) if tree else EMPTY for tree in (base, ours, theirs))
        files: dict[bytes, Entry] = {}
        subdirectories: dict[bytes, bytes] = {}
        for name in sorted({name for one in (old, left, right) for part in one[1:] for name in part}):
            sides = [one.files.get(name) or one.subdirectories.get(name) for one in (old, left, right)]
            node = _one_sided(*sides)
            if node is _UNDECIDED:
                node = yield from self._both(join(path, name), *sides)
            if isinstance(node, Entry):
                files[name] = node
            elif node is not None:
                subdirectories[name] = node
        if ours is None or theirs is None:
            own = (right if ours is None else left).own
            if not files and not subdirectories and not self._is_kept(path, old.own if base else None, own):
                return None
        else:
            own = self._own(path, old.own if base else None, left.own, right.own)
        return self._write(path, Directory(own, files, subdirectories), {ours: left, theirs: right})

    def _is_kept(self, path: bytes, old: Meta | None, own: Meta) -> bool:
        """Whether a directory that one side removed, and whose entries are gone, was changed itself."""
        if old is None or old._replace(time=None) == own._replace(time=None):
            return False
        self._conflicts.add(Conflict(path, Reason.REMOVED))
        return True

    def _own(self, path: bytes, old: Meta | None, left: Meta, right: Meta) -> Meta:
        if left == right or right == old:
            return left
        return right if left == old else self._meta(path, old, left, right)

    def _write(self, path: bytes, found: Directory, sides: dict[bytes | None, Directory]) -> bytes:
        """The tree of a merged directory: a side's own, if it is as there."""
        for tree, side in sides.items():
            if tree is not None and found == side:
                return tree
        records, items = make_directory(found.own, found.files.values(), found.subdirectories.items(), root=not path)
        items.append(TreeItem(FILE, RECORDS, self._objects.add(Type.BLOB, records)))
        return self._objects.add(Type.TREE, format_tree(items))

    # --- what both sides changed ---

    def _both(self, path: bytes, old: _Node, left: _Node, right: _Node) -> Generator[_Work, bytes | None, _Node]:
        """Merge two changes of a node, not both None."""
        if not isinstance(left, Entry) and not isinstance(right, Entry):
            return (yield self._merge(path, old if isinstance(old, bytes) else None, left, right))
        if isinstance(left, Entry) and isinstance(right, Entry):
            return self._entry(path, old if isinstance(old, Entry) else None, left, right)
        if left is None or right is None:
            kept = left or right
            if isinstance(old, bytes) or _differ_in_time(old, kept):  # a directory replaced by a file, and removed
                return kept if isinstance(old, bytes) else None
            self._conflicts.add(Conflict(path, Reason.REMOVED))
            return kept
        for node, other in ((left, right), (right, left)):
            if _differ_in_time(old, node):
                return other
        self._conflicts.add(Conflict(path, Reason.TYPE))
        return left

    def _entry(self, path: bytes, old: Entry | None, left: Entry, right: Entry) -> Entry:
        if left.meta.kind is not right.meta.kind:
            for node, other in ((left, right), (right, left)):
                if _differ_in_time(old, node):
                    return other
            self._conflicts.add(Conflict(path, Reason.TYPE))
            return left
        before = old if old and old.meta.kind is left.meta.kind else None
        meta = self._meta(path, before.meta if before else None, left.meta, right.meta)
        was = before.oid if before else None
        if left.oid == right.oid or right.oid == was:
            return Entry(left.name, meta, left.oid)
        if left.oid == was:
            return Entry(left.name, meta, right.oid)
        merged = self._text(path, before, left, right)
        if merged not in (left.oid, right.oid):
            meta = _of_new_content(meta)
        return Entry(left.name, meta, merged)

    def _text(self, path: bytes, old: Entry | None, left: Entry, right: Entry) -> bytes:
        if old is None or left.meta.kind is not Kind.FILE:
            self._conflicts.add(Conflict(path, Reason.ADDED if old is None else Reason.CONTENT))
            return left.oid
        merged = self._merge_text(*(self._read(one.oid) for one in (old, left, right)))
        if merged is None or not merged.is_clean:
            self._conflicts.add(Conflict(path, Reason.CONTENT))
        return left.oid if merged is None else self._objects.add(Type.BLOB, merged.text)

    def _meta(self, path: bytes, old: Meta | None, left: Meta, right: Meta) -> Meta:
        conflicts: list[bytes] = []
        meta = merge_meta(path, old, left, right, conflicts)
        self._conflicts.update(Conflict(path, Reason.METADATA) for path in conflicts)
        return meta

    # --- hard links ---

    def _with_links(self, root: bytes, base: bytes | None, ours: bytes, theirs: bytes) -> bytes:
        """The merged root tree with its hard-link groups; a side's own tree, if it is as there."""
        recorded = [effective_links(self._read, tree, self._directory) if tree else [] for tree in (base, ours, theirs)]
        groups = self._alike(root, merge_groups(*(sorted(side) for side in recorded)))
        for side in (ours, theirs):
            if self._is_same(root, side) and sorted(read_links(self._read, side)) == groups:
                return side
        items = [item for item in parse_tree(self._read(root)) if item.name != LINKS]
        if groups:
            items.append(TreeItem(FILE, LINKS, self._objects.add(Type.BLOB, format_links(groups))))
        return self._objects.add(Type.TREE, format_tree(items))

    def _is_same(self, root: bytes, side: bytes) -> bool:
        return self._directory(root, b"") == self._directory(side, b"")

    def _alike(self, root: bytes, groups: list[Group]) -> list[Group]:
        """The groups of which the merge has the members; a conflict where these aren't alike."""
        look_up = Lookup(self._read, root, self._directory)
        found: list[Group] = []
        for group in groups:
            entries = {path: entry for path in group if (entry := look_up(path)) is not None}
            parts = alike_parts(group, {path: (entry.meta, entry.oid) for path, entry in entries.items()})
            if len(parts) > 1:
                self._conflicts.update(Conflict(path, Reason.LINKS) for path in entries)
            found += [part for part in parts if len(part) > 1]
        return sorted(found)


_UNDECIDED: Final = Entry(b"", Meta(Kind.FILE, 0))
"""Stands for what both sides changed."""


def _one_sided(old: _Node, left: _Node, right: _Node) -> _Node:
    if left == right or right == old:
        return left
    return right if left == old else _UNDECIDED


def _differ_in_time(old: _Node, new: _Node) -> bool:
    """Whether nothing but the time of an entry changed."""
    if not isinstance(old, Entry) or not isinstance(new, Entry):
        return False
    return old.oid == new.oid and old.meta._replace(time=None) == new.meta._replace(time=None)


def _of_new_content(meta: Meta) -> Meta:
    """Metadata for content that neither side has: without privileges, as after an edit by git.

    It is a second newer than both: equal size and time would hide the change from rsync, make and Python.
    """
    time = ((meta.time or 0) // _SECOND + 1) * _SECOND
    xattrs = tuple(item for item in meta.xattrs if item[0] != CAPABILITY)
    return meta._replace(mode=meta.mode & ~_PRIVILEGES, time=time, xattrs=xattrs)
