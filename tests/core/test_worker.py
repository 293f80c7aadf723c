"""A worker: what it holds, what ends it, and what is said of that."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitstate.core.worker import LimitError, Worker


def answering(task: Callable[[Any], Any]) -> Worker:
    def serve(pipe: Any, begin: Callable[[int], None]) -> None:
        while True:
            message = pipe.recv()
            begin(7)
            pipe.send(task(message))

    return Worker(serve)


def pid_of(worker: Worker) -> int:
    """Of one whose task is ``os.getpid()``."""
    return int(worker.ask(None))


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_it_has_no_descriptor_of_its_parent() -> None:
    with open(__file__, "rb"):
        (only,) = answering(lambda _: [one for one in os.listdir("/proc/self/fd") if _leads(one)]).ask(None)
    assert only.isdigit()


def _leads(descriptor: str) -> bool:
    """Whether it is still open: that of the listing itself isn't."""
    return os.path.exists(f"/proc/self/fd/{descriptor}") or os.path.islink(f"/proc/self/fd/{descriptor}")


def test_it_goes_with_the_last_reference() -> None:
    worker = answering(lambda _: os.getpid())
    pid = pid_of(worker)
    assert is_alive(pid)
    del worker
    assert not is_alive(pid)


def test_an_interrupt_is_for_the_parent() -> None:
    worker = answering(lambda _: os.getpid())
    pid = pid_of(worker)
    os.kill(pid, signal.SIGINT)
    assert pid_of(worker) == pid


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (lambda _: os.kill(os.getpid(), signal.SIGKILL), "SIGKILL"),
        (lambda _: os.kill(os.getpid(), signal.SIGSEGV), "SIGSEGV"),
        (lambda _: sys.exit(3), "exit code 1"),
        (lambda _: "x" * (1 << 30), "exit code 1"),
        (lambda _: _nested() == _nested(), "too long: more than 0.7 seconds"),
        (lambda _: time.sleep(9), "too long: more than 0.3 seconds"),
    ],
)
def test_how_it_ended_is_told(task: Callable[[Any], Any], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gitstate.core.worker.SECONDS", 0.7)
    if "0.3" in said:
        monkeypatch.setattr("gitstate.core.worker._WAIT", 0.3)
    worker = answering(task)
    with pytest.raises(LimitError, match=said):
        worker.ask(None)
    assert worker.task == 7
    worker.end()
    with pytest.raises(LimitError):
        worker.ask(None)


def _nested() -> Any:
    """Compared in one call, for years, in which no exception can be raised."""
    found: Any = [0] * 999
    for _ in range(5):
        found = [found] * 999
    return found


_SCRIPT = """
import fcntl, os, sys, time
from gitstate.core.worker import Worker

def serve(pipe, begin):
    pipe.send(os.getpid() if pipe.recv() else None)
    time.sleep(1)
    pipe.recv()

lock = open(sys.argv[1], "w")
fcntl.flock(lock, fcntl.LOCK_EX)
worker = Worker(serve)
print(worker.ask(True), flush=True)
time.sleep(60)
"""


def test_a_killed_parent_s_lock_is_free_and_its_worker_ends(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", _SCRIPT, str(tmp_path / "lock")], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    with open(tmp_path / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert is_alive(worker), "else the lock is free for another reason"
    deadline = time.monotonic() + 30
    while is_alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(worker)
    parent.stdout.close()
