"""A program that runs in a lab's namespaces: started by ``nsenter``, stopped by killing what that started."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.lab.nfs import tail

STOP_SECONDS: Final = 30


@dataclass(frozen=True)
class Program:
    """Something that runs in the lab until it is stopped, or the lab ends."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path
    log: Path | None = None

    @classmethod
    def start(cls, name: str, inside: Sequence[str], output: Path, log: Path | None = None) -> Program:
        """Start ``inside``, the command line that brings the program into the lab."""
        with open(output, "wb") as file:
            process = subprocess.Popen(
                inside, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
        return cls(name, process, output, log)

    @property
    def ended(self) -> bool:
        """Whether it runs no more."""
        return self.process.poll() is not None

    def words(self) -> str:
        """Its last words, for a message."""
        texts = [tail(path) for path in (self.log, self.output) if path and path.exists() and path.stat().st_size]
        return "\n".join([f"--- {self.name} ({'ended' if self.ended else 'runs'}):", *texts])

    def stop(self) -> None:
        """Kill it and whatever it started, and return when nothing is left that holds a port.

        Not ``nsenter`` itself, which is the child that we have: it ends when the program does, and buries it at once.
        """
        deadline = time.monotonic() + STOP_SECONDS
        while not self.ended:
            for pid in children(self.process.pid):
                _kill_below(pid)
            self._pause(deadline)
        while _kill_group(self.process.pid):
            self._pause(deadline)

    def _pause(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{self.name} can't be killed")
        time.sleep(0.002)


def _kill_below(pid: int) -> None:
    for child in children(pid):
        _kill_below(child)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _kill_group(group: int) -> bool:
    """Whether there was anything to kill."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def children(pid: int) -> list[int]:
    """The processes that a process started and that still are."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
