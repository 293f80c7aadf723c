"""Removing trees of any depth without leaving them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gitstate.core.errors import HostError
from gitstate.core.fs.kernel import mount_id
from gitstate.core.fs.read import DIRECTORY_FLAGS, open_directory
from gitstate.core.names import display


def remove_tree(path: Path, observer: Callable[[int], None] | None = None) -> None:
    """Remove a tree of any depth and any modes; follows no symlink and crosses no mount."""
    try:
        parent = os.open(path.parent, DIRECTORY_FLAGS & ~os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        _remove_below(os.fsencode(path.name), parent, observer)
    finally:
        os.close(parent)


def remove_entry(name: bytes, parent: int) -> None:
    """Remove the file or tree ``name`` in an open directory; crosses no mount."""
    if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
        _remove_below(name, parent, None)
    else:
        os.unlink(name, dir_fd=parent)


def _remove_below(name: bytes, parent: int, observer: Callable[[int], None] | None) -> None:
    """Depth first, not recursive: Python's recursion ends at a thousand levels."""
    try:
        top = open_directory(name, parent)
    except FileNotFoundError:
        return
    home = mount_id(parent)
    stack: list[tuple[bytes, int, list[bytes]]] = []
    current, current_name = top, name
    pending = _empty_directory(current, home, current_name, observer)
    while True:
        if pending:
            child = pending.pop()
            stack.append((current_name, current, pending))
            current, current_name = open_directory(child, current), child
            pending = _empty_directory(current, home, current_name, observer)
            continue
        os.close(current)
        if not stack:
            os.rmdir(name, dir_fd=parent)
            return
        finished = current_name
        current_name, current, pending = stack.pop()
        os.rmdir(finished, dir_fd=current)


def _empty_directory(descriptor: int, home: int, name: bytes, observer: Callable[[int], None] | None) -> list[bytes]:
    """Unlink all but the subdirectories of an open directory; their names."""
    if mount_id(descriptor) != home:
        raise HostError(f"something is mounted on {display(name)}", "unmount it first: gitstate deletes nothing there")
    if not os.fstat(descriptor).st_mode & stat.S_IWUSR:
        with suppress(OSError):
            os.fchmod(descriptor, 0o700)
    subdirectories = []
    with os.scandir(descriptor) as entries:
        found = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for child, is_directory in found:
        if is_directory:
            subdirectories.append(child)
        else:
            os.unlink(child, dir_fd=descriptor)
            if observer:
                observer(1)
    return subdirectories
