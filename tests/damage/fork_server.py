"""gitstate's command line without the wait for Python's imports: a process that has them and forks for each command.

What runs is the real ``gitstate.cli.main`` in a process of its own; only the interpreter's start is saved. Standard
output and error go to files, as a pipe's reader would have to be a thread.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from tests.damage import fault_injection
from tests.damage.fault_injection import Fault

_MODULES = (
    "tree.bootstrap",
    "tree.export",
    "tree.verify",
    "cli.site.maintenance",
    "cli.site.init",
    "cli.site.prototype",
    "cli.tree.checkin",
    "cli.tree.export",
    "cli.tree.history",
    "cli.tree.diff",
    "cli.tree.status",
    "cli.tree.verify",
)
_PATIENCE = 120


class ForkServer:
    """Forks commands until it is closed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.damage.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=environment["PYTHONPATH"],
            text=True,
        )
        self._answers = TemporaryDirectory(prefix="gitstate-fork-server-")

    def run(self, words: list[str], cwd: Path, fault: Fault | None = None) -> tuple[int, str, str]:
        """Exit code (negative for a signal), standard output and standard error of ``gitstate *words``."""
        out, err = Path(self._answers.name, "out"), Path(self._answers.name, "err")
        order = {
            "words": [os.fsencode(word).hex() for word in words],
            "cwd": str(cwd),
            "out": str(out),
            "err": str(err),
            "fault": fault,
        }
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        return code, out.read_text(errors="replace"), err.read_text(errors="replace")

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._answers.cleanup()


def _serve(orders: IO[str], answers: IO[str]) -> None:
    for line in orders:
        order = json.loads(line)
        child = os.fork()
        if not child:
            _become(order)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


def _become(order: dict[str, Any]) -> None:
    """Be the command, to its end."""
    signal.alarm(_PATIENCE)
    os.setsid()  # who kills our process group kills us and our children
    for number, path in ((0, os.devnull), (1, order["out"]), (2, order["err"])):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(order["cwd"])
    sys.argv = ["gitstate", *[os.fsdecode(bytes.fromhex(word)) for word in order["words"]]]
    code = 70
    try:
        if order["fault"]:
            fault_injection.inject(order["fault"])
        importlib.import_module("gitstate.cli").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 70
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    for module in _MODULES:
        importlib.import_module(f"gitstate.{module}")
    for module in ("pygit2", "json", "hashlib"):
        importlib.import_module(module)
    _serve(sys.stdin, sys.stdout)
