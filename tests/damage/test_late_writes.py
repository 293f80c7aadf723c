"""The stat cache beside writers: through mmap, in the middle of a write, and for a long time."""

from __future__ import annotations

import mmap
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gitstate.core import fs
from gitstate.core.monitor import SILENT
from gitstate.tree import checkin
from tests.damage import slow_writer
from tests.damage.harness import environment, mounted
from tests.damage.pair import WHO, Pair, settle, work
from tests.support import root_only, unavailable

pytestmark = [root_only]


# --- mmap -----------------------------------------------------------------------------------------------------------


class Writer:
    """Another process with a mapping of a file."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.damage.writer", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(),
            text=True,
        )
        self._expect("ready")

    def _expect(self, answer: str) -> None:
        assert self._process.stdout
        assert self._process.stdout.readline().strip() == answer

    def tell(self, line: str, *answers: str) -> None:
        """Let it do something and wait for it."""
        assert self._process.stdin
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        for answer in answers or ("done",):
            self._expect(answer)

    def close(self) -> None:
        """End it."""
        self._process.communicate()


@contextmanager
def writer(path: Path) -> Iterator[Writer]:
    """A process that maps ``path``."""
    process = Writer(path)
    try:
        yield process
    finally:
        process.close()


@pytest.fixture
def mapped(pair: Pair) -> Path:
    """Some pages."""
    file = pair.live / "b" / "mapped"
    file.write_bytes(bytes(64 * mmap.PAGESIZE))
    pair.check_in()
    return file


def test_writes_through_mmap_before_and_after_scans(pair: Pair, mapped: Path) -> None:
    chance = random.Random(1)
    with writer(mapped) as other:
        for number in range(1, 30):
            other.tell(f"write {number}")
            if number % 5 == 0:
                time.sleep(chance.random() * 0.03)
            pair.check_in()
            assert set(pair.blob("b/mapped")) == {number}
        pair.agrees()


def test_a_write_through_mmap_after_a_scan_and_a_rest(pair: Pair, mapped: Path) -> None:
    """The page is clean again and everything is old enough to be trusted."""
    with writer(mapped) as other:
        for number in (1, 2, 3):
            other.tell(f"write {number}")
            settle(pair)
            pair.check_in()
            other.tell(f"write {number + 100}")
            pair.check_in()
            assert set(pair.blob("b/mapped")) == {number + 100}


def test_writes_through_mmap_during_scans(pair: Pair, mapped: Path) -> None:
    """A torn file is never stored: either it settled, or it is named and keeps its last record.

    The writer may rest in the midst of a round: then its first pages are one ahead of the others, for as long as the
    file is read. Any other mixture is of two moments.
    """
    with writer(mapped) as other:
        for number in range(3):
            other.tell("loop", "looping")
            request = checkin.Request(pair.repository, pair.live, "during", WHO, WHO)
            for _ in range(2):
                named = checkin.record(request, SILENT).status.findings.unrecorded
                assert [path for path, _ in named] in ([], [b"b/mapped"])
                seen = pair.blob("b/mapped")[mmap.PAGESIZE // 2 :: mmap.PAGESIZE]
                assert seen == bytes(sorted(seen, key=lambda byte: (byte - seen[0]) % 256 != 0)), seen
                assert set(seen) <= {seen[0], (seen[0] - 1) % 256}, seen
            other.tell(f"write {number}", "done", "done")
            pair.check_in()
            assert set(pair.blob("b/mapped")) == {number}
        pair.agrees()


def test_a_file_that_keeps_growing(pair: Pair) -> None:
    """Never stored torn, never a deletion."""
    log = pair.live / "a" / "log"
    log.write_text("line\n" * 100)
    pair.check_in()
    stop = threading.Event()

    def grow() -> None:
        with open(log, "a", buffering=1) as file:
            while not stop.is_set():
                file.write("line\n")

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        for _ in range(3):
            checkin.record(checkin.Request(pair.repository, pair.live, "during", WHO, WHO), SILENT)
            recorded = pair.blob("a/log")
            assert recorded
            assert recorded == b"line\n" * (len(recorded) // 5)
    finally:
        stop.set()
        thread.join()
    pair.agrees()


def test_on_a_tmpfs_the_cache_is_off(place: Path) -> None:
    """There a write through mmap moves no time at all."""
    with mounted(place / "memory", "-t", "tmpfs", "tmpfs") as memory:
        live = memory / "live"
        live.mkdir()
        file = live / "mapped"
        file.write_bytes(bytes(4096))
        pair = Pair(place, live)
        with writer(file) as other:
            for number in range(1, 6):
                other.tell(f"write {number}")
                time.sleep(0.03)
                pair.check_in()
                assert set(pair.blob("mapped")) == {number}
        assert not (pair.repository.path / "gitstate" / "cache").exists()
        pair.agrees()


# --- writes that take long ------------------------------------------------------------------------------------------


@contextmanager
def slow_write(path: Path) -> Iterator[Callable[[], None]]:
    """A write(2) that has written half of ``path``; the function that is yielded lets it end."""
    argv = [sys.executable, "-m", "tests.damage.slow_writer", str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, env=environment(), text=True) as process:
        assert process.stdout
        if process.stdout.readline() != "begun\n":
            assert process.wait() == slow_writer.UNAVAILABLE
            unavailable("missing: userfaultfd")

        def finish() -> None:
            assert process.communicate("\n")[0] == "done\n"

        try:
            yield finish
        finally:
            process.kill()


@pytest.fixture
def big(pair: Pair) -> Path:
    """A file that fills the memory of one write, settled."""
    file = pair.live / "b" / "big"
    file.write_bytes(b"O" * slow_writer.SIZE)
    time.sleep(0.05)
    pair.check_in()
    settle(pair)
    return file


@pytest.mark.parametrize("leases", [True, False], ids=["leases", "clock"])
def test_a_write_that_is_not_done_is_read_again(pair: Pair, big: Path, monkeypatch: Any, leases: bool) -> None:
    """The file's times are those of the write's beginning, before and after."""
    if not leases:  # as NFS and FUSE have none
        monkeypatch.setattr(fs, "is_open_for_writing", lambda descriptor: None)
    with slow_write(big) as finish:
        begun = big.stat()
        time.sleep(0.1)
        pair.check_in()
        recorded = pair.blob("b/big")
        finish()
        assert big.stat().st_mtime_ns == begun.st_mtime_ns
    assert set(recorded) == set(b"NO")
    pair.agrees()
    assert set(pair.blob("b/big")) == set(b"N")


def test_a_file_is_settled_when_nobody_has_it_open_for_writing(pair: Pair) -> None:
    """Counted: while it is open each check-in reads it, then one more, then none."""
    file = pair.live / "c" / "open"
    file.write_bytes(bytes(5000))
    time.sleep(0.05)
    with open(file, "r+b"):
        assert [work(pair) // 5000 for _ in range(3)] == [1, 1, 1]
    assert [work(pair) // 5000 for _ in range(2)] == [1, 0]


def test_a_file_that_is_open_for_reading_is_settled(pair: Pair) -> None:
    file = pair.live / "c" / "open"
    file.write_bytes(bytes(5000))
    time.sleep(0.05)
    with open(file, "rb"):
        assert [work(pair) // 5000 for _ in range(2)] == [1, 0]
