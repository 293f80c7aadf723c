"""What any file system can hold, and how much one snapshot may: pure checks of entries and counts.

The rules are those of Linux above all file systems (VFS): what passes may still be too much for one of them
(docs/decisions/0015-limits-of-a-snapshot.md).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from gitstate.core.entry import ACL_ACCESS, ACL_DEFAULT, CAPABILITY, Directory, Kind, Meta
from gitstate.core.errors import DamagedError, RefusedError
from gitstate.core.names import display, join

_LONGEST_NAME: Final = 255
_LONGEST_TARGET: Final = 4095
_LARGEST_VALUE: Final = 65536
_LARGEST_LIST: Final = 65536
_LARGEST_MAJOR: Final = (1 << 12) - 1
_LARGEST_MINOR: Final = (1 << 20) - 1

MOST_RECORDS: Final = 250_000
"""Lines of one ``.gitstate``, and so about the entries of one directory."""
LARGEST_RECORDS: Final = 64 << 20
"""Bytes of one ``.gitstate`` or ``.gitstate-links``."""
MOST_REPEATED: Final = 200_000
"""Entries in directories that are the same as others; more than these must be a tenth of all."""
_REPEATED_OF_EACH: Final = 10

_HINT: Final = "no file system holds that: change it with plain git, or take an older snapshot"


def why_unreadable(records: bytes) -> str:
    """Why a ``.gitstate`` or ``.gitstate-links`` is more than is read; empty if it isn't."""
    if len(records) > LARGEST_RECORDS:
        return f"it has {len(records):,} bytes; at most {LARGEST_RECORDS:,} are read"
    lines = records.count(b"\n")
    return f"it has {lines:,} lines; at most {MOST_RECORDS:,} are read" if lines > MOST_RECORDS else ""


def require_readable(path: bytes, records: bytes) -> None:
    """Raise RefusedError if the directory at ``path`` has too many entries for its records to be read again."""
    if why := why_unreadable(records):
        hint = "spread it over several directories, or leave it out: skip in the policy file"
        raise RefusedError(f"/{display(path)} has too many entries: of its .gitstate, {why}", hint)


class RepeatedEntries:
    """Counts the entries of directories that are met more than once.

    A tree of a thousand bytes whose subtrees share theirs stands for more directories than any disk holds.
    """

    def __init__(self) -> None:
        self._met: set[bytes] = set()
        self._different = self._repeated = 0

    def count(self, oid: bytes, entries: int) -> None:
        """Count an object with so many entries. Raises DamagedError beyond the limit."""
        if oid in self._met:
            self._repeated += entries
            if self._repeated > max(MOST_REPEATED, _REPEATED_OF_EACH * self._different):
                raise DamagedError(
                    f"its directories repeat others: more than {MOST_REPEATED:,} entries in repeated directories",
                    "that is the limit (docs/format.md, section 10); such a tree is made to fill disks",
                )
        else:
            self._met.add(oid)
            self._different += entries


# --- entries ----------------------------------------------------------------------------------------------------------


def impossible_entries(where: bytes, directory: Directory) -> Iterator[DamagedError]:
    """An error for each entry of the directory at ``where``, and itself, that no file system can hold."""
    if directory.own.xattrs and (why := _why_not_meta(directory.own)):
        yield _impossible(where, why)
    for name, entry in directory.files.items():
        if len(name) > _LONGEST_NAME:
            yield _impossible(join(where, name), _long_name(name))
        elif (entry.meta.xattrs or entry.meta.device) and (why := _why_not_meta(entry.meta)):
            yield _impossible(join(where, name), why)
    for name in directory.subdirectories:
        if len(name) > _LONGEST_NAME:
            yield _impossible(join(where, name), _long_name(name))


def require_possible(where: bytes, directory: Directory) -> None:
    """Raise DamagedError for the first entry of ``directory``, at ``where``, that no file system can hold."""
    for error in impossible_entries(where, directory):
        raise error


def require_possible_meta(path: bytes, meta: Meta) -> None:
    """Raise DamagedError unless an entry at ``path`` can have that metadata."""
    if why := _why_not_meta(meta):
        raise _impossible(path, why)


