"""How results are printed: JSON for scripts, aligned columns for people, names octal or raw."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from gitstate.cli.app import Session
from gitstate.names import octal

_LETTER_COLOURS = {"A": "32", "M": "33", "D": "31", "T": "35"}


def emit(session: Session, schema: str, value: dict[str, Any], lines: Iterable[str]) -> None:
    """Print ``value`` as one JSON object of ``schema`` (``NAME/1``), or ``lines`` for people."""
    if session.json:
        print(json.dumps({"schema": schema, **value}))
        return
    for line in lines:
        print(line)


def table(rows: Sequence[Sequence[str]], heads: Sequence[str], *, colour: bool = False) -> list[str]:
    """Rows as aligned columns under their heads, two spaces between; numbers to the right."""
    if not rows:
        return []
    columns = list(zip(heads, *rows, strict=True))
    widths = [max(len(cell) for cell in column) for column in columns]
    right = [all(cell.replace(".", "").isdigit() for cell in column[1:]) for column in columns]
    lines = []
    for row in [heads, *rows]:
        cells = [
            cell.rjust(width) if flush else cell.ljust(width)
            for cell, width, flush in zip(row, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    if colour:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    return lines


def letter(text: str, *, colour: bool) -> str:
    """A status letter, coloured on a terminal."""
    return f"\x1b[{_LETTER_COLOURS[text]}m{text}\x1b[0m" if colour and text in _LETTER_COLOURS else text


def write_name(path: bytes, session: Session) -> None:
    """A path alone: octal and a newline, or raw and NUL with ``-z``."""
    data = path + b"\0" if session.zero else f"{octal(path)}\n".encode()
    sys.stdout.flush()
    sys.stdout.buffer.write(data)


def size(count: int) -> str:
    """Bytes in the unit that people read."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError(count)


def date(seconds: int) -> str:
    """A moment in the server's own time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def seconds(amount: float) -> str:
    """A duration."""
    return f"{amount:.1f} s" if amount < 100 else f"{amount / 60:.1f} min"
