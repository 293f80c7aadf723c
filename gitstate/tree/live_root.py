"""What a live tree was when it was last recorded: which directory, and how many entries it had.

An unmounted file system leaves an empty directory behind, and a cron job would record that everything was deleted.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import HostError, RefusedError
from gitstate.core.state_file import StateFormat
from gitstate.store import Repository

_FORMAT: Final = StateFormat("live root", 1)
_FEW: Final = 20
"""So many entries may always go: in small trees half of all are soon deleted on purpose."""


@dataclass(frozen=True, slots=True)
class LiveRoot:
    """A live tree's root: its path, which directory of which file system that is, and the entries below it.

    ``repository`` is the same of its repository: in a copy of a whole site both are others.
    """

    path: str
    identity: str
    repository: str
    entries: int


def recorded(repository: Repository) -> LiveRoot | None:
    """What was remembered at the last check-in; None for nothing."""
    body = _FORMAT.read(_path(repository))
    if body is None:
        return None
    entries, identity, own, path = body.split(b"\n", 3)
    return LiveRoot(os.fsdecode(path), identity.decode(), own.decode(), int(entries))


def remember(repository: Repository, live: Path, entries: int | None = None) -> None:
    """Remember the live tree as it is now; without ``entries`` their last number. Raises OSError."""
    before = recorded(repository)
    if entries is None:
        entries = before.entries if before else 0
    now = LiveRoot(os.path.realpath(live), _identity(live), _identity(repository.path), entries)
    if now != before:
        lines = (str(now.entries), now.identity, now.repository, now.path)
        _FORMAT.write(_path(repository), ["\n".join(lines).encode("utf-8", "surrogateescape")])


def forget(repository: Repository) -> None:
    """Forget what the live tree was: it becomes something else on purpose. Raises OSError."""
    _path(repository).unlink(missing_ok=True)


def _path(repository: Repository) -> Path:
    return repository.private / "live-root"


def _identity(directory: Path) -> str:
    descriptor = fs.open_tree(directory)
    try:
        return fs.lasting_identity(descriptor)
    finally:
        os.close(descriptor)


def is_replaced(repository: Repository, live: Path) -> bool:
    """Whether another directory stands where the live tree of the last check-in was."""
    before = recorded(repository)
    if before is None or before.path != os.path.realpath(live) or before.repository != _identity(repository.path):
        return False
    return before.identity != _identity(live)


def require_same(repository: Repository, live: Path, confirmed: int | None = None) -> None:
    """Raise HostError if something else stands at the live tree's path than last time, unless it was ``confirmed``."""
    if confirmed is None and is_replaced(repository, live):
        hint = (
            f"if a file system should be mounted there, mount it; if this is the live tree now (restored, or moved to "
            f"another disk): gitstate checkin {repository.name} --yes-delete 0"
        )
        raise HostError(f"{live} is another directory than at the last check-in, or on another file system", hint)


def require_most(repository: Repository, live: Path, entries: int, confirmed: int | None = None) -> None:
    """Raise RefusedError if more than half of the entries have gone, and more than were ``confirmed``."""
    before = recorded(repository)
    gone = before.entries - entries if before else 0
    if before is None or gone <= _FEW or gone * 2 <= before.entries or gone <= (confirmed or 0):
        return
    hint = (
        f"to bring them back: gitstate restore {repository.name} --all; if they are to go: --yes-delete {gone}; "
        "is everything mounted?"
    )
    raise RefusedError(f"nothing recorded: {gone} of {before.entries} entries have gone from {live}", hint)
