"""Mount what a plan lists: each mount point is opened, step by step, no symlink followed, and mounted on as it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import HostError
from gitstate.core.failures import of_system
from gitstate.core.names import display
from gitstate.tree.mounts.plan import BIND, RESOLVER, SOURCE, Mount, Plan

_LINKS: Final = {
    b"ptmx": b"pts/ptmx",
    b"fd": b"/proc/self/fd",
    b"stdin": b"/proc/self/fd/0",
    b"stdout": b"/proc/self/fd/1",
    b"stderr": b"/proc/self/fd/2",
}
_TEMPORARY: Final = 0o1777


def furnish(todo: Plan) -> None:
    """Make in the plan's place what is mounted from there: empty directories, the resolver. Raises OSError."""
    for one in todo.mounts:
        if one.source is None or one.source.parent != todo.place:
            continue
        if one.directory:
            one.source.mkdir()
            one.source.chmod(_TEMPORARY if one.point.endswith(b"tmp") else 0o755)
        else:
            one.source.write_bytes(RESOLVER.read_bytes())
            one.source.chmod(0o644)
        if one.point.endswith(b"/archives"):
            (one.source / "partial").mkdir()


def apply(todo: Plan) -> None:
    """Mount, in the namespace of the caller. Raises StorageError, HostError."""
    root = fs.open_tree(todo.live)
    try:
        for one in todo.mounts:
            _apply(root, one)
    finally:
        os.close(root)


def _apply(root: int, one: Mount) -> None:
    try:
        with _opened(root, one) as target:
            if one.kind == BIND:
                fs.bind(os.fsencode(one.source or b""), target)
            else:
                fs.mount(one.kind, SOURCE, target, one.flags, one.options)
        if one.point == b"dev":
            _link(root)
    except OSError as error:
        raise of_system(error, f"mount /{display(one.point)}") from None


def _link(root: int) -> None:
    devices = fs.open_path(b"dev", root)
    try:
        for name, target in _LINKS.items():
            os.symlink(target, name, dir_fd=devices)
    finally:
        os.close(devices)


def _make_directories(root: int, path: bytes) -> None:
    parts = path.split(b"/")
    for depth, name in enumerate(parts):
        parent = fs.open_path(b"/".join(parts[:depth]), root)
        try:
            with suppress(FileExistsError):
                os.mkdir(name, 0o755, dir_fd=parent)
        finally:
            os.close(parent)


@contextmanager
def _opened(root: int, one: Mount) -> Iterator[int]:
    """The mount point, open. Raises OSError."""
    above, _, name = one.point.rpartition(b"/")
    if one.made:
        _make_directories(root, above)
    parent = fs.open_path(above, root)
    try:
        if one.made and one.directory:
            os.mkdir(name, 0o755, dir_fd=parent)
        elif one.made:
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
        kind = os.O_DIRECTORY if one.directory else 0
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=parent)
    finally:
        os.close(parent)
    try:
        if not one.directory and not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise HostError(f"/{display(one.point)} is no regular file", "something changed it meanwhile: run it again")
        yield descriptor
    finally:
        os.close(descriptor)
