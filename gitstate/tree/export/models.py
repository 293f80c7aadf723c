"""What an export is made of: where from, what it did, and what is under way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gitstate.core import fs
from gitstate.core.entry import Entry, Meta


@dataclass(frozen=True, slots=True)
class Nearest:
    """An export to take from: its directory and its snapshot's commit and root tree.

    ``linked``: its files become ours. Else they only lend us their bytes, as what is made is the user's to change.
    """

    path: Path
    commit: bytes
    tree: bytes
    linked: bool = True


@dataclass(slots=True)
class Tally:
    """What an export did."""

    linked: int = 0
    cloned: int = 0
    written: int = 0
    directories: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Frame:
    """A directory being made: ``new`` and ``old`` are descriptors, ``old`` -1 where there is nothing to take."""

    path: bytes
    new: int
    old: int
    own: Meta
    pending: list[tuple[bytes, bytes, bytes | None]]
    waiting: int = 0

    def close(self) -> None:
        """Let go of the descriptors."""
        fs.close(self.new)
        if self.old >= 0:
            fs.close(self.old)


class Task(NamedTuple):
    """An entry to be made by a thread; ``source`` is where a file of its name and content stands, or -1."""

    frame: Frame
    entry: Entry
    source: int
