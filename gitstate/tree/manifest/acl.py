"""POSIX ACLs in the kernel's own format (linux/posix_acl_xattr.h)."""

from __future__ import annotations

import struct
from typing import Final

_HEAD: Final = 4
_ENTRY: Final = struct.Struct("<HHI")  # tag, permissions, id
_OWNER, _GROUP, _MASK, _OTHER = 0x01, 0x04, 0x10, 0x20


def follow_mode(acl: bytes, mode: int) -> bytes:
    """An access ACL with the bits of ``mode`` for owner, mask (or group, if there is none) and others, as by chmod(2).

    An ACL is set after the mode, and would undo an edit of the mode.
    """
    if len(acl) % _ENTRY.size != _HEAD:
        return acl
    entries = list(_ENTRY.iter_unpack(acl[_HEAD:]))
    group = _MASK if any(tag == _MASK for tag, _, _ in entries) else _GROUP
    bits = {_OWNER: mode >> 6 & 7, group: mode >> 3 & 7, _OTHER: mode & 7}
    changed = [_ENTRY.pack(tag, bits.get(tag, permissions), who) for tag, permissions, who in entries]
    return acl[:_HEAD] + b"".join(changed)
