"""Make tree objects of what a scan found, reusing those of the base snapshot wherever they are equal."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import cached_property, partial
from threading import Lock

from gitstate.core import fs
from gitstate.core.entry import Kind, Meta, Xattrs
from gitstate.core.names import LINKS, RECORDS, join, stored_name
from gitstate.store import TreeItem, Type, object_id
from gitstate.store.objects import FILE, TREE, format_tree
from gitstate.tree.limits import require_readable
from gitstate.tree.manifest import format_links
from gitstate.tree.scan.cache import StatCache
from gitstate.tree.scan.content import Sink
from gitstate.tree.scan.models import BaseSnapshot, Frame
from gitstate.tree.snapshot import TreeParts, make_directory, read_directory, read_links, split_tree, walk


def directory_meta(status: os.stat_result, xattrs: Xattrs) -> Meta:
    """A directory's own metadata."""
    mode = stat.S_IMODE(status.st_mode)
    return Meta(Kind.DIRECTORY, mode, status.st_uid, status.st_gid, status.st_mtime_ns, None, xattrs)


def keep_owner_names(meta: Meta, old: Meta) -> Meta:
    """``meta`` with the owner's names of the last record, where the numbers haven't changed."""
    if not (old.uname or old.gname) or meta.kind is not old.kind:
        return meta
    uname = old.uname if meta.uid == old.uid else b""
    return meta._replace(uname=uname, gname=old.gname if meta.gid == old.gid else b"")


class Assembler:
    """Makes the tree of each directory once its entries are known, and the hard-link groups at the end."""

    def __init__(self, base: BaseSnapshot, cache: StatCache, sink: Sink, *, selinux: bool) -> None:
        self._base = base
        self._cache = cache
        self._sink = sink
        self._selinux = selinux
        self._links: dict[tuple[int, int], list[bytes]] = {}
        self._kept_paths: list[bytes] = []
        self._lock = Lock()

    # --- what the base snapshot has ---

    def parts(self, frame: Frame) -> TreeParts | None:
        """The directory's tree in the base snapshot, split once."""
        if frame.parts is None and frame.base is not None:
            frame.parts = split_tree(self._base.read(frame.base), frame.path)
        return frame.parts

    def old_subdirectory(self, parent: Frame, name: bytes) -> bytes | None:
        """The tree id of a subdirectory in the base snapshot."""
        row = self._cache.get(join(parent.path, name))
        if row is not None:
            return row.tree
        parts = self.parts(parent)
        item = parts.items.get(name) if parts else None
        return item.oid if item is not None and item.mode == TREE else None

    def reachable(self, oid: bytes) -> bool:
        """Whether the base snapshot holds this blob anywhere. Thread-safe.

        An object that no ref reaches doesn't count: the next repack may drop it.
        """
        if self._base.tree is None or not self._base.has_object(oid):
            return False
        with self._lock:
            return oid in self._base_blobs

    @cached_property
    def _base_blobs(self) -> frozenset[bytes]:
        assert self._base.tree is not None
        return frozenset(
            entry.oid
            for _, directory in walk(partial(read_directory, self._base.read), self._base.tree)
            for entry in directory.files.values()
        )

    # --- called by the walk ---

    def add_link(self, path: bytes, status: os.stat_result) -> None:
        """Note that ``path`` is one of several names of its inode."""
        self._links.setdefault((status.st_dev, status.st_ino), []).append(path)

    def keep(self, path: bytes) -> None:
        """Note that ``path``, and everything below it, keeps its last record and hard links."""
        self._kept_paths.append(path)

    # --- directories ---

    def metadata_only(self, path: bytes, descriptor: int, old: bytes | None, *, extended: bool) -> bytes:
        """The tree of a directory of which only mode, owner and, if ``extended``, attributes are recorded."""
        xattrs = fs.descriptor_xattrs(descriptor, selinux=self._selinux) if extended else ()
        own = directory_meta(os.fstat(descriptor), xattrs)._replace(time=None)
        records, data, tree = empty_tree(own)
        if old is not None and old != tree:
            records, data, tree = empty_tree(keep_owner_names(own, read_directory(self._base.read, old, path).own))
        if tree != old:
            self._sink.add(Type.BLOB, records)
            self._sink.add(Type.TREE, data)
        return tree

    def finish(self, frame: Frame) -> bytes:
        """The tree of a directory once its entries and subdirectories are known."""
        return self._finish_dirty(frame) if frame.row is None else self._finish_clean(frame)

    def _finish_dirty(self, frame: Frame) -> bytes:
        assert frame.own is not None
        frame.entries.sort()
        records, items = make_directory(
            frame.own, frame.entries, frame.children.items(), root=not frame.path, kept=frame.kept
        )
        require_readable(frame.path, records)
        old = self.parts(frame)
        oid = object_id(Type.BLOB, records)
        if old is None or old.records != oid:
            self._sink.add(Type.BLOB, records)
        return self._tree(frame, [*items, TreeItem(FILE, RECORDS, oid)])

    def _finish_clean(self, frame: Frame) -> bytes:
        """The tree of a clean directory: the old one, unless subdirectories have changed."""
        assert frame.base is not None
        same = not frame.child_vanished and all(
            self.old_subdirectory(frame, name) == tree for name, tree in frame.children.items()
        )
        if same and frame.path:
            return frame.base
        old = self.parts(frame)
        assert old is not None
        items = [item for item in old.items.values() if item.mode != TREE]
        items += [TreeItem(TREE, stored_name(name), tree) for name, tree in frame.children.items()]
        if old.records is not None:
            items.append(TreeItem(FILE, RECORDS, old.records))
        return self._tree(frame, items)

    def _tree(self, frame: Frame, items: list[TreeItem]) -> bytes:
        if not frame.path:
            items += self._links_item(frame)
        data = format_tree(items)
        oid = object_id(Type.TREE, data)
        if oid != frame.base:
            self._sink.add(Type.TREE, data)
        return oid

    def linked(self) -> list[list[bytes]]:
        """The groups of names of one inode that the walk has met."""
        return [paths for paths in self._links.values() if len(paths) > 1]

    def links_text(self) -> bytes:
        """The ``.gitstate-links`` of the new snapshot; empty for none."""
        groups = self.linked()
        if self._kept_paths and self._base.tree is not None:
            groups += _kept_groups(read_links(self._base.read, self._base.tree), self._kept_paths)
        return format_links(groups)

    def _links_item(self, root: Frame) -> Iterator[TreeItem]:
        text = self.links_text()
        if not text:
            return
        oid = object_id(Type.BLOB, text)
        old = self.parts(root)
        if old is None or old.links != oid:
            self._sink.add(Type.BLOB, text)
        yield TreeItem(FILE, LINKS, oid)


def empty_tree(own: Meta) -> tuple[bytes, bytes, bytes]:
    """An empty directory: its records, its tree, the tree's id."""
    records, _ = make_directory(own, [], [], root=False)
    data = format_tree([TreeItem(FILE, RECORDS, object_id(Type.BLOB, records))])
    return records, data, object_id(Type.TREE, data)


def _kept_groups(groups: list[tuple[bytes, ...]], kept: list[bytes]) -> list[list[bytes]]:
    """The old hard-link groups, restricted to paths that keep their last record."""
    prefixes = tuple(path + b"/" for path in kept)
    exact = set(kept)
    restricted = ([path for path in group if path in exact or path.startswith(prefixes)] for group in groups)
    return [group for group in restricted if len(group) > 1]
