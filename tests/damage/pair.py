"""One live tree recorded twice: with the stat cache and without."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

from gitstate.core.monitor import SILENT
from gitstate.core.signature import Signature
from gitstate.store import Repository
from gitstate.tree import checkin

WHO = Signature("Tester <t@example.org>", 1_700_000_000)


class Pair:
    """A live tree and two ways to record it: with the cache, and in a new repository each time."""

    def __init__(self, place: Path, live: Path) -> None:
        self.live = live
        self.repository = Repository.create(place / "cached.git", live=live)
        self._place = place
        self._fresh = 0

    def check_in(self) -> checkin.Result:
        """With the cache; nothing may be left out."""
        request = checkin.Request(self.repository, self.live, "m", WHO, WHO)
        result = checkin.record(request, SILENT)
        assert result.status.findings.unrecorded == []
        return result

    def full(self) -> bytes:
        """The root tree of a first check-in."""
        self._fresh += 1
        path = self._place / f"fresh-{self._fresh}.git"
        result = checkin.record(checkin.Request(Repository.create(path), self.live, "m", WHO, WHO), SILENT)
        shutil.rmtree(path)
        return result.status.tree

    def agrees(self, why: object = "") -> checkin.Result:
        """Both ways give one tree."""
        result = self.check_in()
        assert result.status.tree.hex() == self.full().hex(), why
        return result

    def blob(self, path: str) -> bytes:
        """A file's content as recorded."""
        argv = ["git", f"--git-dir={self.repository.path}", "cat-file", "blob", f"main:{path}"]
        return subprocess.run(argv, capture_output=True, check=True).stdout


def settle(pair: Pair) -> None:
    """Let everything grow old enough to be trusted, and remember it."""
    time.sleep(0.05)
    (pair.live / "settled").write_text(f"{time.time_ns()}")
    pair.check_in()
    time.sleep(0.05)
    (pair.live / "settled").write_text(f"{time.time_ns()}")
    pair.check_in()


def work(pair: Pair) -> int:
    """How many bytes of files the next check-in reads; the check-in must be right."""
    return pair.agrees().status.findings.bytes_read
