"""From an open file to a blob: read until it holds still, hash, and hand to the sink only what the repository lacks."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from gitstate import fs
from gitstate.entry import Entry, Kind, Meta
from gitstate.policy import Policy, Refusal
from gitstate.scan.cache import payload
from gitstate.store import Type, object_id

LARGE: Final = 32 << 20
"""Files from this size on (bytes) are streamed: memory stays bounded whatever the file sizes."""

_PIECE: Final = 1 << 20
_ATTEMPTS: Final = 5
_SETTLING: Final = 20_000_000
"""Nanoseconds within which two writes may bear one time stamp."""


class Sink(Protocol):
    """Where new objects go. ``blob`` and ``stream`` are called from several threads."""

    def holds(self, oid: bytes) -> bool:
        """Whether the object was handed over in this run."""

    def blob(self, oid: bytes, data: bytes) -> None:
        """A new blob."""

    def stream(self, size: int, chunks: Callable[[], bytes], known: Callable[[bytes], bool]) -> bytes:
        """A blob too big for memory; its id. Dropped where ``known`` says so. Raises ValueError on another size."""

    def add(self, kind: Type, data: bytes) -> bytes:
        """A tree or another small object; its id."""


class Outcome(NamedTuple):
    """What became of one file: its entry, or why there is none; ``status`` is the lstat that belongs to the entry."""

    entry: Entry | None
    status: os.stat_result | None = None
    problem: str = ""
    mounted: bool = False
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One file to record: ``name`` in the open directory ``parent``; ``old`` is its entry in the base snapshot."""

    path: bytes
    name: bytes
    parent: int
    old: Entry | None


class Recorder:
    """Records files; every method may be called from several threads."""

    def __init__(self, sink: Sink, policy: Policy, home: int, reachable: Callable[[bytes], bool]) -> None:
        self._sink = sink
        self._policy = policy
        self._home = home
        self._reachable = reachable
        self._count = threading.Lock()
        self.bytes_read = 0

    def record(self, task: Task) -> Outcome:
        """Read one regular file; tried again while it changes."""
        try:
            descriptor = fs.open_file(task.name, task.parent)
        except OSError as error:
            return Outcome(None, problem=error.strerror or str(error))
        try:
            if fs.mount_id(descriptor) != self._home:
                return Outcome(task.old, mounted=True)
            return self._settle(task, descriptor)
        except OSError as error:
            return Outcome(None, problem=error.strerror or str(error))
        finally:
            os.close(descriptor)

    def _settle(self, task: Task, descriptor: int) -> Outcome:
        for attempt in range(_ATTEMPTS):
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                return Outcome(None, problem="changed its type meanwhile")
            found = self._read_once(task, descriptor, before.st_size)
            xattrs = fs.descriptor_xattrs(descriptor, selinux=self._policy.selinux)
            after = os.fstat(descriptor)
            if found is not None and payload(before) == payload(after) and not _too_fresh(after):
                oid, refusal = found
                meta = Meta(
                    Kind.FILE,
                    stat.S_IMODE(after.st_mode),
                    after.st_uid,
                    after.st_gid,
                    after.st_mtime_ns,
                    None,
                    xattrs,
                )
                return Outcome(Entry(task.name, meta, oid), after, refusal=refusal)
            time.sleep(0.02 * (attempt + 1))
        return Outcome(None, problem="keeps changing while it is read")

    def _read_once(self, task: Task, descriptor: int, size: int) -> tuple[bytes, Refusal | None] | None:
        """The blob's id and what policy says; None if the file was not ``size`` bytes long."""
        if size >= LARGE:
            return self._stream(task, descriptor, size)
        data = os.pread(descriptor, size + 1, 0)
        if len(data) != size:
            return None
        with self._count:
            self.bytes_read += size
        oid = object_id(Type.BLOB, data)
        if task.old is not None and task.old.oid == oid:
            return oid, None
        refusal = self._policy.inspect(task.path, data) if self._policy.inspects(task.path, size) else None
        if refusal is None and not self._sink.holds(oid) and not self._reachable(oid):
            self._sink.blob(oid, data)
        return oid, refusal

    def _stream(self, task: Task, descriptor: int, size: int) -> tuple[bytes, None] | None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        old = task.old.oid if task.old is not None else b""
        with self._count:
            self.bytes_read += size
        with suppress(ValueError):
            return (
                self._sink.stream(
                    size, lambda: os.read(descriptor, _PIECE), lambda oid: oid == old or self._reachable(oid)
                ),
                None,
            )
        return None

    def record_batch(self, tasks: list[Task]) -> list[Outcome]:
        """Several files, one after the other."""
        return [self.record(task) for task in tasks]

    def record_database(self, tasks: list[Task]) -> list[Outcome]:
        """A SQLite database in use with its journal and write-ahead log, all of one moment.

        A shared lock keeps writers from changing the database file, and the checkpoint lock keeps the log from being
        moved into it; what is appended to the log meanwhile is complete by its checksums or ignored by SQLite.
        The bytes locked are those of sqlite.org/fileformat2.html and walformat.html.
        """
        for attempt in range(10):
            with ExitStack() as locks:
                if all(_lock(locks, tasks[0], suffix, *where) for suffix, where in _SQLITE_LOCKS):
                    return self.record_batch(tasks)
            time.sleep(0.05 * (attempt + 1))
        return [Outcome(None, problem="a database that is being written all the time") for _ in tasks]


