"""Parse ``.gitstate`` and ``.gitstate-links`` (docs/format.md, sections 2 and 3)."""

from __future__ import annotations

import binascii
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from gitstate.core.entry import ACL_ACCESS, CAPABILITY, FORMAT, Entry, Kind, Meta
from gitstate.core.errors import DamagedError
from gitstate.core.names import display, from_octal
from gitstate.tree.limits import why_unreadable
from gitstate.tree.manifest.write import NS

MAX_ID: Final = 2**32 - 2


class UnreadableError(DamagedError):
    """A record that doesn't parse; ``line`` counts from 1."""

    def __init__(self, where: str, line: int, why: str) -> None:
        super().__init__(
            f"{where}, line {line}: {why}", "compare with docs/format.md, or take the file from an older commit"
        )
        self.line = line


@dataclass(frozen=True, slots=True)
class Records:
    """A parsed ``.gitstate``. ``entries`` by real name; an entry's ``oid`` is the recorded 4-byte prefix or empty.

    ``own`` is the directory's ``.`` record, None without one; ``version`` the number in the root's second line.
    """

    own: Meta | None = None
    entries: dict[bytes, Entry] = field(default_factory=dict)
    version: int | None = None


NO_RECORDS: Final = Records()

_KINDS: Final = {kind.value.encode(): kind for kind in Kind}
_MODE = re.compile(rb"[0-7]{1,4}")
_NUMBER = re.compile(rb"0|[1-9][0-9]{0,9}")
_TIME = re.compile(rb"(0|-?[1-9][0-9]{0,18})\.([0-9]{9})")
_TIMES: Final = range(-(2**63), 2**63)
_DEVICE = re.compile(rb"native,(0|[1-9][0-9]{0,9}),(0|[1-9][0-9]{0,9})")
_OID = re.compile(rb"[0-9a-f]{8}")
_ACCOUNT = re.compile(rb"[^\x00-\x20\x7f:,/+-][^\x00-\x20\x7f:,/]{0,99}")
_XATTR = re.compile(rb"security\.(capability|selinux)|system\.posix_acl_(access|default)|user\.[^\0]+")
_SHOWN: Final = 60
"""How much of a bad word an error shows."""
_SETTABLE: Final = frozenset({b"type", b"mode", b"uid", b"gid"})


def _number(value: bytes) -> int:
    if not _NUMBER.fullmatch(value) or int(value) > MAX_ID:
        raise ValueError("is not a number up to 4294967294")
    return int(value)


def _kind(value: bytes) -> Kind:
    if value not in _KINDS:
        raise ValueError("is not file, dir, link, char, block or fifo")
    return _KINDS[value]


def _mode(value: bytes) -> int:
    if not _MODE.fullmatch(value):
        raise ValueError("is not an octal mode")
    return int(value, 8)


def _time(value: bytes) -> int:
    match = _TIME.fullmatch(value)
    if not match or int(match[1]) not in _TIMES:
        raise ValueError("is not seconds, a point and nine digits")
    return int(match[1]) * NS + int(match[2])


def _device(value: bytes) -> tuple[int, int]:
    match = _DEVICE.fullmatch(value)
    if not match or max(int(match[1]), int(match[2])) >= 2**32:
        raise ValueError("is not native,MAJOR,MINOR")
    return int(match[1]), int(match[2])


def _oid(value: bytes) -> bytes:
    if not _OID.fullmatch(value):
        raise ValueError("is not eight hex digits")
    return bytes.fromhex(value.decode("ascii"))


def is_account(name: bytes) -> bool:
    """Whether a user or group may have this name."""
    return _ACCOUNT.fullmatch(name) is not None


def _account(value: bytes) -> bytes:
    name = from_octal(value)
    if not is_account(name):
        raise ValueError("is not the name of a user or group")
    return name


