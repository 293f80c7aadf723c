"""A forked process for what others wrote: it is ended when it takes too much time or memory, and answers over a pipe.

It has none of the caller's descriptors, so no lock outlives the caller, and it ends when the caller does.
"""

from __future__ import annotations

import gc
import mmap
import os
import resource
import signal
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

SECONDS: Final = 2
"""What one task may compute; what gets no answer for ``_WAIT`` is ended, too."""
MEMORY: Final = 256 << 20
"""Bytes that a worker may need beyond what the caller has."""
_WAIT: Final = 60
_TOO_LONG: Final = "it takes too long: more than {} seconds"

Serve = Callable[["Connection[Any, Any]", Callable[[int], None]], None]
"""Answers what comes from the pipe; calls its second argument with the number of each task that it begins."""


class LimitError(Exception):
    """A task wants too much, or its worker was killed; says which."""


class Worker:
    """``serve`` in a process of its own, until ``end()``, or nobody refers to this any more."""

    def __init__(self, serve: Serve) -> None:
        from multiprocessing import Pipe  # not needed by commands that never start one

        self._number = mmap.mmap(-1, 4)
        self._pipe, theirs = Pipe()
        gc.freeze()  # else the worker's first collection copies every page
        pid = os.fork()
        if not pid:
            _run(serve, theirs, self._number)
        gc.unfreeze()
        theirs.close()
        self.end = weakref.finalize(self, _end, pid, self._pipe)

    @property
    def task(self) -> int:
        """The number of the task that the worker began last."""
        return int.from_bytes(self._number[:], "big")

    def ask(self, message: Any) -> Any:
        """The answer to a message. Raises LimitError if the worker dies of it, or says nothing."""
        try:
            self._pipe.send(message)
            if not self._pipe.poll(_WAIT):
                raise LimitError(_TOO_LONG.format(_WAIT))
            return self._pipe.recv()
        except (EOFError, OSError):
            raise LimitError(_cause(os.waitstatus_to_exitcode(self.end() or 0))) from None


def _end(pid: int, pipe: Connection[Any, Any]) -> int:
    """The wait status, which tells how a worker died that was dead already."""
    os.kill(pid, signal.SIGKILL)
    pipe.close()
    return os.waitpid(pid, 0)[1]


def _cause(code: int) -> str:
    if code == -signal.SIGPROF:
        return _TOO_LONG.format(SECONDS)
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return f"the process that worked on it was ended {how}"


def _run(serve: Serve, pipe: Connection[Any, Any], number: mmap.mmap) -> None:
    """The worker's life. It flushes and finalizes nothing, for all that is the caller's."""
    try:
        os.closerange(0, pipe.fileno())
        os.closerange(pipe.fileno() + 1, os.sysconf("SC_OPEN_MAX"))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller decides
        signal.signal(signal.SIGVTALRM, _stop)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        _limit_memory()
        serve(pipe, lambda task: _begin(number, task))
    finally:
        os._exit(1)


def _begin(number: mmap.mmap, task: int) -> None:
    number[:] = task.to_bytes(4, "big")
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)  # an exception, which knows the line
    signal.setitimer(signal.ITIMER_PROF, SECONDS + 0.5)  # the end, also within a single call of C


def _stop(number: int, frame: object) -> None:
    raise LimitError(_TOO_LONG.format(SECONDS))


def _limit_memory() -> None:
    with open("/proc/self/statm", "rb") as file:
        size = int(file.read().split()[0]) * mmap.PAGESIZE + MEMORY
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))
