"""Run programs of a live tree inside it, with mounts and processes in namespaces of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gitstate.core import failures, process
from gitstate.core.errors import GitstateError, HostError
from gitstate.core.failures import ProgramError
from gitstate.core.monitor import Observer
from gitstate.tree import mounts
from gitstate.tree.mounts import Scope

_VARIABLES: Final = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8")
_KEPT_LINES: Final = 20


def run(live: Path, words: Sequence[str], observer: Observer) -> None:
    """Run the command ``words``, environment variables ``NAME=VALUE`` first. Raises StorageError, HostError."""
    before = mounts.before(mounts.plan(live, None, Scope.PROCESSES))
    output: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        with process.reading_all(mounts.in_chroot(live, _VARIABLES, words), before) as lines:
            for line in lines:
                output.append(line.decode(errors="replace").rstrip())
                observer.advance()
    except ProgramError as error:
        raise _failed(words, output, error) from None


def _failed(words: Sequence[str], output: Sequence[str], error: ProgramError) -> GitstateError:
    program = next(word for word in words if "=" not in word)
    complaints = [line for line in output if line.startswith(("E: ", "W: "))] or [line for line in output if line]
    last = complaints[-1].removeprefix("E: ") if complaints else error.message
    cause = failures.cause_of(1, "\n".join(output))
    kind, hint = cause or (HostError, "this is the program's own message")
    return kind(f"{program} in the live tree: {last}", hint)
