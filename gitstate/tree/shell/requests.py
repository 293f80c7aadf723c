"""Requests of the hooks of package managers inside, for us who wait outside: a FIFO for all, and one for each answer.

Whoever writes is root of the live tree, so a request is only taken if it is well formed, and nothing waits for it.
"""

from __future__ import annotations

import os
import re
import select
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.data import data_file
from gitstate.core.errors import GitstateError

INSIDE: Final = Path("run/gitstate-shell")
"""Where the hooks are, below the root inside."""
_REQUESTS: Final = "requests"
_STAND_INS: Final = ("invoke-rc.d", "service", "initctl")
WRAPPED: Final = ("dnf", "dnf5", "yum", "microdnf")
"""Package managers without hooks that need no file in the tree."""
_request: Final = re.compile(rb"(before|after) (apt|dnf) ([0-9]{1,10})").fullmatch
_MOST: Final = 4096
_LIST: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Request:
    """A package manager is about to change packages, or has; ``installed`` is the list of them."""

    before: bool
    program: str
    installed: bytes


Answer = Callable[[Request], str]
"""The line that is told to whoever runs the package manager, empty for none."""


class Desk:
    """The directory with the hooks, and the FIFO that they write to."""

    def __init__(self, directory: int, requests: int) -> None:
        self._directory = directory
        self._requests = requests
        self._read = b""

    def serve(self, ended: int, answer: Answer) -> None:
        """Answer requests until the descriptor ``ended`` is readable."""
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(self._requests, select.POLLIN)
        while ended not in (ready := [descriptor for descriptor, _ in poll.poll()]):
            if self._requests in ready:
                self._take(answer)

    def _take(self, answer: Answer) -> None:
        with suppress(BlockingIOError):
            self._read += os.read(self._requests, _MOST)
        *lines, self._read = self._read[-_MOST:].split(b"\n")
        for match in filter(None, map(_request, lines)):
            installed = self._installed(match[3])
            self._tell(match[3], answer(Request(match[1] == b"before", match[2].decode(), installed)))

    def _installed(self, number: bytes) -> bytes:
        try:
            return fs.read_below(self._directory, b"packages." + number, _LIST, "the list of packages") or b""
        except GitstateError:  # something else has that name
            return b""

    def _tell(self, number: bytes, text: str) -> None:
        with suppress(OSError):  # nobody reads it any more
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(b"answer." + number, flags, dir_fd=self._directory)
            try:
                if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
                    os.write(descriptor, text.encode(errors="replace") + b"\n")
            finally:
                os.close(descriptor)


@contextmanager
def open_desk(run: Path, *, packages: bool, wrapped: Iterable[str]) -> Iterator[Desk]:
    """Furnish ``run``, the /run of inside; apt and the programs ``wrapped`` call the hooks if ``packages``.

    Raises OSError.
    """
    place = run / INSIDE.name
    (place / "bin").mkdir(parents=True)
    for name, source in _contents(packages, wrapped):
        target = place / name
        target.write_bytes(data_file("hooks", "shell", source).read_bytes())
        target.chmod(0o755)
    os.mkfifo(place / _REQUESTS, 0o600)
    for path in (place, place / "bin"):
        path.chmod(0o755)
    directory, requests = fs.open_tree(place), os.open(place / _REQUESTS, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield Desk(directory, requests)
    finally:
        os.close(requests)
        os.close(directory)


def _contents(packages: bool, wrapped: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The files of the desk, each with its source in ``hooks/shell``."""
    yield from ((name, name) for name in ("login", "prompt"))
    yield from ((f"bin/{name}", "no-service") for name in _STAND_INS)
    yield "apt.conf", "apt-hooks.conf" if packages else "apt.conf"
    if packages:
        yield "packages", "packages"
        yield from ((f"bin/{name}", "dnf") for name in wrapped)
