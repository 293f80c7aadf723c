"""``python -m tests.release.interrupted POINT gitstate-words…``: a command that is killed at a step of a release.

POINT is a step's name, or the number of an operation on files before which it dies; 0 lets it live and prints how
many there were on standard error. Operations count from where the publishing begins.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from gitstate import cli
from gitstate.release import archives, push, reconcile, rollback
from tests.directory.interrupted import OPERATIONS

count = -1


def main() -> None:
    """Do it."""
    point = sys.argv[1]
    sys.argv = ["gitstate", *sys.argv[2:]]

    def hook(event: str, _arguments: tuple[object, ...]) -> None:
        global count
        if count >= 0 and event in OPERATIONS:
            count += 1
            if str(count) == point:
                _die()

    def step(name: str) -> None:
        if name == point:
            _die()

    sys.addaudithook(hook)
    archives.make = _counting(archives.make)
    push.reconcile = _counted(reconcile.reconcile, step)  # type: ignore[assignment]
    reconcile.reconcile = _counted(reconcile.reconcile, step)  # type: ignore[assignment]
    rollback.apply = _counted(rollback.apply, step)  # type: ignore[assignment]
    try:
        cli.main()
    finally:
        print(f"operations {count}", file=sys.stderr)


def _counting(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(*words: Any, **more: Any) -> Any:
        global count
        count = max(count, 0)
        return function(*words, **more)

    return run


def _counted(function: Callable[..., Any], step: Callable[[str], None]) -> Callable[..., Any]:
    def run(*words: Any, **more: Any) -> Any:
        global count
        count = max(count, 0)
        return function(*words, **more | {"step": step})

    return run


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


if __name__ == "__main__":
    main()
