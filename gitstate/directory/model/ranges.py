"""Several names written as one: ``lab3-[01-24]``, ``lab[3-4]-[01-12,20]``, ``server,lab3-[1-9/2]``. Pure.

The syntax is ClusterShell's, pdsh's and Slurm's. ClusterShell itself isn't used: it expands ``x[1-99999999]`` in
memory, and of ``@group`` it asks sources of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Final

from gitstate.core.errors import UsageError

MOST: Final = 65_536
"""How many names one word may stand for."""
_LONGEST: Final = 4096
_PART: Final = re.compile(r"\[([^\[\]]*)\]|([^\[\],]+)")
_RANGE: Final = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9})(?:/([0-9]{1,9}))?)?", re.ASCII)
_SHOWN: Final = 60
_HINT: Final = "such as lab3-[01-24], lab[3-4]-[01-12,20] or a,b"


def expand(text: str) -> list[str]:
    """The names that ``text`` stands for, in its order, each once. Raises UsageError."""
    if len(text) > _LONGEST:
        raise _fault(text, "too long", "name them in several words")
    found: dict[str, None] = {}
    for parts in _words(text):
        if len(found) + prod(map(len, parts)) > MOST:
            raise _too_many(text)
        found.update(dict.fromkeys(map("".join, product(*parts))))
    return list(found)


def _words(text: str) -> Iterator[list[list[str]]]:
    """What stands between commas: the choices for each part of a name."""
    at = 0
    while True:
        parts: list[list[str]] = []
        while match := _PART.match(text, at):
            inside, plain = match.groups()
            parts.append([plain] if plain is not None else _numbers(text, inside))
            at = match.end()
        if at < len(text) and text[at] != ",":
            raise _fault(text, "a bracket without its other")
        if not parts:
            raise _fault(text, "a name is missing")
        yield parts
        if at == len(text):
            return
        at += 1


def _numbers(text: str, inside: str) -> list[str]:
    """The numbers of one pair of brackets, as they are written in names."""
    found: dict[str, None] = {}
    for part in inside.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise _fault(text, f"[{inside[:_SHOWN]}] is not a list of numbers")
        first, last, step = match[1], match[2] or match[1], int(match[3] or 1)
        if int(last) < int(first) or not step:
            raise _fault(text, f"{part} counts to nowhere")
        width = len(first) if first[0] == "0" else 1
        if len(last) < len(first) or len(last) > width > 1:
            raise _fault(text, f"{part} has numbers of different widths", "write [001-100], or [1-100]")
        numbers = range(int(first), int(last) + 1, step)
        if len(found) + len(numbers) > MOST:
            raise _too_many(text)
        found.update(dict.fromkeys(f"{number:0{width}}" for number in numbers))
    return list(found)


def _fault(text: str, why: str, hint: str = _HINT) -> UsageError:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return UsageError(f"{shown!r}: {why}", hint)


def _too_many(text: str) -> UsageError:
    return _fault(text, f"more than {MOST} names", "name fewer at once")
