"""The metadata section that follows git's own output."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from gitstate.core.entry import IN_GIT
from gitstate.core.names import columns, display, padded
from gitstate.tree.change import Change, LinksChanged, Modified, Removed, metadata
from gitstate.tree.history.tree_diff import Difference

_MAX_WIDTH: Final = 50
_PLAIN_DIRECTORY: Final = ["dir mode 0755"]

_BOLD, _RESET = "\x1b[1m", "\x1b[m"
_COLORS: Final = {"A": "\x1b[32m", "D": "\x1b[31m", "M": "\x1b[33m", "T": "\x1b[35m", "L": "\x1b[36m"}


class Row(NamedTuple):
    """A line of the section."""

    letter: str
    name: str
    words: str


def metadata_section(changes: Iterable[Difference], *, color: bool, times: bool = False) -> bytes:
    """The heading ``metadata`` and a line for each of ``changes``; empty if git's own output shows them all."""
    rows = list(_rows(list(changes), times=times))
    if not rows:
        return b""
    width = min(_MAX_WIDTH, max(columns(row.name) for row in rows))
    lines = [f"{_BOLD}metadata{_RESET}" if color else "metadata"]
    for letter, name, words in rows:
        shown = f"{_COLORS[letter]}{letter}{_RESET}" if color else letter
        lines.append(f"{shown}  {padded(name, width)}  {words}")
    return "\n".join([*lines, ""]).encode()


def _rows(changes: list[Difference], *, times: bool) -> Iterator[Row]:
    parents = {_parent(change.path) for change in changes if not isinstance(change, LinksChanged)}
    for change in changes:
        if isinstance(change, LinksChanged):
            yield Row("L", change.words, f"hard links {'joined' if change.joined else 'split'}")
            continue
        words = metadata(change, times=times)
        if words and not _git_shows(change, words, parents):
            yield Row(change.letter, display(change.path) or ".", ", ".join(words))


def _git_shows(change: Change, words: list[str], parents: set[bytes]) -> bool:
    """Whether git's output implies it: a removed file, a plain directory added or removed with its files."""
    if isinstance(change, Modified):
        return False
    if words == _PLAIN_DIRECTORY and change.path in parents:
        return True
    return isinstance(change, Removed) and change.meta.kind in IN_GIT


def _parent(path: bytes) -> bytes:
    return path.rpartition(b"/")[0]
