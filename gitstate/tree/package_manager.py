"""Whether a package manager is at work in a live tree from somewhere else: what it has half done isn't to be recorded,
nor written over.

A machine that boots the live tree locks over NFS 4: the server holds these locks for it, and they belong to no process
here. NFS 3 as we mount it tells the server of no lock; there dpkg's journal shows that it is at work. A package manager
on this machine isn't waited for: it may be what has started us (hooks of apt and dnf).
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import LockedError
from gitstate.core.monitor import Observer
from gitstate.core.names import display

_LOCKS: Final = (
    b"var/lib/dpkg/lock-frontend",
    b"var/lib/dpkg/lock",
    b"var/lib/rpm/.rpm.lock",
    b"usr/lib/sysimage/rpm/.rpm.lock",
)
_JOURNAL: Final = b"var/lib/dpkg/updates"
"""Files here, named by numbers, are what dpkg has done since it began; they are gone when it ends."""
_RECENT: Final = 30.0
"""Seconds after which a journal is that of a dpkg that was killed."""
_PATIENCE: Final = 600.0
_EVERY: Final = 0.5


def wait_until_idle(live: Path, observer: Observer, patience: float = _PATIENCE) -> None:
    """Wait while a package manager elsewhere is at work in a live tree; say so. Raises LockedError after ``patience``.

    ``patience`` is in seconds.
    """
    end = time.monotonic() + patience
    told = False
    while busy := _busy(live):
        if not told:
            observer.notice(f"a package manager is at work in {live} ({busy}): waiting until it is done")
            told = True
        if time.monotonic() >= end:
            hint = "end it on the machine that boots the live tree, then run this again"
            raise LockedError(f"a package manager is at work in {live} ({busy})", hint)
        time.sleep(min(_EVERY, patience))


def _busy(live: Path) -> str:
    """What shows that one is at work; empty if nothing does."""
    root = fs.open_tree(live)
    try:
        for path in _LOCKS:
            if _is_locked_elsewhere(path, root):
                return f"/{display(path)} is locked"
        return f"/{display(_JOURNAL)} has grown" if _has_recent_journal(root) else ""
    finally:
        os.close(root)


def _is_locked_elsewhere(path: bytes, root: int) -> bool:
    above, _, name = path.rpartition(b"/")
    with suppress(OSError):  # none there, or no file: no package manager has locked that
        parent = fs.open_path(above, root)
        try:
            descriptor = fs.open_file(name, parent)
            try:
                return fs.is_locked_for_others(descriptor)
            finally:
                os.close(descriptor)
        finally:
            os.close(parent)
    return False


def _has_recent_journal(root: int) -> bool:
    with suppress(OSError):
        directory = fs.open_path(_JOURNAL, root)
        try:
            newest = max((one.st_mtime for name, one in fs.list_directory(directory) if name.isdigit()), default=0.0)
        finally:
            os.close(directory)
        return 0 <= time.time() - newest < _RECENT
    return False
