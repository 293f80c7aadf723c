"""The snapshot below an upper directory, by paths that marks name."""

from __future__ import annotations

import os
import stat
from functools import cached_property
from typing import Final

from gitstate.core import fs
from gitstate.core.entry import Entry
from gitstate.core.names import display, join
from gitstate.tree.overlay.marks import Marks, Notes, UnknownMarkError, is_whiteout
from gitstate.tree.snapshot import Lookup, ReadObject

_NO_NAMES: Final = frozenset((b"", b".", b".."))


class Lower:
    """The snapshot with the root tree ``tree``; nothing is read before it is asked for."""

    def __init__(self, read: ReadObject, tree: bytes) -> None:
        self._read = read
        self._tree = tree

    @cached_property
    def look_up(self) -> Lookup:
        """Its entries by path."""
        return Lookup(self._read, self._tree)

    def tree_of(self, path: bytes) -> bytes | None:
        """The tree of the directory ``path``; None if there is none."""
        above, _, name = path.rpartition(b"/")
        directory = self.look_up.directory(above)
        return directory.subdirectories.get(name) if directory else None

    def shown(self, root: int, path: bytes, notes: Notes, limit: int, where: object) -> bytes | None:
        """The first ``limit`` bytes of the file ``path`` that an upper directory, open as ``root``, shows over it.

        None if there is none. No symlink is followed: ConfigError, as of anything but a file. Raises UnknownMarkError
        with the path.
        """
        current = os.dup(root)
        lower: bytes | None = b""
        names = path.split(b"/")
        try:
            for depth, name in enumerate(names):
                below = join(lower, b"/".join(names[depth:])) if lower is not None else None
                try:
                    status = os.stat(name, dir_fd=current, follow_symlinks=False)
                except FileNotFoundError:
                    return self._content(below)
                if is_whiteout(status):
                    return None
                is_directory, is_last = stat.S_ISDIR(status.st_mode), depth == len(names) - 1
                if is_directory is is_last:
                    raise fs.not_regular(where)
                here = b"/".join(names[: depth + 1])
                try:
                    marks = notes.of(here, name, current, is_directory=is_directory)
                    lower = below_of(lower, name, marks)
                except UnknownMarkError as error:
                    raise UnknownMarkError(f"/{display(here)}: {error}") from None
                if is_last:
                    return self._content(lower) if marks.metacopy else fs.read_below(current, name, limit, where)
                above, current = current, fs.open_directory(name, current)
                os.close(above)
        finally:
            os.close(current)
        return None

    def _content(self, path: bytes | None) -> bytes | None:
        blob = self.look_up.regular_file(path) if path is not None else None
        return None if blob is None else self._read(blob)

    def file(self, path: bytes | None) -> Entry | None:
        """The file, symlink or device at ``path``; None if there is none."""
        return None if path is None else self.look_up(path)


def below_of(parent: bytes | None, name: bytes, marks: Marks) -> bytes | None:
    """The path of what lies below the entry ``name`` of a directory that lies over ``parent``; None for nothing.

    Raises UnknownMarkError for a mark that leads nowhere.
    """
    if marks.opaque:
        return None
    redirect = marks.redirect
    if redirect is None:
        return None if parent is None else join(parent, name)
    path = redirect.removeprefix(b"/")
    if redirect == path:
        if parent is None or b"/" in path:
            raise UnknownMarkError(f"its attribute overlay.redirect leads nowhere: {display(redirect)}")
        path = join(parent, path)
    if not _NO_NAMES.isdisjoint(path.split(b"/")):
        raise UnknownMarkError(f"its attribute overlay.redirect is no path: {display(redirect)}")
    return path
