"""One writer at a time, and nothing left of those that were killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import LockedError

_SCRATCH: Final = "scratch-"


@contextmanager
def exclusive(repository: Path, private: Path, command: str) -> Iterator[None]:
    """Be the only writer. Raises LockedError naming who is; clears what a killed writer left behind."""
    private.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(private / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip() or "another command"
            raise LockedError(f"{repository.name} is locked by {holder}", "try again when it is done") from None
        _clear_leftovers(repository, private)  # first: it may be what fills the disk
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{command} (pid {os.getpid()})\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _clear_leftovers(repository: Path, private: Path) -> None:
    """Under the lock nobody else publishes: our keep files and half-written files are of the dead."""
    packs = repository / "objects" / "pack"
    for directory in private.glob(f"{_SCRATCH}*"):
        _clear_scratch(directory)
    for half in [*private.glob(".*"), *packs.glob(".pack-*.keep.*")]:
        half.unlink(missing_ok=True)
    for keep in packs.glob("pack-*.keep"):
        if keep.read_bytes().startswith(b"gitstate "):
            if not keep.with_suffix(".idx").exists():
                keep.with_suffix(".pack").unlink(missing_ok=True)
            keep.unlink()


def _clear_scratch(directory: Path) -> None:
    """Remove a scratch directory unless its owner lives: ``diff`` takes no lock of the repository."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(directory)
    os.close(descriptor)


def _new_scratch(private: Path) -> tuple[Path, int]:
    """A new directory and the descriptor that holds its lock."""
    for number in count():
        directory = private / f"{_SCRATCH}{os.getpid()}-{number}"
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:  # left by a dead one that had our number
            continue
        with suppress(FileNotFoundError):  # taken for a dead one's before it was locked
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if directory.exists():
                return directory, descriptor
            os.close(descriptor)
    raise AssertionError("numbers don't end")


def _remove(directory: Path) -> None:
    """Remove what can be removed: what is left goes with the next check-in."""
    with suppress(OSError):
        fs.remove_tree(directory)


@contextmanager
def scratch(private: Path) -> Iterator[Path]:
    """A directory for this process alone, removed at the end; a killed owner's goes with the next check-in."""
    directory, descriptor = _new_scratch(private)
    try:
        yield directory
    finally:
        _remove(directory)
        os.close(descriptor)
