"""What a machine gets, written into a directory: what it hides as OCI whiteouts, as in a layer, or as overlayfs's."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from gitstate.core import fs
from gitstate.core.entry import Entry, Kind, Meta
from gitstate.core.names import OPAQUE, WHITEOUT, join
from gitstate.machine.render.models import RenderedEntry

_EMPTY: Final = Meta(Kind.FILE, 0o644, time=0)
_HIDDEN: Final = Meta(Kind.CHARACTER, 0, time=0, device=(0, 0))
_OPAQUE: Final = (b"trusted.overlay.opaque", b"y")


class _Open(NamedTuple):
    path: bytes
    descriptor: int
    meta: Meta


def require_empty(directory: Path) -> None:
    """Raise UsageError unless ``directory`` is new or empty."""
    fs.require_empty(directory, "render into a new one: --to DIR")


def write_entries(
    directory: Path,
    items: Sequence[RenderedEntry],
    read: Callable[[RenderedEntry], bytes],
    standing: Callable[[bytes], Meta],
    *,
    for_overlay: bool = False,
) -> None:
    """Write ``items`` into a new or empty directory, its owner's alone.

    ``standing`` tells the metadata of directories that layers leave as they are. ``for_overlay`` makes it fit to be a
    lower directory of an overlay, which needs root. Raises UsageError, OSError.
    """
    require_empty(directory)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    root = fs.open_tree(directory)
    stack: list[_Open] = []
    try:
        for item in sorted(items, key=lambda one: one.path.split(b"/")):
            parent = _open_parent(stack, root, item.path.rpartition(b"/")[0], standing)
            _write(stack, parent, item, read, for_overlay=for_overlay)
        _close_below(stack, 0)
    finally:
        for one in stack:
            os.close(one.descriptor)
        os.close(root)


def _open_parent(stack: list[_Open], root: int, path: bytes, standing: Callable[[bytes], Meta]) -> int:
    """The directory ``path``, made if no item did; those that it isn't in are closed."""
    depth = 0
    while depth < len(stack) and (path + b"/").startswith(stack[depth].path + b"/"):
        depth += 1
    _close_below(stack, depth)
    here = stack[-1].path if stack else b""
    for name in path[len(here) :].split(b"/"):
        if name:
            here = join(here, name)
            parent = stack[-1].descriptor if stack else root
            stack.append(_Open(here, fs.make_directory(name, parent), standing(here)))
    return stack[-1].descriptor if stack else root


def _close_below(stack: list[_Open], depth: int) -> None:
    """Seal and close all directories but the first ``depth``: nothing more is made in them."""
    while len(stack) > depth:
        one = stack.pop()
        try:
            fs.apply_metadata(one.descriptor, one.meta)
        finally:
            os.close(one.descriptor)


def _write(
    stack: list[_Open], parent: int, item: RenderedEntry, read: Callable[[RenderedEntry], bytes], *, for_overlay: bool
) -> None:
    name = item.path.rpartition(b"/")[2]
    if item.meta is None:
        if for_overlay:
            fs.make_special(Entry(name, _HIDDEN), parent)
        else:
            _file(WHITEOUT + name, parent, _EMPTY, b"")
        return
    kind = item.meta.kind
    if kind is Kind.DIRECTORY:
        descriptor = fs.make_directory(name, parent) if name else os.dup(parent)
        meta = _opaque(item.meta) if for_overlay and item.covers else item.meta
        stack.append(_Open(item.path, descriptor, meta))
        if item.covers and not for_overlay:
            _file(OPAQUE, descriptor, _EMPTY, b"")
        return
    if item.covers and not for_overlay:  # in an overlay whatever isn't a directory hides one
        _file(WHITEOUT + name, parent, _EMPTY, b"")
    if kind is Kind.FILE:
        _file(name, parent, item.meta, read(item))
    elif kind is Kind.SYMLINK:
        os.symlink(read(item), name, dir_fd=parent)
        fs.apply_metadata_by_name(name, parent, item.meta)
    else:
        fs.make_special(Entry(name, item.meta), parent)


def _opaque(meta: Meta) -> Meta:
    return meta._replace(xattrs=tuple(sorted((*meta.xattrs, _OPAQUE))))


def _file(name: bytes, parent: int, meta: Meta, content: bytes) -> None:
    descriptor = fs.create_file(name, parent)
    try:
        fs.write_sparse(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
        fs.apply_metadata(descriptor, meta)
    finally:
        os.close(descriptor)
