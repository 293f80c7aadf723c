"""Locks by flock(2), which the kernel releases when a process dies, and scratch directories of the living."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final, TypeVar

from gitstate.core import fs
from gitstate.core.errors import LockedError
from gitstate.core.failures import ProgramError

_SCRATCH: Final = "scratch-"
_RECORD: Final = "git-of-"
_PAUSE: Final = 0.05
_EXPORT: Final = 600.0
"""Seconds: a first export of a large root takes its time."""
_REPORTS: Final = 60.0
"""Seconds: a lab that is switched on reports all at once."""

T = TypeVar("T")


@contextmanager
def exclusive(directory: Path, busy: str = "") -> Iterator[None]:
    """Lock ``directory``; wait if it is locked, or raise LockedError with the message ``busy`` if there is one."""
    descriptor = fs.open_tree(directory)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError:
            raise LockedError(busy, "try again when it is done") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def lock_repository(repository: Path, private: Path, command: str) -> Iterator[None]:
    """Be the only writer. Raises LockedError naming the holder; clears what a killed writer left behind."""
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
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        os.pwrite(descriptor, f"{command} (pid {os.getpid()}, since {since})\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def recorded(private: Path) -> Iterator[None]:
    """Leave a record in ``private`` that git works for us, in case we are killed with it; see ``settle_records``.

    It goes at the end of the block, unless git was killed in it, perhaps. Raises OSError.
    """
    private.mkdir(mode=0o700, exist_ok=True)
    record = private / f"{_RECORD}{os.getpid()}"
    while True:
        descriptor = os.open(record, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if record.exists():
            break
        os.close(descriptor)  # another process took it for that of a killed one before it was locked
    is_over = True
    try:
        yield
    except (ProgramError, LockedError):  # git ended by itself, and removed its locks
        raise
    except BaseException:
        is_over = False
        raise
    finally:
        if is_over:
            record.unlink(missing_ok=True)
        os.close(descriptor)


def settle_records(private: Path, clear: Callable[[], bool]) -> None:
    """Call ``clear`` for each process that was killed, or failed, while git worked for it; if true, its record goes."""
    for record in private.glob(f"{_RECORD}*"):
        with suppress(FileNotFoundError, BlockingIOError):
            descriptor = os.open(record, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if clear():
                    record.unlink()
            finally:
                os.close(descriptor)


def retry(do: Callable[[], T], seconds: float = _REPORTS) -> T:
    """What ``do`` returns, called again while it raises LockedError, for so many seconds at most."""
    until = time.monotonic() + seconds
    while True:
        try:
            return do()
        except LockedError:
            if time.monotonic() > until:
                raise
            time.sleep(_PAUSE)


@contextmanager
def wait_for_lock(lock: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Hold ``lock`` once its holder is done. Raises LockedError after ten minutes."""
    with ExitStack() as stack:
        retry(lambda: stack.enter_context(lock()), _EXPORT)
        yield


def _clear_leftovers(repository: Path, private: Path) -> None:
    """Nobody else publishes under the lock, so keep files of ours and temporary files are of killed processes."""
    packs = repository / "objects" / "pack"
    for directory in private.glob(f"{_SCRATCH}*"):
        _clear_scratch(directory)
    for temporary in [*private.glob(".*"), *packs.glob(".pack-*.keep.*")]:
        temporary.unlink(missing_ok=True)
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
        except FileExistsError:  # left by a killed process that had our pid
            continue
        with suppress(FileNotFoundError):  # another process removed it before it was locked
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if directory.exists():
                return directory, descriptor
            os.close(descriptor)
    raise AssertionError("unreachable")


def _remove(directory: Path) -> None:
    """Remove as much as possible; the next lock clears the rest."""
    with suppress(OSError):
        fs.remove_tree(directory)


@contextmanager
def scratch(private: Path) -> Iterator[Path]:
    """A directory for this process alone, removed at the end; if it is killed, by the next lock."""
    directory, descriptor = _new_scratch(private)
    try:
        yield directory
    finally:
        _remove(directory)
        os.close(descriptor)
