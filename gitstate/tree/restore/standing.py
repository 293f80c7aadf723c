"""Whether what stands in a live tree is still what the scan saw there: an edit made since then isn't written over."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.entry import KIND_BY_FORMAT, Entry, Kind
from gitstate.store import Type
from gitstate.store.objects import object_id
from gitstate.tree.restore.models import Plan
from gitstate.tree.scan.content import HashOnly
from gitstate.tree.snapshot import Lookup

EDITED: Final = "it was changed meanwhile"
_NOT_RECORDED: Final = "something that isn't recorded is there"
_MARGIN: Final = 20_000_000
"""Nanoseconds by which times of files may lag behind: the kernel's clock for them ticks coarsely."""
_PIECE: Final = 1 << 20


def moment(live: Path) -> int:
    """The time before which nothing is newer than a scan that begins now, by the live tree's own clock, in nanoseconds.

    0 where the file system doesn't tell. Raises HostError.
    """
    root = fs.open_tree(live)
    try:
        return (fs.scratch_time(root) or _MARGIN) - _MARGIN
    finally:
        os.close(root)


class Standing:
    """Compares what stands with the scan that a plan was made from; content is read only of what is newer than it."""

    def __init__(self, plan: Plan) -> None:
        self._scanned = Lookup(plan.read, plan.tree)
        self._since = plan.since
        self._unread = plan.unread
        self._selinux = plan.selinux
        self._hash = HashOnly(plan.read)

    def why_kept(self, path: bytes, name: bytes, parent: int) -> str:
        """Why the entry ``name`` of an open directory must stay; empty if it may go, as a directory. Raises OSError."""
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return ""
        if stat.S_ISDIR(found.st_mode) or path in self._unread:
            return ""
        if stat.S_ISSOCK(found.st_mode):
            return _NOT_RECORDED
        entry = self._scanned(path)
        if entry is None:
            return EDITED
        if found.st_ctime_ns < self._since or self._is_as_scanned(entry, found, name, parent):
            return ""
        return EDITED

    def _is_as_scanned(self, entry: Entry, found: os.stat_result, name: bytes, parent: int) -> bool:
        """Our own work makes entries look newer, too: other names of what was replaced."""
        meta = entry.meta
        seen = (meta.kind, meta.mode, meta.uid, meta.gid, meta.time)
        kind = KIND_BY_FORMAT.get(stat.S_IFMT(found.st_mode))
        mode = meta.mode if kind is Kind.SYMLINK else stat.S_IMODE(found.st_mode)
        if seen != (kind, mode, found.st_uid, found.st_gid, found.st_mtime_ns):
            return False
        if fs.named_xattrs(name, parent, selinux=self._selinux) != meta.xattrs:
            return False
        if kind is Kind.SYMLINK:
            return object_id(Type.BLOB, fs.read_link(name, parent)) == entry.oid
        if kind is not Kind.FILE:
            return meta.device in (None, (os.major(found.st_rdev), os.minor(found.st_rdev)))
        descriptor = fs.open_file(name, parent)
        try:
            pieces = fs.pieces(descriptor, _PIECE)
            return self._hash.stream(found.st_size, lambda: next(pieces, b""), lambda oid: False) == entry.oid
        except ValueError:  # it grows or shrinks
            return False
        finally:
            os.close(descriptor)
