"""What a gitstate leaves that is killed while git works for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_SCRIPT = (
    "import os, sys, pathlib; from gitstate.store.lock import recorded\n"
    "with recorded(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
)


def leave_record(repository: Path) -> None:
    """Leave the record of a gitstate that was killed while it moved a ref of ``repository``; git's files not."""
    private = repository / "gitstate"
    subprocess.run([sys.executable, "-c", _SCRIPT, str(private)], check=False)
    assert len(list(private.glob("git-of-*"))) == 1
