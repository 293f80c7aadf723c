"""Which mounts a live tree needs for programs to work in it, as values."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import HostError
from gitstate.core.fs import Flag
from gitstate.core.names import display

BIND: Final = b""
SOURCE: Final = b"gitstate"
"""What mountinfo shows as the source of our file systems."""
_SAFE: Final = Flag.NO_SETUID | Flag.NO_DEVICES
_NODES: Final = ("null", "zero", "full", "random", "urandom", "tty")
_CACHES: Final = (b"var/cache/apt/archives", b"var/cache/dnf", b"var/cache/libdnf5", b"var/cache/yum")
_RESOLVER: Final = b"etc/resolv.conf"
RESOLVER: Final = Path("/etc/resolv.conf")
"""The server's."""
_DEPTH: Final = 6


@dataclass(frozen=True, slots=True)
class Mount:
    """``kind`` of a new file system, or ``BIND`` for what is at ``source``.

    ``made``: the mount point is made first, and what it lies in.
    """

    point: bytes
    kind: bytes
    source: Path | None = None
    flags: Flag = Flag.NONE
    options: bytes = b""
    made: bool = False
    directory: bool = True


_KERNEL: Final = (
    Mount(b"sys", b"sysfs", flags=_SAFE | Flag.NO_PROGRAMS | Flag.READ_ONLY),
    Mount(b"dev", b"tmpfs", flags=Flag.NO_SETUID, options=b"mode=0755"),
    *(Mount(b"dev/" + node.encode(), BIND, Path("/dev", node), made=True, directory=False) for node in _NODES),
    Mount(
        b"dev/pts",
        b"devpts",
        flags=Flag.NO_SETUID | Flag.NO_PROGRAMS,
        options=b"newinstance,ptmxmode=0666,mode=0620,gid=5",
        made=True,
    ),
    Mount(b"dev/shm", b"tmpfs", flags=_SAFE, options=b"mode=1777", made=True),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The mounts of a live tree, in order; binds come from ``place``, where ``furnish`` makes what they show.

    Without a place there are file systems in memory instead, and nothing for package managers.
    """

    live: Path
    place: Path | None
    mounts: tuple[Mount, ...]


class Scope(Enum):
    """All; all but /proc, where processes are of their own, too; or only what nspawn doesn't mount itself."""

    ALL = "all"
    PROCESSES = "processes"
    CONTAINER = "container"


def plan(live: Path, place: Path | None, scope: Scope = Scope.ALL) -> Plan:
    """Plan the mounts of a live tree. Raises HostError, StorageError."""
    root = fs.open_tree(live)
    try:
        return Plan(live, place, tuple(_plan(root, live, place, scope)))
    finally:
        os.close(root)


def _plan(root: int, live: Path, place: Path | None, scope: Scope) -> Iterator[Mount]:
    for point in (b"proc", b"sys", b"dev", b"run", b"tmp"):
        if not _is_directory(root, point):
            hint = "make it (a root needs proc, sys, dev, run and tmp), or is this a layer?"
            raise HostError(f"/{display(point)} of {live} is no directory", hint)
    if scope is Scope.ALL:
        yield Mount(b"proc", b"proc", flags=_SAFE | Flag.NO_PROGRAMS)
    if scope is not Scope.CONTAINER:
        yield from _KERNEL
    if place is None:
        yield Mount(b"run", b"tmpfs", flags=_SAFE, options=b"mode=0755")
        yield Mount(b"tmp", b"tmpfs", flags=_SAFE, options=b"mode=1777")
    else:
        for point in filter(partial(_is_directory, root), (b"run", b"tmp", b"var/tmp", *_CACHES)):
            yield Mount(point, BIND, place / os.fsdecode(point.replace(b"/", b"-")))
    yield Mount(b"run/lock", b"tmpfs", flags=_SAFE, options=b"mode=1777", made=True)
    if (resolver := _resolver(root)) and RESOLVER.is_file():
        source = RESOLVER if place is None else place / RESOLVER.name
        yield Mount(resolver, BIND, source, made=resolver != _RESOLVER, directory=False)


def _is_directory(root: int, path: bytes) -> bool:
    try:
        os.close(fs.open_path(path, root))
    except OSError:
        return False
    return True


def _resolver(root: int) -> bytes | None:
    """Where the server's resolver is to be seen: over the file, or in ``/run`` where its link leads."""
    try:
        parent = fs.open_path(b"etc", root)
    except OSError:
        return None
    try:
        found = os.stat("resolv.conf", dir_fd=parent, follow_symlinks=False)
        if stat.S_ISREG(found.st_mode):
            return _RESOLVER
        target = fs.read_link(b"resolv.conf", parent) if stat.S_ISLNK(found.st_mode) else b""
    except FileNotFoundError:
        return None
    finally:
        os.close(parent)
    head, slash, rest = target.partition(b"run/")
    parts = rest.split(b"/")
    if slash and head in (b"/", b"../") and len(parts) <= _DEPTH and not {b"", b".", b"..", b"lock"} & {*parts}:
        return b"run/" + rest
    return None
