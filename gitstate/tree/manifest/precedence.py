"""Join git's entry with its record: git's entry wins (docs/format.md, section 5)."""

from __future__ import annotations

from typing import Final

from gitstate.core.entry import ACL_ACCESS, CAPABILITY, Entry, Kind, Meta
from gitstate.tree.manifest.read import Records, follow_mode

_X_BITS: Final = 0o111


def resolve(name: bytes, kind: Kind, executable: bool, oid: bytes, records: Records) -> Entry:
    """The entry for git's file or symlink ``name``, with the metadata of its record where that still applies."""
    fallback_time = records.own.time if records.own and records.own.time is not None else 0
    record = records.entries.get(name)
    if record is None or record.meta.kind is not kind:
        mode = 0o777 if kind is Kind.SYMLINK else 0o755 if executable else 0o644
        return Entry(name, Meta(kind, mode, time=fallback_time), oid)
    meta = record.meta
    if record.oid != oid[:4]:
        kept = tuple(pair for pair in meta.xattrs if pair[0] != CAPABILITY)
        meta = meta._replace(mode=meta.mode & ~0o6000, time=fallback_time, xattrs=kept)
    if kind is Kind.FILE and executable != bool(meta.mode & 0o100):
        meta = _chmod(meta, meta.mode | _X_BITS if executable else meta.mode & ~_X_BITS)
    return Entry(name, meta, oid)


def _chmod(meta: Meta, mode: int) -> Meta:
    """``meta`` with another mode, its access ACL changed accordingly."""
    xattrs = tuple((name, follow_mode(value, mode) if name == ACL_ACCESS else value) for name, value in meta.xattrs)
    return meta._replace(mode=mode, xattrs=xattrs)
