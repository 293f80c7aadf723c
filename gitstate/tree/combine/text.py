"""Merge texts by line: git's own merge of files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from gitstate.core import git, process
from gitstate.tree.combine.models import TextMerge

_LARGEST: Final = 32 << 20
"""Larger files are no texts that people edit (bytes)."""
_BINARY: Final = 8000
"""git takes a file for binary if there is a NUL among so many first bytes."""
_MOST_CONFLICTS: Final = 127
"""git-merge-file(1) counts no further in its exit code."""


def merge_text(base: bytes, ours: bytes, theirs: bytes) -> TextMerge | None:
    """Merge two edits of ``base``; None for binary content. Raises HostError, StorageError, ProgramError."""
    sides = {"ours": ours, "base": base, "theirs": theirs}
    if any(len(side) > _LARGEST or b"\0" in side[:_BINARY] for side in sides.values()):
        return None
    with tempfile.TemporaryDirectory(prefix="gitstate-merge-") as directory:
        words = ["merge-file", "--stdout", "--quiet", "--zdiff3"]
        for name in sides:
            words += ["-L", name]
        for name, side in sides.items():
            path = Path(directory, name)
            path.write_bytes(side)
            words.append(str(path))
        accepted = range(_MOST_CONFLICTS + 1)
        done = process.finish(git.command(*words), accept=accepted)
    return TextMerge(done.output, done.code == 0)
