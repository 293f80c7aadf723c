"""A process that kills itself: at a named step of a check-in or export, or before its Nth operation on files.

``python -m tests.damage.victim checkin|export SITE STEP``, where STEP is a step's name with its number if it comes more than
once (``pack:2``), or a number: that operation is not carried out. It prints what it dies at; without dying, the number of
operations.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from pathlib import Path

from gitstate import checkin, export
from gitstate.monitor import SILENT
from gitstate.site import Site
from gitstate.store import Signature

_OPERATIONS = frozenset(
    (
        *("open", "os.mkdir", "os.rmdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.truncate"),
        *("os.chmod", "os.chown", "os.utime", "os.setxattr", "fcntl.flock", "subprocess.Popen", "shutil.rmtree"),
    )
)


class Victim:
    """Counts its steps."""

    def __init__(self, doom: str) -> None:
        self._doom = doom
        self._steps: Counter[str] = Counter()
        self.operations = 0

    def step(self, name: str) -> None:
        """The step callback."""
        self._steps[name] += 1
        if self._doom in (name, f"{name}:{self._steps[name]}"):
            _die(name)

    def hook(self, event: str, _arguments: tuple[object, ...]) -> None:
        """Python's audit hook: told of every operation before it is done."""
        if event in _OPERATIONS:
            self.operations += 1
            if self._doom == str(self.operations):
                _die(event)


def _die(where: str) -> None:
    os.write(1, f"{where}\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


def main(command: str, site: str, doom: str) -> None:
    """Do it, and die of it."""
    victim = Victim(doom)
    repository = Site.open(Path(site)).repository("p")
    exports = Site.open(Path(site)).exports_path("p")
    if command == "checkin":
        who = Signature("Victim <v@example.org>", 1_700_000_000)
        request = checkin.Request(repository, checkin.live_tree(repository, None), "killed", who, who)
        sys.addaudithook(victim.hook)
        checkin.record(request, SILENT, victim.step)
    else:
        plan = export.plan(repository, repository.resolve("HEAD"), exports, None)
        sys.addaudithook(victim.hook)
        export.apply(plan, SILENT, victim.step)
    print(victim.operations)


if __name__ == "__main__":
    main(*sys.argv[1:])
