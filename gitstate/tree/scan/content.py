"""From an open file to a blob: read until it is stable, hash, and pass on only what the repository lacks."""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from isal import isal_zlib

from gitstate.core import fs
from gitstate.core.entry import Entry, Kind, Meta, Xattrs
from gitstate.store import Type, object_id
from gitstate.tree.policy import Policy, Refusal
from gitstate.tree.scan import sqlite
from gitstate.tree.scan.cache import pack_stat

LARGE: Final = 32 << 20
"""Files from this size on (bytes) are streamed: memory stays bounded whatever the file sizes."""

_MOST_HOLES: Final = 4 << 30
"""A file with larger holes (bytes) is not recorded unless policy allows it: git holds them as zeros, which everybody
who reads the file must hash."""

_PIECE: Final = 1 << 20
_ATTEMPTS: Final = 5
CLOCK_STEP: Final = 20_000_000
"""Nanoseconds within which two writes may leave the same time stamp."""
_LONGEST_WRITE: Final = 86_400 * 10**9
"""Nanoseconds: no write(2), which is at most 2 GiB, takes a day."""
_LONG_WRITE: Final = 600 * 10**9
"""The same where only the clock tells: as long as is likely, so that few files are read twice."""


UNHELD: Final = (OSError, ArithmeticError, ValueError, struct.error)
"""What reading an entry raises that can't be read, or has a number that we can't hold."""


def reason(error: Exception) -> str:
    """Why an entry isn't recorded, without its name."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


class Sink(Protocol):
    """Where new objects go. ``blob`` and ``stream`` are called from several threads."""

    def holds(self, oid: bytes) -> bool:
        """Whether the object has been added in this run."""

    def blob(self, oid: bytes, data: bytes) -> None:
        """Add a blob."""

    def stream(self, size: int, chunks: Callable[[], bytes], known: Callable[[bytes], bool]) -> bytes:
        """Add a blob too big for memory, unless its id is ``known``; the id. Raises ValueError on another size."""

    def add(self, kind: Type, data: bytes) -> bytes:
        """Add a tree or another small object; its id."""


class Outcome(NamedTuple):
    """The result of one file: its entry, or why there is none; ``status`` is the lstat that belongs to the entry.

    ``settled``: whether the content is what belongs to that lstat for good. If not, the next scan reads it again.
    """

    entry: Entry | None
    status: os.stat_result | None = None
    problem: str = ""
    mounted: bool = False
    refusal: Refusal | None = None
    settled: bool = True


@dataclass(frozen=True, slots=True)
class FileTask:
    """One file to record: ``name`` in the open directory ``parent``; ``old`` is its entry in the base snapshot.

    ``status`` is the lstat that the walk found.
    """

    path: bytes
    name: bytes
    parent: int
    old: Entry | None
    status: os.stat_result


class Recorder:
    """Records files; every method may be called from several threads."""

    def __init__(
        self, sink: Sink, policy: Policy, home: int, reachable: Callable[[bytes], bool], since: int | None
    ) -> None:
        self._sink = sink
        self._policy = policy
        self._mount = home
        self._since = since
        self._reachable = reachable
        self._count = threading.Lock()
        self.bytes_read = 0

    def record(self, task: FileTask) -> Outcome:
        """Read one regular file, again while it changes."""
        return self._open(task, self._record)

    def _open(self, task: FileTask, read: Callable[[FileTask, int], Outcome]) -> Outcome:
        """Open the file for ``read``. One that has vanished has no entry, and no problem."""
        try:
            descriptor = fs.open_file(task.name, task.parent)
        except FileNotFoundError:
            return Outcome(None)
        except OSError as error:
            return Outcome(None, problem=error.strerror or str(error))
        try:
            if fs.mount_id(descriptor) != self._mount:
                return Outcome(task.old, mounted=True)
            return read(task, descriptor)
        except UNHELD as error:
            return Outcome(None, problem=reason(error))
        finally:
            os.close(descriptor)

    def _record(self, task: FileTask, descriptor: int) -> Outcome:
        for attempt in range(_ATTEMPTS):
            before = os.fstat(descriptor) if attempt else task.status
            if not stat.S_ISREG(before.st_mode):
                return Outcome(None, problem="changed its type meanwhile")
            if why := self._too_hollow(task, descriptor, before.st_size):
                return Outcome(None, problem=why)
            if sqlite.is_database(descriptor, before.st_size):
                return self.record_database([task])[0]
            if self._since is not None and max(before.st_mtime_ns, before.st_ctime_ns) >= self._since:
                os.fdatasync(descriptor)  # so that a write through mmap from now on moves the file's time
            settled = self._is_settled(descriptor, before)
            found = self._read_once(task, descriptor, before.st_size)
            xattrs = fs.descriptor_xattrs(descriptor, selinux=self._policy.selinux)
            after = os.fstat(descriptor)
            if found is not None and pack_stat(before) == pack_stat(after) and not _may_be_racy(after):
                return _outcome(task, after, xattrs, found, settled)
            time.sleep(0.02 * (attempt + 1))
        return Outcome(None, problem="keeps changing while it is read")

    def _too_hollow(self, task: FileTask, descriptor: int, size: int) -> str:
        """Why a sparse file isn't recorded; empty if it is."""
        if size <= _MOST_HOLES or self._policy.allows(task.path):
            return ""
        holes = size - sum(stop - start for start, stop in fs.extents(descriptor))
        return f"sparse, {holes >> 30} GiB of holes: skip or allow it in the policy file" if holes > _MOST_HOLES else ""

    def _is_settled(self, descriptor: int, status: os.stat_result) -> bool:
        """Whether no write that began before ``status`` was taken can still be going on.

        A write(2) moves the times when it begins (docs/decisions/0011-writes-that-take-long.md).
        """
        age = time.time_ns() - status.st_ctime_ns
        if age > _LONGEST_WRITE:
            return True
        writers = fs.is_open_for_writing(descriptor)
        return age > _LONG_WRITE if writers is None else not writers

    def _read_once(
        self, task: FileTask, descriptor: int, size: int, *, growing: bool = False
    ) -> tuple[bytes, Refusal | None] | None:
        """The blob's id and policy's refusal; None if it isn't ``size`` bytes long (or longer, if ``growing``)."""
        if size >= LARGE:
            return self._stream(task, descriptor, size)
        data = os.pread(descriptor, size if growing else size + 1, 0)
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

    def _stream(self, task: FileTask, descriptor: int, size: int) -> tuple[bytes, Refusal | None] | None:
        inspected = self._policy.inspects(task.path, size)
        refusal = self._policy.inspect(task.path, os.pread(descriptor, _PIECE, 0)) if inspected else None
        old = task.old.oid if task.old is not None else b""
        with self._count:
            self.bytes_read += size
        pieces = fs.pieces(descriptor, _PIECE)
        with suppress(ValueError):
            oid = self._sink.stream(size, lambda: next(pieces, b""), lambda oid: oid == old or self._reachable(oid))
            return oid, None if oid == old else refusal
        return None

    def record_batch(self, tasks: list[FileTask]) -> list[Outcome]:
        """Record several files, one after the other."""
        return [self.record(task) for task in tasks]

    def record_database(self, tasks: list[FileTask]) -> list[Outcome]:
        """Record a SQLite database with its journal and write-ahead log as of one moment; see ``sqlite.py``."""
        with sqlite.locked(tasks[0].name, tasks[0].parent) as locked:
            if locked:
                return [self._open(task, self._record_locked) for task in tasks]
        return [Outcome(None, problem="a database that is being written all the time") for _ in tasks]

    def _record_locked(self, task: FileTask, descriptor: int) -> Outcome:
        """Record a file of a locked database: the database can't change, and a log may grow but not restart."""
        for _ in range(_ATTEMPTS):
            before, head = os.fstat(descriptor), os.pread(descriptor, sqlite.HEADER, 0)
            settled = self._is_settled(descriptor, before)
            found = self._read_once(task, descriptor, before.st_size, growing=sqlite.is_log(task.name))
            xattrs = fs.descriptor_xattrs(descriptor, selinux=self._policy.selinux)
            if found is not None and os.pread(descriptor, sqlite.HEADER, 0) == head:
                return _outcome(task, before, xattrs, found, settled)
        return Outcome(None, problem="keeps changing while it is read")


