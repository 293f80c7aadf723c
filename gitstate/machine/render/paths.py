"""Where a path leads when the symlinks on its way are followed, as the kernel does, and never out of the root."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gitstate.core.names import join

_FOLLOWED: Final = 40  # as the kernel has it


class PathError(Exception):
    """A path that leads nowhere; its argument is where it ended."""


def resolve_symlinks(start: bytes, path: bytes, target: Callable[[bytes], bytes | None]) -> bytes:
    """``path`` from the directory ``start``, without symlinks, the last part's included.

    ``target`` tells what a symlink holds, None for whatever is none; it may raise NoWay. Raises NoWay for a loop.
    """
    here, left, followed = start, path.split(b"/")[::-1], 0
    while left:
        part = left.pop()
        if part in (b"", b"."):
            continue
        if part == b"..":
            here = here.rpartition(b"/")[0]
            continue
        place = join(here, part)
        link = target(place)
        if link is None:
            here = place
            continue
        followed += 1
        if followed > _FOLLOWED:
            raise PathError(place)
        here = b"" if link.startswith(b"/") else here
        left += link.split(b"/")[::-1]
    return here
