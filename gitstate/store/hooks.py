"""git's hooks of a site's repositories: small scripts that ask gitstate, as files of their own."""

from __future__ import annotations

import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.data import data_file

_MARK: Final = b"gitstate's hook"
"""What stands in the second line of each: a file without it is somebody else's, and stays."""
_LINE: Final = "\ngitstate=gitstate\n"


def install(repository: Path) -> list[str]:
    """Put the hooks in order; the names of those that are somebody else's and were left alone. Raises OSError."""
    directory = repository / "hooks"
    directory.mkdir(mode=0o700, exist_ok=True)
    foreign = []
    for name, text in _texts().items():
        path = directory / name
        standing = path.read_bytes() if path.is_file() else b""
        if standing and _MARK not in standing[:200]:
            foreign.append(name)
        elif standing != text or not path.stat().st_mode & 0o100:
            fs.write_file(path, text, 0o755)
    return foreign


@cache
def _texts() -> dict[str, bytes]:
    line = f"\ngitstate={shlex.quote(_program())}\n"
    return {
        path.name: path.read_text().replace(_LINE, line).encode()
        for path in sorted(data_file("hooks", "git").iterdir())
    }


def _program() -> str:
    """The command that a hook calls: that of the installation which we are of, else whatever is on PATH then."""
    beside = Path(sys.executable).with_name("gitstate")
    return str(beside) if beside.is_file() else "gitstate"
