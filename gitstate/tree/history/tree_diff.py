"""The changes between snapshots, limited to the paths that the user named."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from gitstate.store import Repository, Type, object_id
from gitstate.tree.change import Change, LinksChanged, compare, compare_links
from gitstate.tree.history.arguments import Paths
from gitstate.tree.snapshot import ReadObject, effective_links, read_directory, read_links

EMPTY: Final = object_id(Type.TREE, b"")

Difference = Change | LinksChanged


class TreeDiff:
    """Compare snapshots. Directories are cached: the old tree of one commit is the new tree of the next."""

    def __init__(self, read: ReadObject, paths: Paths, *, times: bool = False) -> None:
        self._read = read
        self._paths = paths
        self._times = times
        self._directory = lru_cache(maxsize=512)(lambda tree, path: read_directory(read, tree, path))

    def between(self, old: bytes | None, new: bytes | None) -> Iterator[Difference]:
        """The changes from tree ``old`` to ``new``, hard links last. Changes of times alone only if ``times``."""
        old, new = (None if tree == EMPTY else tree for tree in (old, new))
        for change in compare(self._directory, old, new, within=self._paths.may_match):
            if self._paths.match(change.path) and (self._times or not change.is_time_only):
                yield change
        if old != new and self._groups(old) != self._groups(new):
            yield from self._links(old, new)

    def _groups(self, tree: bytes | None) -> list[tuple[bytes, ...]]:
        return read_links(self._read, tree) if tree else []

    def _links(self, old: bytes | None, new: bytes | None) -> Iterator[LinksChanged]:
        before, after = (effective_links(self._read, tree) if tree else [] for tree in (old, new))
        for links in compare_links(before, after):
            if any(self._paths.match(path) for part in links.parts for path in part):
                yield links

    def of_commit(self, repository: Repository, oid: bytes, merges: str) -> Iterator[Difference]:
        """The changes of the commit ``oid``.

        ``merges`` says which changes of a merge: none (``off``), those against its first parent (``first``), or
        those against every parent (``combined``).
        """
        commit = repository.snapshot(oid)
        first, *others = [repository.snapshot(parent).tree for parent in commit.parents] or [EMPTY]
        if others and merges == "off":
            return
        compared = others if merges == "combined" else []
        common = [{_key(change) for change in self.between(tree, commit.tree)} for tree in compared]
        for change in self.between(first, commit.tree):
            if all(_key(change) in keys for keys in common):
                yield change


def _key(change: Difference) -> bytes | LinksChanged:
    return change if isinstance(change, LinksChanged) else change.path
