"""How results are printed: JSON for scripts, aligned columns for people, names as they are, in octal, or raw."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from gitstate.cli.base import progress
from gitstate.cli.base.app import Session
from gitstate.core.errors import UsageError
from gitstate.core.names import columns, octal, padded, visible
from gitstate.core.signature import LAST_MOMENT, iso_time

LETTERS: Final = {"A": "added", "M": "modified", "D": "deleted", "T": "of another type"}
_LETTER_COLOURS = {"A": "32", "M": "33", "D": "31", "T": "35"}
_DAY = 86400
_HINT_WIDTH = 98
"""Columns; an indentation of two stands in front."""


def write_out(data: str | bytes) -> None:
    """Write to standard output."""
    progress.clear()
    with _name_standard_output():
        sys.stdout.buffer.write(data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape"))


def flush() -> None:
    """Flush standard output; only then is a result printed."""
    with _name_standard_output():
        sys.stdout.flush()


@contextmanager
def _name_standard_output() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = "standard output"
        raise


def emit(session: Session, schema: str, value: dict[str, Any], lines: Iterable[str]) -> None:
    """Print ``value`` as one JSON object of ``schema`` (``NAME/1``), or ``lines`` for people."""
    if session.json:
        import json

        lines = [json.dumps({"schema": schema, **value})]
    for line in lines:
        write_out(f"{line}\n")
    flush()


def suggest(session: Session, line: str) -> None:
    """Advice for people on standard error, such as what to do next."""
    if not session.json and not session.quiet:
        progress.clear()
        print(line, file=sys.stderr)


def confirm(session: Session, question: str, refusal: UsageError, lines: Iterable[str] = ()) -> None:
    """Ask on the terminal, after ``lines``. Raises ``refusal`` without a terminal, DeclinedError for a no."""
    if session.json or not sys.stdin.isatty():
        raise refusal
    progress.clear()
    for line in lines:
        print(line, file=sys.stderr)
    if not click.confirm(question, err=True):
        raise DeclinedError


class DeclinedError(Exception):
    """The person has answered no."""


# --- for people -------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Sequence[str]], heads: Sequence[str], *, colour: bool = False) -> list[str]:
    """Rows as columns under their heads, two spaces between, aligned as a terminal shows them."""
    if not rows:
        return []
    shown = [list(heads), *[[visible(cell) for cell in row] for row in rows]]
    widths = [max(map(columns, column)) for column in zip(*shown, strict=True)]
    lines = ["  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]
    if colour:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    return lines


def visible_line(text: str) -> str:
    """A line of a file with nothing that a terminal would obey or hide; tabs stay."""
    return "\t".join(map(visible, text.split("\t")))


def shortened(text: str, most: int) -> str:
    """``text``, or its beginning and ``…``."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def letter(text: str, *, colour: bool) -> str:
    """A status letter, coloured on a terminal."""
    return f"\x1b[{_LETTER_COLOURS[text]}m{text}\x1b[0m" if colour and text in _LETTER_COLOURS else text


def size(count: int) -> str:
    """Bytes in the unit that people read."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError(count)


def date(seconds: int) -> str:
    """A time in the server's time zone."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(min(seconds, LAST_MOMENT)))


def ago(when: int) -> str:
    """A time, or how many days ago it was."""
    days = int((time.time() - when) // _DAY)
    return date(when) if days < 2 else f"{days} days ago"


def seconds(amount: float) -> str:
    """A duration."""
    return f"{amount:.1f} s" if amount < 100 else f"{amount / 60:.1f} min"


# --- for programs -----------------------------------------------------------------------------------------------------


def write_name(path: bytes) -> None:
    """A path alone, raw, ended by NUL; the root is ``.``."""
    write_out((path or b".") + b"\0")


def location(path: Path) -> str:
    """A path on this machine for JSON: absolute, in octal as all names."""
    return octal(os.fsencode(path.absolute()))


def moment(seconds: int) -> str:
    """A time for JSON: UTC, ISO 8601."""
    return iso_time(seconds)


def alternatives(hint: str) -> list[str]:
    """A hint in lines: too long for one, each way out has its own; none is broken, so that it can be copied."""
    return hint.replace("; ", ";\n").splitlines() if len(hint) > _HINT_WIDTH else [hint]
