"""Precedence: git's entry wins, its record considered (docs/format.md, section 5)."""

from __future__ import annotations

import struct
from typing import Final

from gitstate.entry import ACL_ACCESS, CAPABILITY, Entry, Kind, Meta
from gitstate.manifest.read import Records

_X_BITS: Final = 0o111
_ACL_HEAD: Final = 4
_ACL_ENTRY: Final = struct.Struct("<HHI")  # tag, permissions, id: linux/posix_acl_xattr.h
_ACL_OWNER, _ACL_GROUP, _ACL_MASK, _ACL_OTHER = 0x01, 0x04, 0x10, 0x20


def resolve(name: bytes, kind: Kind, executable: bool, oid: bytes, records: Records) -> Entry:
    """The entry that git's file or symlink ``name`` stands for, its record considered."""
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
    """``meta`` with another mode. An ACL follows as chmod(2) has it, else it would undo the mode when it is set."""
    xattrs = tuple((name, _acl_chmod(value, mode) if name == ACL_ACCESS else value) for name, value in meta.xattrs)
    return meta._replace(mode=mode, xattrs=xattrs)


def _acl_chmod(acl: bytes, mode: int) -> bytes:
    """The kernel's form of an ACL with the mode's bits for the owner, the mask (without one the group) and others."""
    if len(acl) % _ACL_ENTRY.size != _ACL_HEAD:
        return acl
    entries = list(_ACL_ENTRY.iter_unpack(acl[_ACL_HEAD:]))
    group = _ACL_MASK if any(tag == _ACL_MASK for tag, _, _ in entries) else _ACL_GROUP
    bits = {_ACL_OWNER: mode >> 6 & 7, group: mode >> 3 & 7, _ACL_OTHER: mode & 7}
    changed = [_ACL_ENTRY.pack(tag, bits.get(tag, permissions), who) for tag, permissions, who in entries]
    return acl[:_ACL_HEAD] + b"".join(changed)
