"""Read SQLite databases in use under the locks that SQLite itself takes, so that all files are of one moment.

A shared lock keeps writers from changing the database file; a write-ahead log's checkpoint lock keeps the log from
being moved into it. Logs may grow meanwhile: SQLite ignores an appended frame unless its checksum is complete.
Offsets and names are those of sqlite.org/lockingv3.html, fileformat2.html and walformat.html.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

from gitstate.core import fs

HEADER: Final = 32
"""Bytes of a log's header. A log that is restarted gets another header before other content."""

_MAGIC: Final = b"SQLite format 3\0"
_LOGS: Final = (b"-wal", b"-journal")
_SHARED_MEMORY: Final = b"-shm"
_SHARED_LOCK: Final = (0x40000002, 510)
_CHECKPOINT_LOCK: Final = (121, 1)
_TIMEOUT: Final = 5.0
"""Seconds to wait until nobody commits."""


def is_database(descriptor: int, size: int) -> bool:
    """Whether an open file of ``size`` bytes is a database: pages of 512 bytes or more with the header string."""
    return bool(size) and size % 512 == 0 and os.pread(descriptor, len(_MAGIC), 0) == _MAGIC


def is_log(name: bytes) -> bool:
    """Whether a file beside a database is a log of changes."""
    return name.endswith(_LOGS)


def begins_database(data: bytes) -> bool:
    """Whether a file that begins with ``data`` is a database."""
    return data.startswith(_MAGIC)


def logged(name: bytes) -> bytes:
    """The database whose log ``name`` would be; empty if no log has such a name."""
    return next((name.removesuffix(suffix) for suffix in _LOGS if name.endswith(suffix)), b"")


def logs(database: bytes) -> tuple[bytes, ...]:
    """The logs that a database may have beside it."""
    return tuple(database + suffix for suffix in _LOGS)


def shared_memory(log: bytes) -> bytes:
    """What SQLite has beside a database with the write-ahead log ``log``."""
    return logged(log) + _SHARED_MEMORY


def may_be_shared_memory(name: bytes) -> bool:
    """Whether it depends on other files if ``name`` is left out."""
    return name.endswith(_SHARED_MEMORY)


def is_shared_memory(name: bytes, names: set[bytes]) -> bool:
    """Whether ``name`` is ``X-shm``, which the next process to open the database rebuilds."""
    database = name.removesuffix(_SHARED_MEMORY)
    return database != name and database in names and database + b"-wal" in names


def database_of(name: bytes, names: set[bytes]) -> bytes | None:
    """The database in use that ``name`` is or belongs to, if any."""
    for suffix in _LOGS:
        if name + suffix in names:
            return name
        if name.endswith(suffix) and name.removesuffix(suffix) in names:
            return name.removesuffix(suffix)
    return None


@contextmanager
def locked(name: bytes, parent: int) -> Iterator[bool]:
    """Hold the locks of the database ``name``; yields whether they were granted in time."""
    deadline = time.monotonic() + _TIMEOUT
    while True:
        with ExitStack() as locks:
            if _lock(locks, name, parent, *_SHARED_LOCK) and _lock(
                locks, name + _SHARED_MEMORY, parent, *_CHECKPOINT_LOCK
            ):
                yield True
                return
        if time.monotonic() > deadline:
            yield False
            return
        time.sleep(0.001)


def _lock(locks: ExitStack, name: bytes, parent: int, start: int, count: int) -> bool:
    try:
        descriptor = fs.open_file(name, parent)
    except OSError:
        return True  # nothing to lock: reading it reports what is wrong
    locks.callback(os.close, descriptor)
    return locks.enter_context(fs.shared_lock(descriptor, start, count))
