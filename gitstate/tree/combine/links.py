"""Merge hard-link groups: two paths are linked if the sides that changed it say so. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

Group = tuple[bytes, ...]


class _Home(NamedTuple):
    """The groups that a path is in, as numbers: None where it is in none."""

    base: int | None
    ours: int | None
    theirs: int | None


def merge_groups(base: Sequence[Group], ours: Sequence[Group], theirs: Sequence[Group]) -> list[Group]:
    """The groups of a merge, sorted, with paths that may not exist in it.

    Two paths are linked that both sides link, or that one side alone links while they weren't linked before.
    """
    if base == ours or ours == theirs:
        return sorted(theirs)
    if base == theirs:
        return sorted(ours)
    cells = _cells(base, ours, theirs)
    linked = _Sets()
    for home, paths in cells.items():
        if _are_linked(home, home):
            linked.join(paths)
    for one, other in _neighbours(cells):
        if _are_linked(one, other):
            linked.join([*cells[one], *cells[other]])
    return linked.groups()


def _cells(*sides: Sequence[Group]) -> dict[_Home, list[bytes]]:
    """The paths that are in the same groups on all sides."""
    numbers = [{path: number for number, group in enumerate(side) for path in group} for side in sides]
    cells: dict[_Home, list[bytes]] = {}
    for path in sorted({path for side in numbers for path in side}):
        cells.setdefault(_Home(*(side.get(path) for side in numbers)), []).append(path)
    return cells


def _neighbours(homes: Iterable[_Home]) -> Iterator[tuple[_Home, _Home]]:
    """The pairs that are in one group on either side."""
    groups: dict[tuple[str, int], list[_Home]] = {}
    for home in homes:
        for side, number in (("ours", home.ours), ("theirs", home.theirs)):
            if number is not None:
                groups.setdefault((side, number), []).append(home)
    for members in groups.values():
        yield from combinations(members, 2)


def _are_linked(one: _Home, other: _Home) -> bool:
    before, left, right = (a is not None and a == b for a, b in zip(one, other, strict=True))
    return left if left == right or right == before else right


class _Sets:
    """Disjoint sets of paths."""

    def __init__(self) -> None:
        self._above: dict[bytes, bytes] = {}

    def _top(self, path: bytes) -> bytes:
        while (above := self._above.get(path, path)) != path:
            self._above[path] = self._above.get(above, above)
            path = above
        return path

    def join(self, paths: Iterable[bytes]) -> None:
        for one, other in pairwise(paths):
            self._above.setdefault(one, one)
            self._above[self._top(other)] = self._top(one)

    def groups(self) -> list[Group]:
        found: dict[bytes, list[bytes]] = {}
        for path in sorted(self._above):
            found.setdefault(self._top(path), []).append(path)
        return sorted(tuple(paths) for paths in found.values() if len(paths) > 1)


def alike_parts(group: Group, looks: dict[bytes, Hashable]) -> list[Group]:
    """The paths of ``group`` that ``looks`` has, divided by what they look like."""
    parts: dict[Hashable, list[bytes]] = {}
    for path in group:
        if path in looks:
            parts.setdefault(looks[path], []).append(path)
    return [tuple(part) for part in parts.values()]
