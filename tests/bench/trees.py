"""Directory trees as the bench needs them, one entry at a time: its own memory would count as the commands'."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.bench.measure import BenchError, run_untimed

_READ: Final = 1 << 20


def below(tree: Path) -> Iterator[tuple[bytes, os.stat_result]]:
    """Every path below a directory, relative to it, with its status, in a fixed order."""
    root = os.fsencode(tree)
    for directory, names, files in os.walk(root, onerror=_fail):
        names.sort()
        for name in sorted((*names, *files)):
            path = os.path.join(directory, name)
            yield os.path.relpath(path, root), os.lstat(path)


def _fail(error: OSError) -> None:
    raise BenchError(f"{error.filename!r}: {error.strerror}")


def disk_usage(tree: Path) -> int:
    """The bytes that a directory takes on its disk, each inode once."""
    linked, total = set(), 0
    for _, status in below(tree):
        if status.st_nlink == 1 or stat.S_ISDIR(status.st_mode) or status.st_ino not in linked:
            total += status.st_blocks * 512
            linked |= {status.st_ino} if status.st_nlink > 1 else set()
    return total


def read_all(tree: Path) -> None:
    """Read every file below a directory once, so that it stands in the page cache."""
    buffer = bytearray(_READ)
    for path, status in below(tree):
        if stat.S_ISREG(status.st_mode):
            with open(os.path.join(os.fsencode(tree), path), "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def fresh(directory: Path) -> Path:
    """An empty directory under this name."""
    remove(directory)
    directory.mkdir(parents=True)
    return directory


def remove(tree: Path) -> None:
    """Remove a tree, whatever it holds."""
    run_untimed(["rm", "-rf", "--one-file-system", "--", str(tree)], os.environ)
