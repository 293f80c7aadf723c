"""git's hooks in a site's repositories: small scripts that call gitstate."""

from __future__ import annotations

import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.data import data_file

_MARK: Final = b"gitstate's hook"
"""In the second line of each of our hooks; a file without it isn't ours and is left alone."""
_LINE: Final = "\ngitstate=gitstate\n"


def install(repository: Path) -> list[str]:
    """Install or update our hooks; the names of hooks that aren't ours and were left alone. Raises OSError."""
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
    """The command that a hook calls: our own installation's, else the one on PATH."""
    beside = Path(sys.executable).with_name("gitstate")
    return str(beside) if beside.is_file() else "gitstate"
