"""What a git that was killed has left in the way: ``*.lock`` files, which nobody else will ever remove."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from gitstate.core.errors import LockedError
from gitstate.store.repository import Repository
from gitstate.store.site import Site

_PATIENCE: Final = 2.0
"""Seconds after which a lock is nobody's: to move a ref takes milliseconds."""
_PAUSE: Final = 0.05


def clear(site: Site) -> None:
    """Remove them where nobody but gitstate moves refs; to be used under the lock of ``site.git``.

    A killed gitstate's git may live a moment longer than it did, so each lock is given time to go by itself.
    """
    found = {path: path.lstat().st_ino for path in _standing(site)}
    until = time.monotonic() + _PATIENCE
    while found and time.monotonic() < until:
        time.sleep(_PAUSE)
        found = {path: inode for path, inode in found.items() if _is_there(path, inode)}
    told = {path for path in found if path.is_relative_to(site.directory_path)}
    for path in found.keys() - told:
        path.unlink(missing_ok=True)
    if told:
        with suppress(LockedError), Repository.open(site.directory_path, site.directory_path.name).lock("reconcile"):
            for path in told:
                path.unlink(missing_ok=True)


def _standing(site: Site) -> Iterator[Path]:
    for ours in (site.releases_path, site.directory_path):
        yield from ours.glob("*.lock")
        yield from (ours / "refs").rglob("*.lock")
    for name in site.repositories():
        yield from (site.repository_path(name) / "refs" / "gitstate" / "released").rglob("*.lock")


def _is_there(path: Path, inode: int) -> bool:
    with suppress(FileNotFoundError):
        return path.lstat().st_ino == inode
    return False
