"""SQLite databases are restored with their logs: SQLite would apply the log of other content, and damage both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gitstate.core.entry import Kind
from gitstate.tree.history.arguments import Paths
from gitstate.tree.scan import sqlite
from gitstate.tree.snapshot import Lookup, ReadObject

IsLog = Callable[[bytes], bool]


def logs(read: ReadObject, target: bytes) -> IsLog:
    """Whether a path is, or would be, the log of a database that the root tree ``target`` has."""
    look_up = Lookup(read, target)

    def is_log(path: bytes) -> bool:
        entry = look_up(database) if (database := sqlite.logged(path)) else None
        return entry is not None and entry.meta.kind is Kind.FILE and sqlite.begins_database(read(entry.oid))

    return is_log


def torn(read: ReadObject, merged: bytes, sides: Iterable[bytes], paths: Iterable[bytes]) -> list[bytes]:
    """The databases among ``paths`` that a merge has with a log that neither side has with them."""
    look_up, others = Lookup(read, merged), [Lookup(read, side) for side in sides]
    is_log = logs(read, merged)

    def content(look: Lookup, path: bytes) -> list[bytes | None]:
        entries = [look(name) for name in (path, *sqlite.logs(path))]
        return [entry.oid if entry else None for entry in entries]

    databases = {sqlite.logged(path) or path for path in paths}
    return sorted(
        path
        for path in databases
        if is_log(sqlite.logs(path)[0]) and content(look_up, path) not in [content(side, path) for side in others]
    )


@dataclass(frozen=True, slots=True)
class PathsWithLogs(Paths):
    """Paths, and the logs of databases among them. ``is_log`` is asked of what looks like one."""

    is_log: IsLog = lambda path: False

    def match(self, path: bytes) -> bool:
        """Whether ``path`` is selected."""
        if Paths.match(self, path):
            return True
        return bool(database := sqlite.logged(path)) and Paths.match(self, database) and self.is_log(path)

    def may_match(self, path: bytes) -> bool:
        """Whether ``path`` or something below it may be selected."""
        return Paths.may_match(self, path) or self.match(path)
