"""Link the directories that two snapshots have in common from the nearest export: most of what an export does.

Only names are read, and most of the time goes to linkat(2) and mkdir(2) in the kernel. Two threads gain nothing, as
they wait for the interpreter's lock after every call of some microseconds; two processes do.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gitstate.core import fs
from gitstate.core.names import join
from gitstate.tree.export.digests import Digests, look

LINK_REFUSALS: Final = (errno.EMLINK, errno.EXDEV)
"""The errors of a link for which a file is written instead: too many links, or another project's quota."""

_LEVELS: Final = 3
_MANY: Final = 48
"""From this number of directories on a second process pays."""
_MOST_PARTS: Final = 200  # their numbers are bytes


@dataclass(slots=True)
class LinkResult:
    """What was linked, and the paths for which the file system refused a link.

    ``damaged`` are directories that don't look as they were written: nothing in them was linked.
    """

    files: int = 0
    directories: int = 0
    refused: list[bytes] = field(default_factory=list)
    damaged: list[bytes] = field(default_factory=list)

    def add(self, other: LinkResult) -> None:
        self.files += other.files
        self.directories += other.directories
        self.refused += other.refused
        self.damaged += other.damaged


class TreePair:
    """Two trees by paths from their roots: the new one, and the old one that it is linked from.

    ``known`` are digests of the old one's directories as they were written.
    """

    def __init__(self, new: int, old: int, known: Digests) -> None:
        self._roots = new, old
        self._known = known

    def link(self, paths: Sequence[bytes], progress: Callable[[int], None], *, single: bool) -> LinkResult:
        """Fill the empty directories at ``paths`` as they are in the old tree. Raises OSError.

        ``progress`` is called with numbers of linked files. Unless ``single``, a second process helps; this process
        must have no other threads then.
        """
        linked = LinkResult()
        below, opened = list(paths), []
        for _ in range(_LEVELS):  # until there are enough directories to share out
            if len(below) >= _MANY:
                break
            opened += below
            below = [name for path in below for name in self._link_files(path, linked)]
        progress(linked.files)
        linked.add((self._link_here if single or len(below) < _MANY else self._link_with_helper)(below, progress))
        sound = set(opened) - set(linked.damaged)
        for path in sound:
            self._copy_metadata(path)
        linked.directories += len(sound)
        return linked

    def _open(self, path: bytes) -> _DirectoryPair:
        new = fs.open_path(path, self._roots[0])
        try:
            return _DirectoryPair(path, new, fs.open_path(path, self._roots[1]))
        except BaseException:
            os.close(new)
            raise

    def _copy_metadata(self, path: bytes) -> None:
        level = self._open(path)
        try:
            fs.copy_metadata(level.new, level.old)
        finally:
            level.close()

    # --- one process ---

    def _link_here(self, paths: Sequence[bytes], progress: Callable[[int], None]) -> LinkResult:
        linked = LinkResult()
        for path in paths:
            before = linked.files
            self._link_tree(path, linked)
            progress(linked.files - before)
        return linked

    def _link_files(self, path: bytes, linked: LinkResult) -> list[bytes]:
        """Link the files of one directory and make its subdirectories; their paths."""
        level = self._open(path)
        try:
            level.link_files(linked, self._known)
            for name in level.pending:
                os.close(fs.make_directory(name, level.new))
        finally:
            level.close()
        return [join(path, name) for name in level.pending]

    def _link_tree(self, path: bytes, linked: LinkResult) -> None:
        levels = [self._open(path)]
        try:
            levels[-1].link_files(linked, self._known)
            while levels:
                level = levels[-1]
                if level.pending:
                    name = level.pending.pop()
                    old = fs.open_directory(name, level.old)
                    levels.append(_DirectoryPair(join(level.path, name), fs.make_directory(name, level.new), old))
                    levels[-1].link_files(linked, self._known)
                    continue
                if level.is_sound:
                    fs.copy_metadata(level.new, level.old)
                    linked.directories += 1
                levels.pop().close()
        finally:
            for level in levels:
                level.close()

    # --- two of them ---

    def _link_with_helper(self, paths: Sequence[bytes], progress: Callable[[int], None]) -> LinkResult:
        """Share ``paths`` with a helper process: both take parts from one pipe until it is empty."""
        parts = [paths[number::_MOST_PARTS] for number in range(min(_MOST_PARTS, len(paths)))]
        queue, end = os.pipe()
        os.write(end, bytes(range(len(parts))))
        os.close(end)
        answer, answer_end = os.pipe()
        helper = os.fork()
        if not helper:
            self._help(queue, answer_end, parts)
        try:
            os.close(answer_end)
            linked = self._take(queue, parts)
            progress(linked.files)
            with open(answer, "rb", closefd=False) as file:
                helped = _parse_answer(file.read())
            progress(helped.files)
            linked.add(helped)
        finally:
            os.kill(helper, signal.SIGKILL)  # it has ended, unless we failed
            os.waitpid(helper, 0)
            os.close(queue)
            os.close(answer)
        return linked

    def _take(self, queue: int, parts: Sequence[Sequence[bytes]]) -> LinkResult:
        linked = LinkResult()
        while number := os.read(queue, 1):
            for path in parts[number[0]]:
                self._link_tree(path, linked)
        return linked

    def _help(self, queue: int, answer_end: int, parts: Sequence[Sequence[bytes]]) -> None:
        """Run the helper. If the parent is killed it finishes the queue, holding the parent's lock until then."""
        try:
            linked = self._take(queue, parts)
            text = b"%d %d %d 0" % (linked.files, linked.directories, len(linked.refused))
            paths = [*linked.refused, *linked.damaged]
        except OSError as error:
            text, paths = b"0 0 0 %d" % (error.errno or errno.EIO), []
        except BaseException:
            os._exit(1)
        try:
            with open(answer_end, "wb") as file:
                file.write(b"\0".join([text, *paths]))
        finally:
            os._exit(0)


def _parse_answer(answer: bytes) -> LinkResult:
    """The helper's result. Raises the OSError that it met."""
    text, *paths = answer.split(b"\0")
    if not text:
        raise OSError(errno.ECANCELED, "a helper process was killed")
    files, directories, refused, code = map(int, text.split())
    if code:
        raise OSError(code, os.strerror(code))
    return LinkResult(files, directories, paths[:refused], paths[refused:])


@dataclass(slots=True)
class _DirectoryPair:
    """Descriptors of a directory in both trees, and the subdirectories still to be linked."""

    path: bytes
    new: int
    old: int
    pending: list[bytes] = field(default_factory=list)
    is_sound: bool = True

    def close(self) -> None:
        os.close(self.new)
        os.close(self.old)

    def link_files(self, linked: LinkResult, known: Digests) -> None:
        """Link everything but the subdirectories, which are added to ``pending``; nothing if it isn't sound."""
        new, old = self.new, self.old
        seen = look(old)
        if seen.digest != known.get(self.path):
            self.is_sound = False
            linked.damaged.append(self.path)
            return
        self.pending += map(os.fsencode, seen.directories)
        for name in seen.files:
            try:
                os.link(name, name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
            except OSError as error:
                if error.errno not in LINK_REFUSALS:
                    raise
                linked.refused.append(join(self.path, os.fsencode(name)))
            else:
                linked.files += 1
