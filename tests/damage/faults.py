"""Faults of single system calls, in a command and all of its children: faults.c is compiled and preloaded.

A point is the number of an operation that changes files below a directory: write, fsync, rename, link, mkdir, opening
for writing, unlink. There all processes of the command are killed at once, as by a cgroup's end or a power cut, or the
call fails.
"""

from __future__ import annotations

import errno
import mmap
import struct
import subprocess
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Final

from tests.damage.harness import Said, environment, wait_for_orphans
from tests.fork_server import ForkServer
from tests.support import unavailable

_SOURCE: Final = Path(__file__).with_name("faults.c")
_ORDERS: Final = struct.Struct("=qqiiii512s128s600s")


class Calls(IntFlag):
    """Kinds of system calls, as faults.c numbers them."""

    WRITE = 1
    SYNC = 2
    RENAME = 4
    LINK = 8
    MKDIR = 16
    OPEN = 32
    UNLINK = 64


ALL: Final = Calls(127)


@dataclass(frozen=True)
class Kind:
    """What happens at a point. ``error`` 0: all are killed; ``sticky``: every later call fails, too."""

    name: str
    error: int
    sticky: bool
    calls: Calls


KILL: Final = Kind("kill", 0, False, ALL)
EIO: Final = Kind("EIO", errno.EIO, False, ALL & ~Calls.UNLINK)
FULL: Final = Kind("full", errno.ENOSPC, True, Calls.WRITE | Calls.LINK | Calls.MKDIR | Calls.OPEN)
ENOSPC: Final = Kind("ENOSPC", errno.ENOSPC, False, FULL.calls | Calls.RENAME | Calls.SYNC)


class Faults:
    """Commands that meet faults; ``close`` it."""

    def __init__(self, place: Path) -> None:
        library, self._page_file = place / "faults.so", place / "orders"
        build = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(_SOURCE), "-ldl"]
        try:
            subprocess.run(build, check=True)
        except FileNotFoundError:
            unavailable("missing: cc")
        self._page_file.write_bytes(bytes(_ORDERS.size))
        with open(self._page_file, "r+b") as file:
            self._page = mmap.mmap(file.fileno(), _ORDERS.size)
        self._environment = environment() | {"LD_PRELOAD": str(library), "FAULTS_PAGE": str(self._page_file)}
        self._fork_server = ForkServer(self._environment)

    def run(
        self, site: Path, *words: str, kind: Kind = KILL, at: int = 0, under: Path | None = None, match: str = ""
    ) -> tuple[Said, int, str]:
        """Run a command; how it ended, the number of its operations, and the one that was hit, if one was.

        ``at`` 0: nothing happens. Only operations below ``under``, the site if None, on paths with ``match`` count.
        """
        self._order(kind, at, under or site, match)
        said = Said(*self._fork_server.run(["--site", str(site), *words], site.parent))
        if said.code < 0:
            wait_for_orphans(site)
        return said, *self._outcome()

    def run_git(self, repository: Path, *words: str, kind: Kind = KILL, at: int = 0) -> tuple[int, int, str]:
        """Plain git, by a person; its exit code, and the rest as ``run``."""
        self._order(kind, at, repository, "")
        argv = ["git", f"--git-dir={repository}", "-c", "user.name=A", "-c", "user.email=a@example.org", *words]
        code = subprocess.run(
            argv, env=self._environment, capture_output=True, start_new_session=True, check=False
        ).returncode
        if code < 0:
            wait_for_orphans(repository)
        return code, *self._outcome()

    def _order(self, kind: Kind, at: int, under: Path, match: str) -> None:
        orders = (0, at, kind.calls, kind.error, kind.sticky, 0, bytes(under), match.encode(), b"")
        self._page[:] = _ORDERS.pack(*orders)

    def _outcome(self) -> tuple[int, str]:
        """The number of operations and the one that was hit; from here on nothing is."""
        count, *_, where = _ORDERS.unpack(self._page[:])
        self._page[:] = bytes(_ORDERS.size)
        return count, where.rstrip(b"\0").decode(errors="replace")

    def close(self) -> None:
        """End the process."""
        self._fork_server.close()
