"""Exports that aren't as they were written: how that is noticed and remembered, and how others take their places.

Machines have a damaged export open, by file handles that name its inodes. So it is never changed or removed: the new
one takes its name in one step, and the old one is kept (docs/decisions/0019-damaged-exports-are-replaced.md).
"""

from __future__ import annotations

import enum
import errno
import os
import re
import stat
from itertools import count
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.store import Repository
from gitstate.tree.export import digests

PARTIAL: Final = ".gitstate-partial"

_is_partial: Final = re.compile(rf"\.([0-9a-f]{{40}}){re.escape(PARTIAL)}").fullmatch
_NO_EXCHANGE: Final = (errno.EINVAL, errno.ENOSYS)


class Condition(enum.Enum):
    """What is known of an export without reading files."""

    SOUND = "sound"
    MISSING = "missing"
    DAMAGED = "damaged"


def condition(repository: Repository, commit: bytes, exports: Path, *, looks: bool) -> Condition:
    """The condition of the export of ``commit``, as ``verify`` last found it.

    With ``looks`` each directory is compared with how it looked when it was written, if that is known. Raises OSError.
    """
    target = exports / commit.hex()
    try:
        status = target.lstat()
    except FileNotFoundError:
        return Condition.MISSING
    if not stat.S_ISDIR(status.st_mode) or digests.damaged_inode(repository, commit) == status.st_ino:
        return Condition.DAMAGED
    return Condition.DAMAGED if looks and not _looks_as_written(repository, commit, target) else Condition.SOUND


def _looks_as_written(repository: Repository, commit: bytes, target: Path) -> bool:
    root = fs.open_tree(target)
    try:
        for path, digest in digests.load(repository, commit).items():
            descriptor = fs.open_path(path, root)
            try:
                if digests.look(descriptor).digest != digest:
                    return False
            finally:
                os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return False
    finally:
        os.close(root)
    return True


def remember(repository: Repository, commit: bytes, exports: Path, *, damaged: bool) -> None:
    """Keep in mind whether the export was found damaged, by somebody who read all of it. Raises OSError."""
    digests.mark(repository, commit, (exports / commit.hex()).lstat().st_ino if damaged else None)


def replace(repository: Repository, commit: bytes, new: Path, target: Path) -> Path:
    """Give ``new`` the name of a damaged export; where that is kept. Raises OSError.

    Its inode is remembered first: whoever finds a killed replacement knows which of the two machines may have open.
    """
    digests.mark(repository, commit, target.lstat().st_ino)
    try:
        fs.exchange(new, target)
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise
        kept = _set_aside(target, target.name)  # for a moment a machine that boots finds none
        os.rename(new, target)
    else:
        kept = _set_aside(new, target.name)
    fs.sync_directory(target.parent)
    return kept


def is_replaced(repository: Repository, commit: bytes, target: Path) -> bool:
    """Whether another export than the one at ``target`` is remembered as damaged."""
    return digests.damaged_inode(repository, commit) not in (None, target.lstat().st_ino)


def clear(repository: Repository, left: Path) -> None:
    """Remove what an export left under a temporary name, unless that is a damaged one that was replaced."""
    partial = _is_partial(left.name)
    try:
        inode = left.lstat().st_ino
    except FileNotFoundError:
        return
    if partial and digests.damaged_inode(repository, bytes.fromhex(partial[1])) == inode:
        _set_aside(left, partial[1])
    else:
        fs.remove_tree(left)


def _set_aside(damaged: Path, name: str) -> Path:
    kept = next(path for number in count(1) if fs.is_free(path := damaged.with_name(f".{name}.replaced-{number}")))
    os.rename(damaged, kept)
    return kept


def set_aside(exports: Path) -> list[Path]:
    """The damaged exports that were replaced, and that machines may still have open."""
    return [exports / name for name in fs.list_names(exports) if name.startswith(".") and ".replaced-" in name]
