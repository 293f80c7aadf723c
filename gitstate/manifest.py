"""Entries <-> records: the mtree(5) text of ``.gitstate``, ``.gitstate-links`` and full manifests.

Pure functions over bytes; docs/format.md (sections 2, 3, 5 and 9) is their specification.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from gitstate.entry import CAPABILITY, IN_GIT, Entry, Kind, Meta, Xattrs
from gitstate.errors import Damaged
from gitstate.names import from_octal, octal

FORMAT: Final = 1
MAX_ID: Final = 2**32 - 2
_HEAD: Final = "#mtree\n"
_VERSION: Final = f"#gitstate {FORMAT}\n"
_SET: Final = "/set type=file mode=0644 uid=0 gid=0\n"
_NS: Final = 1_000_000_000


class Unreadable(Damaged):
    """A record that doesn't parse; ``line`` counts from 1."""

    def __init__(self, where: str, line: int, why: str) -> None:
        super().__init__(
            f"{where}, line {line}: {why}",
            "compare with docs/format.md, or take the file from an older commit",
        )
        self.line = line


# --- writing --------------------------------------------------------------------------------------------------------


def format_time(time: int) -> str:
    """Nanoseconds since the epoch as floor seconds, a point and nine digits."""
    seconds, nanoseconds = divmod(time, _NS)
    return f"{seconds}.{nanoseconds:09d}"


@lru_cache(maxsize=4096)
def _ordinary(kind: Kind, mode: int, uid: int, gid: int) -> str:
    """The keywords that differ from ``/set``; few combinations make up a whole system."""
    words = []
    if kind is not Kind.FILE:
        words.append(f" type={kind.value}")
    if mode != 0o644:
        words.append(f" mode={mode:04o}")
    if uid:
        words.append(f" uid={uid}")
    if gid:
        words.append(f" gid={gid}")
    return "".join(words)


def format_xattrs(xattrs: Xattrs) -> str:
    """`` xattr.NAME=BASE64`` for each attribute, in the order given."""
    return "".join(
        f" xattr.{octal(name)}={binascii.b2a_base64(value, newline=False).decode('ascii')}" for name, value in xattrs
    )


def _record(name: str, meta: Meta, oid: bytes) -> str:
    kind, mode, uid, gid, time, device, xattrs = meta
    line = name + _ordinary(kind, mode, uid, gid)
    if time is not None:
        line += f" time={time // _NS}.{time % _NS:09d}"
    if device is not None:
        line += f" device=native,{device[0]},{device[1]}"
    if xattrs:
        line += format_xattrs(xattrs)
    return f"{line} oid={oid[:4].hex()}\n" if oid else line + "\n"


def format_directory(own: Meta, entries: Iterable[Entry], *, root: bool) -> bytes:
    """The ``.gitstate`` of a directory with metadata ``own``; ``entries`` in bytewise order of their names."""
    lines = [_HEAD, _VERSION if root else "", _SET, _record(".", own, b"")]
    for name, meta, oid in entries:
        if meta.kind is not Kind.DIRECTORY:
            lines.append(_record(octal(name), meta, oid if meta.kind in IN_GIT else b""))
    return "".join(lines).encode("ascii")


def format_links(groups: Iterable[Iterable[bytes]]) -> bytes:
    """The ``.gitstate-links`` of hard-link groups, canonical whatever the order given; empty for no groups."""
    lines = sorted(sorted(group) for group in groups)
    return "".join(" ".join(octal(path) for path in group) + "\n" for group in lines).encode("ascii")


# --- reading --------------------------------------------------------------------------------------------------------


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
_XATTR = re.compile(rb"security\.(capability|selinux)|system\.posix_acl_(access|default)|user\.[^\0]+")
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
    return int(match[1]) * _NS + int(match[2])


def _device(value: bytes) -> tuple[int, int]:
    match = _DEVICE.fullmatch(value)
    if not match or max(int(match[1]), int(match[2])) >= 2**32:
        raise ValueError("is not native,MAJOR,MINOR")
    return int(match[1]), int(match[2])


def _oid(value: bytes) -> bytes:
    if not _OID.fullmatch(value):
        raise ValueError("is not eight hex digits")
    return bytes.fromhex(value.decode("ascii"))


def _xattr(key: bytes, value: bytes) -> tuple[bytes, bytes]:
    name = from_octal(key.removeprefix(b"xattr."))
    if not _XATTR.fullmatch(name):
        raise ValueError("names no attribute that is recorded")
    try:
        return name, binascii.a2b_base64(value, strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"is not base64: {error}") from None


@dataclass(slots=True)
class _Defaults:
    """What ``/set`` says at this point of the text."""

    kind: Kind = Kind.FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0

    def set(self, words: list[bytes]) -> None:
        if any(word.partition(b"=")[0] not in _SETTABLE for word in words):
            raise ValueError("/set is for type, mode, uid and gid alone")
        entry = _parse_record(b".", words, self)
        self.kind, self.mode, self.uid, self.gid = entry.meta[:4]


