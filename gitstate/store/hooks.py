"""git's hooks in a site's repositories: small scripts that call gitstate."""

from __future__ import annotations

import shlex
import sys
from functools import cache
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.data import data_file

_MARKS: Final = (b"# git hook of every repository of a site", b"gitstate's hook")
"""What the second line of each of our hooks has, or had; a file without that isn't ours and is left alone."""
_LINE: Final = "\ngitstate=gitstate\n"


def install(repository: Path) -> None:
    """Install or update our hooks; those of others are left alone. Raises OSError."""
    for name in outdated(repository):
        (repository / "hooks").mkdir(mode=0o700, exist_ok=True)
        fs.write_file(repository / "hooks" / name, _texts()[name], 0o755)


def outdated(repository: Path) -> list[str]:
    """The names of our hooks that aren't there, aren't executable, or belong to another installation of gitstate."""
    return [name for name, text in _texts().items() if not _stands(repository / "hooks" / name, text)]


def _stands(path: Path, text: bytes) -> bool:
    standing = path.read_bytes() if path.is_file() else b""
    is_foreign = bool(standing) and not any(mark in standing[:200] for mark in _MARKS)
    return is_foreign or (standing == text and bool(path.stat().st_mode & 0o100))


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
