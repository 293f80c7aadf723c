"""The data of an export: where it links from, what it has done, and what is under way."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gitstate.core.entry import Entry, Meta


@dataclass(frozen=True, slots=True)
class NearestExport:
    """An existing export to share files with: its directory and its snapshot's commit and root tree.

    ``linkable``: files may be hard-linked from it; otherwise only cloned (reflinks), as the user may change the copy.
    """

    path: Path
    commit: bytes
    tree: bytes
    linkable: bool = True


@dataclass(slots=True)
class Counts:
    """What an export has made: entries by how, and the bytes written."""

    linked: int = 0
    cloned: int = 0
    written: int = 0
    directories: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Frame:
    """A directory being made: ``new`` and ``old`` are descriptors, ``old`` -1 where the old export has none."""

    path: bytes
    new: int
    old: int
    own: Meta
    pending: list[tuple[bytes, bytes, bytes | None]]
    waiting: int = 0

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self.new)
        if self.old >= 0:
            os.close(self.old)


class EntryTask(NamedTuple):
    """An entry for a thread to make; ``source`` is a directory with a file of the same name and content, or -1."""

    frame: Frame
    entry: Entry
    source: int