def record_special(
    task: FileTask,
    kind: Kind,
    sink: Sink,
    *,
    selinux: bool,
    reachable: Callable[[bytes], bool] = lambda oid: False,
) -> Outcome:
    """Record a symlink, device or fifo."""
    oid, device, status = b"", None, task.status
    try:
        xattrs = fs.named_xattrs(task.name, task.parent, selinux=selinux)
        if kind is Kind.SYMLINK:
            target = fs.read_link(task.name, task.parent)
            oid = object_id(Type.BLOB, target)
            if not sink.holds(oid) and not reachable(oid):
                sink.blob(oid, target)
        elif kind is not Kind.FIFO:
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
    except UNHELD as error:
        return Outcome(None, problem=reason(error))
    mode = stat.S_IMODE(status.st_mode)
    meta = Meta(kind, mode, status.st_uid, status.st_gid, status.st_mtime_ns, device, xattrs)
    return Outcome(Entry(task.name, meta, oid), status)


def _outcome(
    task: FileTask, status: os.stat_result, xattrs: Xattrs, found: tuple[bytes, Refusal | None], settled: bool
) -> Outcome:
    oid, refusal = found
    mode = stat.S_IMODE(status.st_mode)
    meta = Meta(Kind.FILE, mode, status.st_uid, status.st_gid, status.st_mtime_ns, None, xattrs)
    return Outcome(Entry(task.name, meta, oid), status, refusal=refusal, settled=settled)


def _may_be_racy(status: os.stat_result) -> bool:
    """Whether another write could still leave the same time stamps (what git calls racy)."""
    now = time.time_ns()
    return any(0 <= now - moment < CLOCK_STEP for moment in (status.st_mtime_ns, status.st_ctime_ns))


class HashOnly:
    """The sink of ``status`` and ``--dry-run``: ids without blobs; small objects are kept compressed in memory."""

    def __init__(self, read: Callable[[bytes], bytes]) -> None:
        self._read = read
        self._small: dict[bytes, bytes] = {}

    def holds(self, oid: bytes) -> bool:
        """No blob is needed."""
        return True

    def blob(self, oid: bytes, data: bytes) -> None:
        """Drop it."""

    def stream(self, size: int, chunks: Callable[[], bytes], known: Callable[[bytes], bool]) -> bytes:
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        seen = 0
        while chunk := chunks():
            seen += len(chunk)
            digest.update(chunk)
        if seen != size:
            raise ValueError(f"{seen} bytes instead of {size}")
        return digest.digest()

    def add(self, kind: Type, data: bytes) -> bytes:
        oid = object_id(kind, data)
        self._small[oid] = isal_zlib.compress(data, 1)
        return oid

    def read(self, oid: bytes) -> bytes:
        """A small object of this run, or one of the repository."""
        small = self._small.get(oid)
        return self._read(oid) if small is None else isal_zlib.decompress(small)