def require_possible_target(path: bytes, target: bytes) -> None:
    """Raise DamagedError unless a symlink at ``path`` can lead to ``target``."""
    if not target or b"\0" in target:
        raise _impossible(path, "a symlink's target is empty" if not target else "a symlink's target contains NUL")
    if len(target) > _LONGEST_TARGET:
        raise _impossible(path, f"a symlink's target has {len(target)} bytes, at most {_LONGEST_TARGET} are possible")


def _impossible(path: bytes, why: str) -> DamagedError:
    return DamagedError(f"/{display(path)} can't exist: {why}", _HINT)


def _long_name(name: bytes) -> str:
    return f"its name has {len(name)} bytes, at most {_LONGEST_NAME} are possible"


def _why_not_meta(meta: Meta) -> str:
    if meta.device and (meta.device[0] > _LARGEST_MAJOR or meta.device[1] > _LARGEST_MINOR):
        return f"its device number goes beyond {_LARGEST_MAJOR},{_LARGEST_MINOR}"
    if sum(len(name) + 1 for name, _ in meta.xattrs) > _LARGEST_LIST:
        return f"the names of its attributes take more than {_LARGEST_LIST} bytes"
    for name, value in meta.xattrs:
        if why := _why_not_attribute(meta.kind, name, value):
            return f"{display(name[:60])}: {why}"
    return ""


def _why_not_attribute(kind: Kind, name: bytes, value: bytes) -> str:
    if len(name) > _LONGEST_NAME:
        return f"an attribute's name has at most {_LONGEST_NAME} bytes"
    if len(value) > _LARGEST_VALUE:
        return f"an attribute has at most {_LARGEST_VALUE} bytes"
    if name.startswith(b"user.") and kind not in (Kind.FILE, Kind.DIRECTORY):
        return "only files and directories have such an attribute"
    if name == CAPABILITY:
        return "" if _is_capability(value) else "these are no capabilities as the kernel takes them"
    if name == ACL_ACCESS and kind is Kind.SYMLINK:
        return "a symlink has no ACL"
    if name == ACL_DEFAULT and kind is not Kind.DIRECTORY:
        return "only a directory has a default ACL"
    if name in (ACL_ACCESS, ACL_DEFAULT):
        return "" if _is_acl(value) else "this is no ACL as the kernel takes it"
    return ""


# --- capabilities (linux/capability.h) and ACLs (linux/posix_acl_xattr.h) ---------------------------------------------

_CAPABILITY_SIZES: Final = {0x02000000: 20, 0x03000000: 24}
_EFFECTIVE: Final = 0x1
_NOBODY: Final = 2**32 - 1

_ACL_VERSION: Final = 2
_ACL_HEAD: Final = 4
_ACL_ENTRY: Final = struct.Struct("<HHI")  # tag, permissions, id
_ACL_ORDER: Final = {0x01: 0, 0x02: 1, 0x04: 2, 0x08: 3, 0x10: 4, 0x20: 5}  # owner, user, group, groups, mask, others
_ACL_NAMED: Final = (0x02, 0x08)
_ACL_MASK: Final = 0x10
_ACL_ONCE: Final = (0x01, 0x04, 0x20)


def _is_capability(value: bytes) -> bool:
    if len(value) not in _CAPABILITY_SIZES.values():
        return False
    revision = int.from_bytes(value[:4], "little") & ~_EFFECTIVE
    root = int.from_bytes(value[20:], "little")
    return _CAPABILITY_SIZES.get(revision) == len(value) and root != _NOBODY


def _is_acl(value: bytes) -> bool:
    """Whether it is in the kernel's order and complete (posix_acl_valid)."""
    if len(value) % _ACL_ENTRY.size != _ACL_HEAD or int.from_bytes(value[:_ACL_HEAD], "little") != _ACL_VERSION:
        return False
    entries = list(_ACL_ENTRY.iter_unpack(value[_ACL_HEAD:]))
    tags = [tag for tag, _, _ in entries]
    if not _ACL_ORDER.keys() >= set(tags) or any(permissions > 7 for _, permissions, _ in entries):
        return False
    if any(who == _NOBODY for tag, _, who in entries if tag in _ACL_NAMED):
        return False
    has_named = any(tag in _ACL_NAMED for tag in tags)
    return (
        tags == sorted(tags, key=lambda tag: _ACL_ORDER[tag])
        and all(tags.count(tag) == 1 for tag in _ACL_ONCE)
        and has_named <= tags.count(_ACL_MASK) <= 1
    )