_SQLITE_LOCKS: Final = ((b"", (0x40000002, 510)), (b"-shm", (121, 1)))
_SQLITE_COMPANIONS: Final = (b"-wal", b"-journal")
_SQLITE_SHARED: Final = b"-shm"


def is_shared_memory(name: bytes, names: set[bytes]) -> bool:
    """Whether ``name`` is SQLite's ``X-shm``, which is rebuilt by whoever opens the database first."""
    database = name.removesuffix(_SQLITE_SHARED)
    return database != name and database in names and database + b"-wal" in names


def database_of(name: bytes, names: set[bytes]) -> bytes | None:
    """The SQLite database in use that ``name`` belongs to, if any."""
    for suffix in _SQLITE_COMPANIONS:
        if name + suffix in names:
            return name
        if name.endswith(suffix) and name.removesuffix(suffix) in names:
            return name.removesuffix(suffix)
    return None


def _lock(locks: ExitStack, task: Task, suffix: bytes, start: int, count: int) -> bool:
    try:
        descriptor = fs.open_file(task.name + suffix, task.parent)
    except OSError:
        return True  # nothing to lock: its reader will say what is wrong
    locks.callback(os.close, descriptor)
    return locks.enter_context(fs.shared_lock(descriptor, start, count))


def _too_fresh(status: os.stat_result) -> bool:
    """Whether a write just now could have left these very time stamps."""
    age = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns)
    return 0 <= age < _SETTLING


class HashOnly:
    """The sink of ``status`` and ``--dry-run``: ids without blobs; small objects stay readable in memory."""

    def __init__(self, read: Callable[[bytes], bytes]) -> None:
        self._read = read
        self._small: dict[bytes, bytes] = {}
        self._seen: set[bytes] = set()
        self.blobs = 0

    def holds(self, oid: bytes) -> bool:
        return oid in self._seen

    def blob(self, oid: bytes, data: bytes) -> None:
        self._seen.add(oid)

    def stream(self, size: int, chunks: Callable[[], bytes], known: Callable[[bytes], bool]) -> bytes:
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        seen = 0
        while chunk := chunks():
            seen += len(chunk)
            digest.update(chunk)
        if seen != size:
            raise ValueError(f"{seen} bytes instead of {size}")
        self._seen.add(digest.digest())
        return digest.digest()

    def add(self, kind: Type, data: bytes) -> bytes:
        oid = object_id(kind, data)
        self._small[oid] = data
        return oid

    def read(self, oid: bytes) -> bytes:
        """A small object of this run, or one of the repository's."""
        return self._small.get(oid) or self._read(oid)