def _xattr(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    name = from_octal(key.removeprefix(b"xattr."))
    if not _XATTR.fullmatch(name):
        raise ValueError("names no attribute that is recorded")
    try:
        return name, binascii.a2b_base64(value, strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"is not base64: {error}") from None


_READERS: Final[Mapping[bytes, Callable[[bytes], Any]]] = {
    b"type": _kind,
    b"mode": _mode,
    b"uid": _number,
    b"gid": _number,
    b"time": _time,
    b"device": _device,
    b"oid": _oid,
    b"uname": _account,
    b"gname": _account,
}
_UNSET: Final[Mapping[bytes, Any]] = {
    b"type": Kind.FILE,
    b"mode": 0o644,
    b"uid": 0,
    b"gid": 0,
    b"time": None,
    b"device": None,
    b"oid": b"",
    b"uname": b"",
    b"gname": b"",
}


def _parse_words(words: list[bytes], defaults: Mapping[bytes, Any]) -> tuple[dict[bytes, Any], dict[bytes, bytes]]:
    """The values of all keywords, and the attributes. Raises ValueError."""
    values, xattrs = dict(defaults), {}
    for word in words:
        key, equals, value = word.partition(b"=")
        try:
            if not equals:
                raise ValueError("is no keyword=value")
            if key in _READERS:
                values[key] = _READERS[key](value)
            elif key.startswith(b"xattr."):
                name, content = _xattr(key, value)
                if name in xattrs:
                    raise ValueError("is given twice")
                xattrs[name] = content
            else:
                raise ValueError("is an unknown keyword")
        except ValueError as error:
            raise ValueError(f"{display(word[:_SHOWN])} {error}") from None
    return values, xattrs


def _set(words: list[bytes], defaults: Mapping[bytes, Any]) -> Mapping[bytes, Any]:
    """The defaults after a ``/set``. Raises ValueError."""
    if any(word.partition(b"=")[0] not in _SETTABLE for word in words):
        raise ValueError("/set is for type, mode, uid and gid alone")
    return _parse_words(words, defaults)[0]


def _parse_record(name: bytes, words: list[bytes], defaults: Mapping[bytes, Any]) -> Entry:
    values, xattrs = _parse_words(words, defaults)
    kind, mode, uid, gid, time, device, oid, uname, gname = values.values()
    if ACL_ACCESS in xattrs:
        xattrs[ACL_ACCESS] = follow_mode(xattrs[ACL_ACCESS], mode)
    return Entry(name, Meta(kind, mode, uid, gid, time, device, tuple(sorted(xattrs.items())), uname, gname), oid)


def _check_record(name: bytes, meta: Meta) -> None:
    """Raise ValueError for a well-formed record of something that can't exist."""
    if b"/" in name or b"\0" in name or name in (b"", b".."):
        raise ValueError(f"{display(name)} can't be a name here")
    if (name == b".") != (meta.kind is Kind.DIRECTORY):
        raise ValueError("a directory's record is '.', and only that is type=dir")
    if (meta.kind in (Kind.CHARACTER, Kind.BLOCK)) != (meta.device is not None):
        raise ValueError("device= belongs to type=char and type=block, and to no other")


def parse_directory(text: bytes, where: str, *, root: bool) -> Records:
    """The records of one ``.gitstate``; ``where`` names it in errors. Raises UnreadableError.

    Only the root's file may carry the version line. Of a newer version nothing but its number is read.
    """
    _check_size(text, where)
    own, version = None, None
    entries: dict[bytes, Entry] = {}
    defaults = _UNSET
    for number, line in enumerate(text.split(b"\n"), 1):
        if number == 1 and line != b"#mtree":
            raise UnreadableError(where, 1, "the first line is not #mtree")
        if not line or line.startswith(b"#"):
            if number == 2 and line.startswith(b"#gitstate "):
                version = _version(line, where, root=root)
                if version > FORMAT:
                    return Records(version=version)
            continue
        head, *words = line.split(b" ")
        try:
            if head == b"/set":
                defaults = _set(words, defaults)
                continue
            name = from_octal(head)
            entry = _parse_record(name, words, defaults)
            _check_record(name, entry.meta)
            if name in entries or (name == b"." and own is not None):
                raise ValueError(f"a second record for {display(name)}")
        except ValueError as error:
            raise UnreadableError(where, number, str(error)) from None
        if name == b".":
            own = entry.meta
        else:
            entries[name] = entry
    return Records(own, entries, version)


def _check_size(text: bytes, where: str) -> None:
    """Raise UnreadableError for more than is read."""
    if why := why_unreadable(text):
        raise UnreadableError(where, 1, why)


def _version(line: bytes, where: str, *, root: bool) -> int:
    if not root:
        raise UnreadableError(where, 2, "only the root's file has a version line")
    try:
        return _number(line.removeprefix(b"#gitstate "))
    except ValueError as error:
        raise UnreadableError(where, 2, f"the version {error}") from None


def parse_links(text: bytes) -> list[tuple[bytes, ...]]:
    """The groups of a ``.gitstate-links``. Raises UnreadableError."""
    _check_size(text, ".gitstate-links")
    groups = []
    seen: set[bytes] = set()
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line or line.startswith(b"#"):
            continue
        try:
            group = tuple(from_octal(word) for word in line.split(b" "))
        except ValueError as error:
            raise UnreadableError(".gitstate-links", number, str(error)) from None
        if len(group) < 2 or len(set(group)) != len(group) or not seen.isdisjoint(group):
            raise UnreadableError(".gitstate-links", number, "a group is two or more paths, each in one group only")
        if not all(_is_path(path) for path in group):
            raise UnreadableError(".gitstate-links", number, "a path is written from the root, without '.' and '..'")
        seen.update(group)
        groups.append(group)
    return groups


def _is_path(path: bytes) -> bool:
    return b"\0" not in path and not {b"", b".", b".."} & set(path.split(b"/"))


# --- POSIX ACLs in the kernel's own format (linux/posix_acl_xattr.h) --------------------------------------------------

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


# --- git's entry joined with its record: the entry wins (docs/format.md, section 5) -----------------------------------

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
