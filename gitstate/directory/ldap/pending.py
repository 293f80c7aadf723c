"""A change of several entries, all or nothing, though hardly an LDAP server has transactions.

What will be stands in a file before the first entry is written: that is the moment at which the change is made. Whoever
reads through gitstate sees the entries as the file says; whoever writes next finishes it first. The file goes with the
last entry. If an entry turns out to have been changed meanwhile, the file says from then on what was, and that is
restored in the same way (docs/decisions/0005-pending-change-of-ldap.md).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import DamagedError
from gitstate.directory.ldap.entry_mappings import rebased
from gitstate.directory.model.entries import Entry
from gitstate.store.lock import exclusive

_MAGIC: Final = "gitstate pending change 1"


@dataclass(frozen=True, slots=True)
class EntryChange:
    """An entry before and after a change, None where it doesn't exist; ``csn`` is the state that was read."""

    dn: str
    old: Entry | None
    new: Entry | None
    csn: str | None = None

    @property
    def reverse(self) -> EntryChange:
        """Return the change that undoes this one."""
        return EntryChange(self.dn, self.new, self.old)


@dataclass(frozen=True, slots=True)
class PendingChange:
    """A change in progress or interrupted."""

    number: str
    who: str
    message: str
    changes: tuple[EntryChange, ...]


class PendingFile:
    """The journal of the change in progress, in ``SITE/ldap``."""

    def __init__(self, place: Path) -> None:
        self._place = place

    @property
    def _file(self) -> Path:
        return self._place / "pending"

    def lock(self) -> AbstractContextManager[None]:
        """Hold the lock of all writers on this server. Raises LockedError."""
        self._place.mkdir(mode=0o700, exist_ok=True)
        return exclusive(self._place, "the directory is locked by another command")

    def load(self) -> PendingChange | None:
        """Return the change in progress; None if there is none. Raises DamagedError."""
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            return None
        try:
            head = json.loads(data)
            if head["format"] != _MAGIC:
                raise ValueError
            changes = tuple(EntryChange(one["dn"], _read(one["old"]), _read(one["new"])) for one in head["changes"])
            return PendingChange(head["number"], head["who"], head["message"], changes)
        except (ValueError, KeyError, TypeError):
            raise DamagedError(
                f"{self._file} is no change that gitstate wrote", "move it away, then gitstate directory check"
            ) from None

    def save(self, pending: PendingChange) -> None:
        """Record the change; from here on it will be completed."""
        changes = [{"dn": one.dn, "old": _text(one.old), "new": _text(one.new)} for one in pending.changes]
        head = {"format": _MAGIC, "number": pending.number, "who": pending.who, "message": pending.message}
        fs.write_file(self._file, json.dumps({**head, "changes": changes}).encode(), 0o600)

    def clear(self) -> None:
        """Remove the journal: the change is complete."""
        self._file.unlink(missing_ok=True)
        fs.sync_directory(self._place)


def _text(entry: Entry | None) -> dict[str, list[str]] | None:
    if entry is None:
        return None
    return {name: [one.decode("latin-1") for one in values] for name, values in entry.items()}


def _read(entry: dict[str, list[str]] | None) -> dict[str, list[bytes]] | None:
    if entry is None:
        return None
    return {name: [one.encode("latin-1") for one in values] for name, values in entry.items()}


def with_pending(
    rows: Sequence[tuple[str, dict[str, list[bytes]]]], pending: PendingChange | None
) -> dict[str, dict[str, list[bytes]]]:
    """Return entries by DN as they will be after ``pending``, removals included."""
    found = dict(rows)
    if pending is not None:
        by_name = {dn.lower(): dn for dn in found}
        for change in pending.changes:
            dn = by_name.get(change.dn.lower(), change.dn)
            if change.new is None:
                found.pop(dn, None)
            else:
                found[dn] = rebased(found.get(dn, {}), change.old or {}, change.new)
    return found
