"""Snapshots in memory: a tree as a mapping of paths, to git's objects and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from gitstate.core.entry import Entry, Kind, Meta
from gitstate.core.names import LINKS, RECORDS
from gitstate.store import Type, object_id
from gitstate.store.objects import FILE, TreeItem, format_tree
from gitstate.tree.combine import MergedTree, TextMerge, merge_trees
from gitstate.tree.manifest import format_links
from gitstate.tree.snapshot import effective_links, make_directory, read_directory, walk

PLAIN: Final = Meta(Kind.FILE, 0o644, time=0)
FOLDER: Final = Meta(Kind.DIRECTORY, 0o755, time=0)


@dataclass(frozen=True)
class Thing:
    """An entry's metadata and content; a directory has none."""

    meta: Meta = PLAIN
    content: bytes = b""


Model = Mapping[bytes, Thing]
"""Entries by path, each directory below the root among them."""


@dataclass
class Store:
    """Objects in memory."""

    objects: dict[bytes, bytes] = field(default_factory=dict)

    def add(self, kind: Type, data: bytes) -> bytes:
        oid = object_id(kind, data)
        self.objects[oid] = data
        return oid

    def read(self, oid: bytes) -> bytes:
        return self.objects[oid]

    def tree(self, model: Model, links: Iterable[Iterable[bytes]] = (), own: Meta = FOLDER) -> bytes:
        return self._tree(b"", own, model, list(links))

    def _tree(self, path: bytes, own: Meta, model: Model, links: list[Iterable[bytes]]) -> bytes:
        files, below = [], []
        for one, thing in sorted(model.items()):
            above, _, name = one.rpartition(b"/")
            if above != path:
                continue
            if thing.meta.kind is Kind.DIRECTORY:
                below.append((name, self._tree(one, thing.meta, model, [])))
            else:
                oid = self.add(Type.BLOB, thing.content) if thing.meta.kind in (Kind.FILE, Kind.SYMLINK) else b""
                files.append(Entry(name, thing.meta, oid))
        return self.directory(files, below, links, own, root=not path)

    def directory(
        self,
        files: list[Entry],
        below: list[tuple[bytes, bytes]],
        links: Sequence[Iterable[bytes]] = (),
        own: Meta = FOLDER,
        *,
        root: bool = False,
    ) -> bytes:
        records, items = make_directory(own, files, below, root=root)
        items.append(TreeItem(FILE, RECORDS, self.add(Type.BLOB, records)))
        if links:
            items.append(TreeItem(FILE, LINKS, self.add(Type.BLOB, format_links(links))))
        return self.add(Type.TREE, format_tree(items))

    def model(self, tree: bytes) -> dict[bytes, Thing]:
        found: dict[bytes, Thing] = {}
        for path, directory in walk(partial(read_directory, self.read), tree):
            if path:
                found[path] = Thing(directory.own)
            for name, entry in directory.files.items():
                content = self.read(entry.oid) if entry.oid else b""
                found[path + b"/" + name if path else name] = Thing(entry.meta, content)
        return found

    def links(self, tree: bytes) -> list[tuple[bytes, ...]]:
        return sorted(effective_links(self.read, tree))

    def merge(self, base: bytes | None, ours: bytes, theirs: bytes) -> MergedTree:
        """A merge by lines that needs no other program."""
        merged = merge_trees(self.read, base, ours, theirs, merge_text=join_lines)
        self.objects |= {oid: data for oid, (_, data) in merged.objects.items()}
        return merged


def join_lines(base: bytes, ours: bytes, theirs: bytes) -> TextMerge | None:
    """Texts of two lines, one for each side to change."""
    sides = [one.split(b"\n") for one in (base, ours, theirs)]
    if any(len(side) != 2 for side in sides):
        return None
    merged, clean = [], True
    for was, mine, yours in zip(*sides, strict=True):
        clean = clean and (mine in (was, yours) or yours == was)
        merged.append(yours if mine == was else mine)
    return TextMerge(b"\n".join(merged), clean)
