"""FILE or ``-`` on the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from gitstate.core.errors import NotFoundError


def content(file: Path, most: int) -> bytes:
    """What a file, or standard input, begins with, at most ``most`` bytes and one more. Raises NotFoundError."""
    try:
        with sys.stdin.buffer if str(file) == "-" else file.open("rb") as stream:
            return stream.read(most + 1)
    except FileNotFoundError:
        raise NotFoundError(f"{file}: no such file", "- is standard input") from None
