"""``python -m tests.directory.interrupted SITE NUMBER POINT``: add a client, killed before file operation POINT.

With POINT 0 it is let live, and prints how many operations there were.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from gitstate.directory import open_directory
from gitstate.directory.model.ldif import format_client
from gitstate.store.site import Site
from tests.directory.harness import ADA, machine

OPERATIONS = frozenset(
    (
        *("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "fcntl.flock"),
        *("subprocess.Popen", "shutil.rmtree", "tempfile.mkdtemp"),
    )
)


def main() -> None:
    """Do it."""
    site, number, point = Site(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
    format_client(machine(number))  # what is loaded and read once is no part of it
    count = 0

    def hook(event: str, _arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in OPERATIONS:
            count += 1
            if count == point:
                os.kill(os.getpid(), signal.SIGKILL)
                signal.pause()

    sys.addaudithook(hook)
    open_directory(site).change([machine(number)], [], ADA, f"put {number}")
    print(count)


if __name__ == "__main__":
    main()
