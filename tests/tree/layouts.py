"""Snapshots written down as nested tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from gitstate.core.entry import Entry, Meta
from gitstate.core.names import LINKS, RECORDS
from gitstate.store.objects import FILE, TreeItem, Type, format_tree
from gitstate.tree.manifest import format_links
from gitstate.tree.snapshot import make_directory

Layout = Mapping[bytes, "Node"]
Node = Meta | tuple[Meta, bytes] | tuple[Meta, Layout]
"""A device or fifo, a file or symlink with its content, a directory with what is in it."""


Put = Callable[[Type, bytes], bytes]


def plant(put: Put, own: Meta, layout: Layout, groups: Iterable[Iterable[bytes]] = (), *, root: bool = True) -> bytes:
    """The tree of a snapshot made from a layout."""
    files, subdirectories = [], []
    for name, node in sorted(layout.items()):
        if isinstance(node, Meta):
            files.append(Entry(name, node))
        elif isinstance(node[1], bytes):
            files.append(Entry(name, node[0], put(Type.BLOB, node[1])))
        else:
            subdirectories.append((name, plant(put, node[0], node[1], root=False)))
    records, items = make_directory(own, files, subdirectories, root=root)
    items.append(TreeItem(FILE, RECORDS, put(Type.BLOB, records)))
    if links := format_links(groups):
        items.append(TreeItem(FILE, LINKS, put(Type.BLOB, links)))
    return put(Type.TREE, format_tree(items))