def _parse_record(name: bytes, words: list[bytes], defaults: _Defaults) -> Entry:
    kind, mode, uid, gid = defaults.kind, defaults.mode, defaults.uid, defaults.gid
    time, device, oid = None, None, b""
    xattrs: list[tuple[bytes, bytes]] = []
    for word in words:
        key, equals, value = word.partition(b"=")
        try:
            if not equals:
                raise ValueError("is no keyword=value")
            if key == b"time":
                time = _time(value)
            elif key == b"oid":
                oid = _oid(value)
            elif key == b"mode":
                mode = _mode(value)
            elif key == b"type":
                kind = _kind(value)
            elif key == b"uid":
                uid = _number(value)
            elif key == b"gid":
                gid = _number(value)
            elif key == b"device":
                device = _device(value)
            elif key.startswith(b"xattr."):
                xattrs.append(_xattr(key, value))
            else:
                raise ValueError("is an unknown keyword")
        except ValueError as error:
            raise ValueError(f"{octal(word)} {error}") from None
    if len({key for key, _ in xattrs}) != len(xattrs):
        raise ValueError("an attribute is given twice")
    return Entry(name, Meta(kind, mode, uid, gid, time, device, tuple(sorted(xattrs))), oid)


def _check_record(name: bytes, meta: Meta) -> None:
    """Raise ValueError for what is well-formed and still can't be."""
    if b"/" in name or b"\0" in name or name in (b"", b".."):
        raise ValueError(f"{octal(name)} can't be a name here")
    if (name == b".") != (meta.kind is Kind.DIRECTORY):
        raise ValueError("a directory's record is '.', and only that is type=dir")
    if (meta.kind in (Kind.CHARACTER, Kind.BLOCK)) != (meta.device is not None):
        raise ValueError("device= belongs to type=char and type=block, and to no other")


def parse_directory(text: bytes, where: str, *, root: bool) -> Records:
    """The records of one ``.gitstate``; ``where`` names it in errors. Raises Unreadable with the line.

    Only the root's file may carry the version line. Of a newer version nothing but its number is read.
    """
    own, version = None, None
    entries: dict[bytes, Entry] = {}
    defaults = _Defaults()
    for number, line in enumerate(text.split(b"\n"), 1):
        if number == 1 and line != b"#mtree":
            raise Unreadable(where, 1, "the first line is not #mtree")
        if not line or line.startswith(b"#"):
            if number == 2 and line.startswith(b"#gitstate "):
                version = _version(line, where, root=root)
                if version > FORMAT:
                    return Records(version=version)
            continue
        head, *words = line.split(b" ")
        try:
            if head == b"/set":
                defaults.set(words)
                continue
            name = from_octal(head)
            entry = _parse_record(name, words, defaults)
            _check_record(name, entry.meta)
            if name in entries or (name == b"." and own is not None):
                raise ValueError(f"a second record for {octal(name)}")
        except ValueError as error:
            raise Unreadable(where, number, str(error)) from None
        if name == b".":
            own = entry.meta
        else:
            entries[name] = entry
    return Records(own, entries, version)


def _version(line: bytes, where: str, *, root: bool) -> int:
    if not root:
        raise Unreadable(where, 2, "only the root's file has a version line")
    try:
        return _number(line.removeprefix(b"#gitstate "))
    except ValueError as error:
        raise Unreadable(where, 2, f"the version {error}") from None


def parse_links(text: bytes) -> list[tuple[bytes, ...]]:
    """The groups of a ``.gitstate-links``. Raises Unreadable with the line."""
    groups = []
    seen: set[bytes] = set()
    for number, line in enumerate(text.split(b"\n"), 1):
        if not line or line.startswith(b"#"):
            continue
        try:
            group = tuple(from_octal(word) for word in line.split(b" "))
        except ValueError as error:
            raise Unreadable(".gitstate-links", number, str(error)) from None
        if len(group) < 2 or len(set(group)) != len(group) or not seen.isdisjoint(group):
            raise Unreadable(".gitstate-links", number, "a group is two or more paths, each in one group only")
        if bad := next((path for path in group if not _is_path(path)), None):
            raise Unreadable(".gitstate-links", number, f"{octal(bad)} is not a path from the root")
        seen.update(group)
        groups.append(group)
    return groups


def _is_path(path: bytes) -> bool:
    return b"\0" not in path and not {b"", b".", b".."} & set(path.split(b"/"))


# --- precedence: git's entry wins (section 5) -----------------------------------------------------------------------

_X_BITS: Final = 0o111


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
        meta = meta._replace(mode=meta.mode | _X_BITS if executable else meta.mode & ~_X_BITS)
    return Entry(name, meta, oid)


# --- full manifests (section 9) -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Content:
    """What a full manifest adds for a file (``size``, ``sha256``) or a symlink (``target``)."""

    size: int = 0
    sha256: str = ""
    target: bytes = b""


def format_full(entries: Iterable[tuple[bytes, Meta, Content]], groups: Iterable[Iterable[bytes]]) -> Iterator[str]:
    """The lines of a full manifest for ``(path, meta, content)`` in tree order, the root's path empty."""
    yield _HEAD
    yield _VERSION
    for path, meta, content in entries:
        spelled = octal(b"./" + path if path else b".")
        yield (
            f"{spelled} type={meta.kind.value} mode={meta.mode:04o} uid={meta.uid} gid={meta.gid}"
            + _details(meta, content)
        )
        if meta.xattrs:
            yield f"#gitstate {spelled}{format_xattrs(meta.xattrs)}\n"
    for line in format_links(groups).decode("ascii").splitlines():
        yield "#gitstate-links " + " ".join("./" + path for path in line.split(" ")) + "\n"


def _details(meta: Meta, content: Content) -> str:
    words = "" if meta.time is None else f" time={format_time(meta.time)}"
    if meta.device is not None:
        words += f" device=native,{meta.device[0]},{meta.device[1]}"
    if meta.kind is Kind.FILE:
        words += f" size={content.size} sha256={content.sha256}"
    if meta.kind is Kind.SYMLINK:
        words += f" link={octal(content.target)}"
    return words + "\n"
