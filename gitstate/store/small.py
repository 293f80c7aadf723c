"""Small changes: a commit of a few objects, written loose as git itself does; of many, as one pack."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.store.objects import Type
from gitstate.store.repository import Repository
from gitstate.store.staging import Move

FEW: Final = 64
"""The most that are written as loose objects. A pack for each small change would make thousands of packs."""


def write_objects(
    repository: Repository, objects: Mapping[bytes, tuple[Type, bytes]], moves: Sequence[Move], reason: str
) -> None:
    """Write ``objects``, given by their ids, durably, then move the refs. The caller holds the repository's lock.

    Raises LockedError, RefusedError, StorageError as ``Repository.move_refs``, and OSError; no ref has moved then.
    """
    if len(objects) > FEW:
        with repository.staging() as staging:
            for kind, data in objects.values():
                staging.add(kind, data)
            staging.publish(moves, reason)
        return
    with repository.scratch() as directory:
        for oid, (kind, data) in objects.items():
            _write_loose(repository.path / "objects", directory / oid.hex(), kind, data)
    repository.move_refs(moves, reason)


def _write_loose(objects: Path, temporary: Path, kind: Type, data: bytes) -> None:
    """One object in its place, over one that a crash has cut short, too."""
    name = temporary.name
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444), "wb") as file:
        file.write(zlib.compress(b"%s %d\0" % (kind.word, len(data)) + data))
        file.flush()
        os.fsync(file.fileno())
    folder = objects / name[:2]
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        fs.sync_directory(objects)
    os.rename(temporary, folder / name[2:])
    fs.sync_directory(folder)
