"""Three-way merge of records: entry by entry and keyword by keyword, never line by line. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from gitstate.core.entry import Entry, Meta
from gitstate.tree.manifest import NO_RECORDS, Records, format_directory, parse_directory
from gitstate.tree.snapshot import PLAIN_DIRECTORY


class Merged(NamedTuple):
    """A merged ``.gitstate``, and the entries in conflict (real names, ``.`` for the directory)."""

    text: bytes
    conflicts: list[bytes]


def parse_side(text: bytes, where: str) -> Records:
    """Parse one of the three files that git passes to a merge driver, empty if missing. Raises UnreadableError."""
    return parse_directory(text, where, root=b"\n#gitstate " in text[:20]) if text else NO_RECORDS


def merge_records(base: Records, ours: Records, theirs: Records) -> Merged:
    """Merge the changes of two sides to ``base``. If both changed a keyword differently, ours is kept: a conflict.

    A record that one side removed and the other changed is kept: without an entry it has no effect. Times can't
    conflict, the later one wins. A record whose blob both sides changed loses its ``oid``: git's own merge decides
    on the content, and privileges depend on content (docs/format.md, section 5).
    """
    conflicts: list[bytes] = []
    own = merge_meta(b".", base.own, ours.own or PLAIN_DIRECTORY, theirs.own or PLAIN_DIRECTORY, conflicts)
    entries = []
    for name in sorted(ours.entries.keys() | theirs.entries.keys()):
        merged = _entry(name, base.entries, ours.entries, theirs.entries, conflicts)
        if merged is not None:
            entries.append(merged)
    root = ours.version is not None or theirs.version is not None
    return Merged(format_directory(own, entries, root=root), conflicts)


def _entry(
    name: bytes,
    base: Mapping[bytes, Entry],
    ours: Mapping[bytes, Entry],
    theirs: Mapping[bytes, Entry],
    conflicts: list[bytes],
) -> Entry | None:
    old, left, right = base.get(name), ours.get(name), theirs.get(name)
    if left == right or right == old:
        return left
    if left == old:
        return right
    if left is None or right is None:
        return left or right
    meta = merge_meta(name, old.meta if old else None, left.meta, right.meta, conflicts)
    oid = right.oid if old and left.oid == old.oid else left.oid
    both_changed = left.oid != right.oid and (old is None or old.oid not in (left.oid, right.oid))
    return Entry(name, meta, b"" if both_changed else oid)


def merge_meta(name: bytes, old: Meta | None, left: Meta, right: Meta, conflicts: list[bytes]) -> Meta:
    """Merge two sides' metadata keyword by keyword; ``name`` is added to ``conflicts`` for each that both changed."""
    if left.kind is not right.kind:
        conflicts.append(name)
        return left
    before = old if old is not None and old.kind is left.kind else None

    def pick(keyword: str) -> Any:
        mine, yours = getattr(left, keyword), getattr(right, keyword)
        was = getattr(before, keyword) if before else None
        if mine != yours and was not in (mine, yours):
            conflicts.append(name)
        return yours if mine == was else mine

    times = [time for time in (left.time, right.time) if time is not None]
    return Meta(
        kind=left.kind,
        mode=pick("mode"),
        uid=pick("uid"),
        gid=pick("gid"),
        time=max(times, default=None),
        device=pick("device"),
        xattrs=_xattrs(name, before, left, right, conflicts),
        uname=pick("uname"),
        gname=pick("gname"),
    )


def _xattrs(
    name: bytes, old: Meta | None, left: Meta, right: Meta, conflicts: list[bytes]
) -> tuple[tuple[bytes, bytes], ...]:
    before, ours, theirs = dict(old.xattrs if old else ()), dict(left.xattrs), dict(right.xattrs)
    merged = {}
    for key in sorted(ours.keys() | theirs.keys()):
        mine, yours, was = ours.get(key), theirs.get(key), before.get(key)
        if mine != yours and mine != was and yours != was:
            conflicts.append(name)
            picked = mine
        else:
            picked = yours if mine == was else mine
        if picked is not None:
            merged[key] = picked
    return tuple(sorted(merged.items()))
