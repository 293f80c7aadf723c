"""What a row has used up is deleted after the row, not beside its timings."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.bench.trees import below, file_system, remove

_SHUNNED: Final = 65.0
_MANY: Final = 5000


class Trash:
    """Takes trees out of the way, and deletes them when told.

    ext4 without a journal doesn't give an inode out again for a minute after its deletion, and searches past all such
    inodes: whoever makes many files then pays for whoever deleted many. ``settle`` waits for that minute to end.
    """

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._say = say
        self._taken = 0
        self._quiet_from = 0.0
        self._shuns = shuns_deleted_inodes(directory.parent)

    def take(self, tree: Path) -> None:
        """Put a tree, if it is there, out of the way by renaming it."""
        if tree.exists():
            self._directory.mkdir(exist_ok=True)
            self._taken += 1
            tree.rename(self._directory / str(self._taken))

    def empty(self) -> None:
        """Delete what was taken."""
        if self._directory.exists():
            count = sum(1 for _ in below(self._directory))
            remove(self._directory)
            os.sync()
            self.deleted(count)

    def deleted(self, count: int) -> None:
        """So many files have just been deleted."""
        if self._shuns and count >= _MANY:
            self._quiet_from = time.monotonic() + _SHUNNED

    def settle(self) -> None:
        """Wait until earlier deletions don't matter any more."""
        left = self._quiet_from - time.monotonic()
        if left > 0:
            self._say(f"ext4 has no journal here: waiting {left:.0f} s until deleted inodes are forgotten")
            time.sleep(left)


def shuns_deleted_inodes(directory: Path) -> bool:
    """Whether ``directory`` is on an ext4 without a journal."""
    if file_system(directory) != "ext4":
        return False
    device = directory.stat().st_dev
    block = Path(os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")).name
    return not any(Path("/proc/fs/jbd2").glob(f"{block}-*"))
