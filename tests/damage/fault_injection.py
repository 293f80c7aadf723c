"""Faults injected into a running command: it is killed, or a shell command runs, at a step or before a file operation.

Steps are those that ``checkin.record`` and ``export.apply`` report. Operations are those that Python's audit hooks
report: opening, renaming, linking and so on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, TypedDict

KILL = "kill"
NEVER = "never"

_OPERATIONS = frozenset(
    (
        *("open", "os.mkdir", "os.rmdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.truncate"),
        *("os.chmod", "os.chown", "os.utime", "os.setxattr", "fcntl.flock", "subprocess.Popen", "shutil.rmtree"),
    )
)


class Fault(TypedDict):
    """``when``: a step's name, ``pack:2`` for the second of that name, or the number of an operation, which is then
    not carried out. ``what``: ``kill``, or a shell command. ``witness``: the file that names it afterwards."""

    when: str
    what: str
    witness: str


class _Injector:
    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._steps: Counter[str] = Counter()
        self._operations = 0
        self._idle = True

    def step(self, name: str) -> None:
        self._steps[name] += 1
        if self._fault["when"] in (name, f"{name}:{self._steps[name]}"):
            self._trigger(name)

    def hook(self, event: str, _arguments: tuple[object, ...]) -> None:
        if not self._idle and event in _OPERATIONS:
            self._operations += 1
            if self._fault["when"] == str(self._operations):
                self._trigger(event)

    def begin(self) -> None:
        self._idle = False

    def end(self) -> None:
        self._idle = True
        if self._fault["when"] == NEVER:
            Path(self._fault["witness"]).write_text(str(self._operations))

    def _trigger(self, where: str) -> None:
        self._idle = True
        Path(self._fault["witness"]).write_text(where)
        if self._fault["what"] == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()
        subprocess.run(self._fault["what"], shell=True, check=True)
        self._idle = False


def inject(fault: Fault) -> None:
    """Inject ``fault`` into the command that this process is about to run."""
    from gitstate.tree import bootstrap, checkin, export

    injector = _Injector(fault)
    sys.addaudithook(injector.hook)
    for module, name in ((checkin, "record"), (export, "apply")):
        setattr(module, name, _injected(getattr(module, name), injector, injector.step))
    for name in ("apply", "apply_removal"):
        setattr(bootstrap, name, _injected(getattr(bootstrap, name), injector))


def _injected(function: Any, injector: _Injector, *step: Any) -> Any:
    def run(*arguments: object) -> object:
        injector.begin()
        try:
            return function(*arguments, *step)
        finally:
            injector.end()

    return run
