"""Programs of a live tree, run inside it: mounts that nobody else sees, and nothing left when they end.

``unshare`` ends with us, whatever ends us, and all that runs in its namespaces ends with it; the kernel takes the
mounts away with the last process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gitstate.core import process
from gitstate.core.data import data_file
from gitstate.core.errors import StorageError
from gitstate.core.monitor import Observer

_PRIVATE: Final = (
    *("setpriv", "--pdeathsig", "KILL", "unshare"),
    *("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child=KILL", "--ipc", "--uts", "--"),
)
_LAST_WORDS: Final = 20


def run(live: Path, words: Sequence[str], observer: Observer) -> None:
    """Run ``words`` (``NAME=VALUE`` first, for its environment) to the end. Raises StorageError, HostError."""
    argv = [*_PRIVATE, "sh", str(data_file("hooks", "enter")), str(live), *words]
    said: deque[str] = deque(maxlen=_LAST_WORDS)
    try:
        with process.reading(argv) as lines:
            for line in lines:
                said.append(line.decode(errors="replace").rstrip())
                observer.advance()
    except process.ProgramError as error:
        raise _failed(words, said, error) from None


def _failed(words: Sequence[str], said: Sequence[str], error: process.ProgramError) -> StorageError:
    program = next(word for word in words if "=" not in word)
    complaints = [line for line in said if line.startswith(("E: ", "W: "))] or [line for line in said if line]
    last = complaints[-1].removeprefix("E: ") if complaints else error.message
    if any("No space left" in line for line in said):
        return StorageError(f"{program}: {last}", "make room and run it again; what was there is still in place")
    return StorageError(f"{program} in the live tree: {last}", "that is the program's own complaint")
