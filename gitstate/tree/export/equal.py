"""Directories that two snapshots have in common, linked from the nearest export: most of what an export does.

Nothing is looked at but the names, and most of the time is the kernel's, for linkat(2) and mkdir(2). Two threads gain
nothing there, as they wait for the interpreter's lock after every call of some microseconds; two processes do.
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

REFUSALS: Final = (errno.EMLINK, errno.EXDEV)
"""Why a file system may refuse a link: there are too many, or it would lead to another project's quota."""

_LEVELS: Final = 3
_MANY: Final = 48
"""So many directories are worth a second process."""
_MOST_PARTS: Final = 200  # their numbers are bytes


@dataclass(slots=True)
class Linked:
    """What was linked, and the paths that the file system has no more links for."""

    files: int = 0
    directories: int = 0
    refused: list[bytes] = field(default_factory=list)

    def add(self, other: Linked) -> None:
        self.files += other.files
        self.directories += other.directories
        self.refused += other.refused


class Trees:
    """Two trees by paths from their roots: the new one, and the old one that it is linked from."""

    def __init__(self, new: int, old: int) -> None:
        self._roots = new, old

    def link(self, paths: Sequence[bytes], made: Callable[[int], None], *, alone: bool) -> Linked:
        """Make the empty directories at ``paths`` all that they are in the old tree. Raises OSError.

        ``made`` is told how many files were linked. Unless it should be done ``alone``, another process helps; there
        must be no other threads then.
        """
        linked = Linked()
        below, opened = list(paths), []
        for _ in range(_LEVELS):  # down to where there is enough to be shared out
            if len(below) >= _MANY:
                break
            opened += below
            below = [name for path in below for name in self._link_files(path, linked)]
        made(linked.files)
        linked.add((self._link_alone if alone or len(below) < _MANY else self._link_by_two)(below, made))
        for path in opened:
            self._copy_metadata(path)
        linked.directories += len(opened)
        return linked

    def _open(self, path: bytes) -> _Level:
        new = fs.open_path(path, self._roots[0])
        try:
            return _Level(path, new, fs.open_path(path, self._roots[1]))
        except BaseException:
            fs.close(new)
            raise

    def _copy_metadata(self, path: bytes) -> None:
        level = self._open(path)
        try:
            fs.copy_metadata(level.new, level.old)
        finally:
            level.close()

    # --- one process ---

    def _link_alone(self, paths: Sequence[bytes], made: Callable[[int], None]) -> Linked:
        linked = Linked()
        for path in paths:
            before = linked.files
            self._link_tree(path, linked)
            made(linked.files - before)
        return linked

    def _link_files(self, path: bytes, linked: Linked) -> list[bytes]:
        """Link the files of one directory and make its subdirectories; their paths."""
        level = self._open(path)
        try:
            level.link_files(linked)
            for name in level.pending:
                fs.close(fs.make_directory(name, level.new))
        finally:
            level.close()
        return [join(path, name) for name in level.pending]

    def _link_tree(self, path: bytes, linked: Linked) -> None:
        levels = [self._open(path)]
        try:
            levels[-1].link_files(linked)
            while levels:
                level = levels[-1]
                if level.pending:
                    name = level.pending.pop()
                    old = fs.open_directory(name, level.old)
                    levels.append(_Level(join(level.path, name), fs.make_directory(name, level.new), old))
                    levels[-1].link_files(linked)
                else:
                    fs.copy_metadata(level.new, level.old)
                    levels.pop().close()
                    linked.directories += 1
        finally:
            for level in levels:
                level.close()

    # --- two of them ---

    def _link_by_two(self, paths: Sequence[bytes], made: Callable[[int], None]) -> Linked:
        """Both take parts from one queue until it is empty."""
        parts = [paths[number::_MOST_PARTS] for number in range(min(_MOST_PARTS, len(paths)))]
        queue, end = os.pipe()
        os.write(end, bytes(range(len(parts))))
        os.close(end)
        answer, said = os.pipe()
        helper = os.fork()
        if not helper:
            self._help(queue, said, parts)
        try:
            os.close(said)
            linked = self._take(queue, parts)
            made(linked.files)
            with open(answer, "rb", closefd=False) as file:
                helped = _understood(file.read())
            made(helped.files)
            linked.add(helped)
        finally:
            os.kill(helper, signal.SIGKILL)  # which is over, unless we failed
            os.waitpid(helper, 0)
            os.close(queue)
            os.close(answer)
        return linked

    def _take(self, queue: int, parts: Sequence[Sequence[bytes]]) -> Linked:
        linked = Linked()
        while number := os.read(queue, 1):
            for path in parts[number[0]]:
                self._link_tree(path, linked)
        return linked

    def _help(self, queue: int, said: int, parts: Sequence[Sequence[bytes]]) -> None:
        """The helper's life. If we are killed it goes on to the queue's end, and holds our lock until then."""
        try:
            linked = self._take(queue, parts)
            text = b"%d %d 0" % (linked.files, linked.directories)
            refused = linked.refused
        except OSError as error:
            text, refused = b"0 0 %d" % (error.errno or errno.EIO), []
        except BaseException:
            os._exit(1)
        try:
            with open(said, "wb") as file:
                file.write(b"\0".join([text, *refused]))
        finally:
            os._exit(0)


def _understood(answer: bytes) -> Linked:
    """The helper's answer. Raises the OSError that it met."""
    text, *refused = answer.split(b"\0")
    if not text:
        raise OSError(errno.ECANCELED, "a process that helped was killed")
    files, directories, code = map(int, text.split())
    if code:
        raise OSError(code, os.strerror(code))
    return Linked(files, directories, refused)


@dataclass(slots=True)
class _Level:
    """A directory on the way down: ``new`` is being made, ``old`` linked from."""

    path: bytes
    new: int
    old: int
    pending: list[bytes] = field(default_factory=list)

    def close(self) -> None:
        fs.close(self.new)
        fs.close(self.old)

    def link_files(self, linked: Linked) -> None:
        """Link everything but the subdirectories, which are pending then."""
        new, old = self.new, self.old
        with os.scandir(old) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    self.pending.append(os.fsencode(entry.name))
                    continue
                try:
                    os.link(entry.name, entry.name, src_dir_fd=old, dst_dir_fd=new, follow_symlinks=False)
                except OSError as error:
                    if error.errno not in REFUSALS:
                        raise
                    linked.refused.append(join(self.path, os.fsencode(entry.name)))
                else:
                    linked.files += 1
