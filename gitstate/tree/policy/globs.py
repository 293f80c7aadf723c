"""The pattern language of policy files, translated into regular expressions that can't run away.

docs/policy.md is the specification. A pattern is matched against a whole path. The matcher never backtracks: the part
between two stars is matched as far to the left as possible, which never misses a match, and atomic groups prevent
another try. So a match takes at most (length of the pattern) x (length of the path) steps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from gitstate.core.names import from_octal

_TOKEN = re.compile(rb"(?P<octal>\\[0-3][0-7]{2})|(?P<star>\*)|(?P<any>\?)|(?P<plain>[^\\*?]+)", re.DOTALL)
_DEEP: Final = b"**"
_ANY_DIRECTORIES: Final = rb"(?:[^/]++/)*?"
MATCHES_NOTHING: Final = rb"(?!)"


def translate(pattern: bytes) -> bytes:
    """The regular expression for ``pattern``. Raises ValueError with what is wrong."""
    names = pattern.split(b"/")
    for name in names:
        _check(name)
    groups = _split(names)
    *middle, last = [b"/".join(_name(name) for name in group) for group in groups]
    expression = b""
    for index, group in enumerate(middle):
        if group:
            expression += group + b"/" if index == 0 else b"(?>" + _ANY_DIRECTORIES + group + b"/)"
    if not middle:
        return last
    return expression + (_ANY_DIRECTORIES + last if last else rb"[\s\S]++")


def union(patterns: Iterable[bytes]) -> bytes:
    """One regular expression, without capturing groups, for any of ``patterns``; without patterns nothing matches."""
    return b"|".join(translate(pattern) for pattern in sorted(set(patterns))) or MATCHES_NOTHING


def literal_parents(pattern: bytes) -> list[bytes]:
    """The parent directories of any match of ``pattern``, up to the first wildcard."""
    parents: list[bytes] = []
    for name in pattern.split(b"/")[:-1]:
        if b"*" in name or b"?" in name:
            break
        plain = b"".join(_plain(match) for match in _TOKEN.finditer(name))
        parents.append(parents[-1] + b"/" + plain if parents else plain)
    return parents


def _check(name: bytes) -> None:
    if name in (b"", b".", b".."):
        raise ValueError("must be a path from the root: no '/' at either end, no '//', '.' or '..'")
    if _DEEP in name and name != _DEEP:
        raise ValueError("has '**' beside other characters: it must be a whole name, as in 'var/**/x'")
    tokens = list(_TOKEN.finditer(name))
    if sum(len(match[0]) for match in tokens) != len(name):
        raise ValueError(r"has a '\' that doesn't begin an octal escape: three digits, '\134' for '\' itself")
    if any(_plain(match) in (b"/", b"\0") or b"\0" in match[0] for match in tokens):
        raise ValueError("has a byte that no name can have: '/' or NUL")


def _plain(match: re.Match[bytes]) -> bytes:
    return from_octal(match[0]) if match.lastgroup == "octal" else match[0]


def _split(names: list[bytes]) -> list[list[bytes]]:
    """The names before, between and after each ``**``; adjacent ones count once."""
    groups: list[list[bytes]] = [[]]
    for name in names:
        if name != _DEEP:
            groups[-1].append(name)
        elif len(groups) == 1 or groups[-1]:
            groups.append([])
    return groups


def _name(name: bytes) -> bytes:
    """One name of a path, to its end."""
    pieces = [b""]
    for match in _TOKEN.finditer(name):
        if match.lastgroup == "star":
            pieces.append(b"")
        else:
            pieces[-1] += b"[^/]" if match.lastgroup == "any" else re.escape(_plain(match))
    if len(pieces) == 1:
        return pieces[0]
    first, *middle, last = pieces
    between = b"".join(rb"(?>[^/]*?" + piece + b")" for piece in middle if piece)
    return rb"(?>" + first + between + rb"[^/]*" + last + rb"(?![^/]))"
