"""What an export looked like when it was written, directory by directory.

Nothing is linked from a directory that looks otherwise: somebody has written in it, or a disk has lost some of it. What
neither a size nor a time tells, only ``verify`` finds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from gitstate.core import fs
from gitstate.core.state_file import StateFormat
from gitstate.store import Repository

_FORMAT: Final = StateFormat("export", 1)
_DAMAGED: Final = StateFormat("damaged-export", 1)
_MARK: Final = ".damaged"
_SIZE: Final = 16
_FOLDER: Final = "exports"

Digests = Mapping[bytes, bytes]
"""A digest of each directory by its path."""


class Look(NamedTuple):
    """What a look at a directory tells: its digest, and the names in it."""

    digest: bytes
    files: list[str]
    directories: list[str]


def look(descriptor: int) -> Look:
    """A digest of what lstat tells of an open directory and the entries in it; a further link changes nothing.

    Raises OSError.
    """
    own, looks, directories = os.fstat(descriptor), [], []
    opened = fs.open_directory(b".", descriptor)  # btrfs lists what was there when a directory was opened
    try:
        with os.scandir(opened) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    directories.append(entry.name)
                else:
                    one = entry.stat(follow_symlinks=False)
                    looks.append((entry.name, one.st_mode, one.st_uid, one.st_gid, one.st_size, one.st_mtime_ns))
    finally:
        os.close(opened)
    whole = (own.st_mode, own.st_uid, own.st_gid, own.st_mtime_ns, sorted(looks), sorted(directories))
    text = repr(whole).encode("ascii", "backslashreplace")
    return Look(hashlib.blake2b(text, digest_size=_SIZE).digest(), [name for name, *_ in looks], directories)


# --- kept beside the repository, where no client reads ----------------------------------------------------------------


def recorded(repository: Repository) -> set[bytes]:
    """The commits of whose exports the looks are known, and nothing else that is wrong."""
    names = set(fs.list_names(_folder(repository)))
    return {bytes.fromhex(name) for name in names if len(name) == 40 and name + _MARK not in names}


def load(repository: Repository, commit: bytes) -> Digests:
    """The digests of an export; none if they can't be read."""
    body = _FORMAT.read(_folder(repository) / commit.hex())
    found, at = {}, 0
    while body and at < len(body):
        end = body.index(b"\0", at + _SIZE)
        found[body[at + _SIZE : end]] = body[at : at + _SIZE]
        at = end + 1
    return found


def save(repository: Repository, commit: bytes, digests: Digests, exports: Path) -> None:
    """Keep the digests of an export that was just written; those of exports that are gone go. Raises OSError."""
    folder = _folder(repository)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _FORMAT.write(folder / commit.hex(), [digest + path + b"\0" for path, digest in digests.items()])
    mark(repository, commit, None)
    tidy(repository, commit, exports)


def tidy(repository: Repository, commit: bytes, exports: Path) -> None:
    """Remove what is kept of exports that are gone, and what killed runs left; ``commit`` has one, or will have."""
    for path in _folder(repository).iterdir():
        if path.name != commit.hex() and not (exports / path.name.removesuffix(_MARK)).is_dir():
            path.unlink(missing_ok=True)


def mark(repository: Repository, commit: bytes, inode: int | None) -> None:
    """Keep in mind that the export of ``commit`` with this inode is damaged; None: that none is. Raises OSError."""
    path = _folder(repository) / f"{commit.hex()}{_MARK}"
    if inode is None:
        path.unlink(missing_ok=True)
    else:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _DAMAGED.write(path, [b"%d" % inode])


def damaged_inode(repository: Repository, commit: bytes) -> int | None:
    """The inode of the export of ``commit`` that was found damaged, which another one may have replaced since."""
    body = _DAMAGED.read(_folder(repository) / f"{commit.hex()}{_MARK}")
    return int(body) if body else None


def _folder(repository: Repository) -> Path:
    return repository.private / _FOLDER
