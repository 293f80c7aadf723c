"""What a machine sends: a list of what was changed there, then the contents of its files in the order of the list.

docs/client.md describes it. Everything is checked here; nothing of it is believed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import BinaryIO, Final, NamedTuple

from gitstate.core.entry import ACL_ACCESS, ACL_DEFAULT, CAPABILITY, Kind, Meta
from gitstate.core.errors import RefusedError, StorageError, UsageError
from gitstate.core.names import Pin, display, from_octal, pin, visible
from gitstate.tree.limits import require_possible_meta

LONGEST_LIST: Final = 64 << 20
LARGEST: Final = 4 << 30
"""The most bytes that all files may have together."""
_MOST_LINES: Final = 500_000
_LONGEST_LINE: Final = 128 << 10
_LONGEST_PATH: Final = 3900
_LONGEST_NAME: Final = 255
_DEEPEST: Final = 256
_LONGEST_MESSAGE: Final = 64 << 10
_MOST_ID: Final = 2**32 - 1
_FIRST_LINE: Final = b"gitstate-checkin 1\n"
_OLDEST: Final = -(2**63) // 10**9
_LATEST: Final = 2**63 // 10**9

_KINDS: Final = {
    b"f": Kind.FILE,
    b"d": Kind.DIRECTORY,
    b"l": Kind.SYMLINK,
    b"c": Kind.CHARACTER,
    b"b": Kind.BLOCK,
    b"p": Kind.FIFO,
}
_DEVICES: Final = frozenset((1, minor) for minor in (3, 5, 7, 8, 9)) | frozenset((5, minor) for minor in (0, 1, 2))
"""null, zero, full, random, urandom; tty, console, ptmx: what jails of services hold. Others give rights."""
_XATTRS: Final = {name: name for name in (CAPABILITY, ACL_ACCESS, ACL_DEFAULT)}
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_LAYER: Final = re.compile(r"(\S+) ([0-9a-f]{40})")
_BROKEN: Final = "nothing was recorded: run it again"


class Sent(NamedTuple):
    """An entry that stands on the machine now.

    ``digest`` is the SHA-256 of a file's content, ``size`` its bytes; ``target`` a symlink's. ``linked`` names the
    file: entries with equal ones are hard links of each other; empty for a file with one name. ``is_change`` is False
    for a directory that is listed because something in it has changed.
    """

    path: bytes
    meta: Meta
    size: int = 0
    digest: str = ""
    target: bytes = b""
    linked: bytes = b""
    is_change: bool = True


@dataclass(frozen=True, slots=True)
class Head:
    """All that comes before the contents.

    ``snapshot`` is what the machine runs; ``layers`` are commits by name, the lowest first; ``clock`` is the
    machine's, in seconds since the epoch; ``digest`` is of all that was changed.
    """

    snapshot: Pin
    layers: dict[str, bytes]
    user: str
    name: str
    message: str
    clock: int
    entries: tuple[Sent, ...]
    removed: tuple[bytes, ...]
    digest: str


def read_head(stream: BinaryIO) -> Head:
    """Read up to the contents. Raises UsageError, RefusedError for what nobody may send, StorageError if it ends."""
    if stream.readline(len(_FIRST_LINE)) != _FIRST_LINE:
        raise UsageError("that is no check-in of a machine", "gitstate checkin sends one; is it of another version?")
    return _Parser().parse(_lines(stream))


def contents(stream: BinaryIO, entries: Iterable[Sent]) -> Iterator[tuple[Sent, Iterator[bytes]]]:
    """The files among ``entries`` with their contents, which must be read. Raises StorageError for other contents.

    Whatever came before an error is not to be recorded.
    """
    for entry in entries:
        if entry.meta.kind is Kind.FILE:
            yield entry, _content(stream, entry)
    if stream.read(1):
        raise StorageError("there is more than the list says", _BROKEN)


def _content(stream: BinaryIO, entry: Sent) -> Iterator[bytes]:
    left, digest = entry.size, hashlib.sha256()
    while left:
        data = stream.read(min(left, 1 << 20))
        if not data:
            raise StorageError(f"the connection broke at /{display(entry.path)}", _BROKEN)
        left -= len(data)
        digest.update(data)
        if not left:
            _check_digest(digest.hexdigest(), entry)  # before the last piece is used
        yield data
    if not entry.size:
        _check_digest(digest.hexdigest(), entry)


def _check_digest(digest: str, entry: Sent) -> None:
    if digest != entry.digest:
        raise StorageError(f"/{display(entry.path)} changed while it was sent, or on the way", _BROKEN)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    length = 0
    for _ in range(_MOST_LINES):
        line = stream.readline(_LONGEST_LINE)
        length += len(line)
        if not line.endswith(b"\n"):
            if len(line) == _LONGEST_LINE:
                raise UsageError("a line of the list is too long", _BROKEN)
            raise StorageError("the connection broke in the list", _BROKEN)
        if length > LONGEST_LIST:
            raise UsageError(f"the list is larger than {LONGEST_LIST >> 20} MiB", "name what to check in: PATH...")
        if line == b"end\n":
            return
        yield line[:-1]
    raise UsageError(f"the list has more than {_MOST_LINES:,} lines", "name what to check in: PATH...")


class _Parser:
    def __init__(self) -> None:
        self._words: dict[bytes, bytes] = {}
        self._layers: dict[str, bytes] = {}
        self._entries: dict[bytes, Sent] = {}
        self._removed: dict[bytes, None] = {}
        self._xattrs: dict[bytes, list[tuple[bytes, bytes]]] = {}
        self._digest = hashlib.sha256()

    def parse(self, lines: Iterator[bytes]) -> Head:
        for line in lines:
            key, _, rest = line.partition(b" ")
            try:
                self._take(key, rest)
            except (ValueError, InvalidOperation) as error:
                raise UsageError(f"a line of the list is wrong: {display(line[:100])} ({error})", _BROKEN) from None
            if key not in (b"time", b"user", b"name", b"message"):
                self._digest.update(line + b"\n")
        self._check_tree()
        return self._head()

    def _take(self, key: bytes, rest: bytes) -> None:
        match key:
            case b"entry" | b"above":
                entry = _entry(rest, is_change=key == b"entry")
                if entry.path in self._entries:
                    raise ValueError("it is there twice")
                self._entries[entry.path] = entry
            case b"removed":
                self._removed[_path(rest)] = None
            case b"xattr":
                path, _, assignment = rest.partition(b" ")
                name, _, value = assignment.partition(b"=")
                if name not in _XATTRS or not value.startswith(b"0s"):
                    raise ValueError("such attributes are not taken")
                self._xattrs.setdefault(_path(path), []).append((name, _base64(value[2:])))
            case b"layer":
                found = _LAYER.fullmatch(rest.decode("ascii"))
                if found is None:
                    raise ValueError("it names no layer")
                self._layers[found[1]] = bytes.fromhex(found[2])
            case b"snapshot" | b"user" | b"name" | b"message" | b"time" | b"state":
                self._words[key] = rest
            case _:
                raise ValueError("unknown")

    def _check_tree(self) -> None:
        """Nothing may lie below what is no directory. Raises UsageError, RefusedError."""
        for path in self._entries:
            if path in self._removed:
                raise UsageError(f"/{display(path)} is both removed and there", _BROKEN)
            above = path.rpartition(b"/")[0]
            while above:
                parent = self._entries.get(above)
                if above in self._removed or (parent is not None and parent.meta.kind is not Kind.DIRECTORY):
                    raise RefusedError(f"/{display(path)} lies below /{display(above)}, which is no directory", _BROKEN)
                above = above.rpartition(b"/")[0]
        if sum(entry.size for entry in self._entries.values()) > LARGEST:
            raise UsageError(f"the files have more than {LARGEST >> 30} GiB", "name what to check in: PATH...")

    def _head(self) -> Head:
        missing = [key.decode() for key in (b"snapshot", b"user", b"time") if key not in self._words]
        if missing:
            raise UsageError(f"the list has no {missing[0]}", _BROKEN)
        snapshot = pin(self._words[b"snapshot"].decode("ascii", "replace"))
        if not _COMMIT.fullmatch(snapshot.revision):
            raise UsageError(f"{snapshot} names no commit", "the machine was not booted by gitstate")
        try:
            user, name, message = (_text(self._words.get(key, b"")) for key in (b"user", b"name", b"message"))
            clock = _number(self._words[b"time"], _LATEST)
        except ValueError as error:
            raise UsageError(f"the list has a wrong user, message or time: {error}", _BROKEN) from None
        entries = [self._with_xattrs(entry) for entry in self._entries.values()]
        return Head(
            snapshot,
            self._layers,
            user,
            name,
            message,
            clock,
            tuple(entries),
            tuple(sorted(self._removed)),
            self._digest.hexdigest(),
        )

    def _with_xattrs(self, entry: Sent) -> Sent:
        found = self._xattrs.get(entry.path)
        if not found or entry.meta.kind is Kind.SYMLINK:
            return entry
        meta = entry.meta._replace(xattrs=tuple(sorted(dict(found).items())))
        require_possible_meta(entry.path, meta)  # the kernel says no otherwise, when all is merged and released
        return entry._replace(meta=meta)


def _entry(text: bytes, *, is_change: bool) -> Sent:
    """``SIZE TIME LINKS:DEVICE:INODE KIND MODE UID GID WHAT PATH``. Raises ValueError, RefusedError."""
    size, when, links, letter, mode, uid, gid, what, path = text.split(b" ")
    kind = _KINDS.get(letter)
    if kind is None:
        raise ValueError("of no kind that is recorded")
    place = _path(path, root=kind is Kind.DIRECTORY)
    if kind is Kind.SYMLINK:
        return Sent(place, Meta(kind, 0o777, *_owner(uid, gid), _time(when)), target=from_octal(what))
    meta = Meta(kind, _number(mode, 0o7777, base=8), *_owner(uid, gid), _time(when))
    if kind in (Kind.CHARACTER, Kind.BLOCK):
        return Sent(place, meta._replace(device=_device(place, kind, what)), is_change=is_change)
    if kind is not Kind.FILE:
        return Sent(place, meta, is_change=is_change)
    digest = what.decode("ascii")
    if not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError("no SHA-256")
    count, _, file = links.partition(b":")
    return Sent(place, meta, _number(size, LARGEST), digest, linked=file if _number(count, 2**32) > 1 else b"")


def _device(path: bytes, kind: Kind, what: bytes) -> tuple[int, int]:
    major, minor = (_number(part, 2**32) for part in what.split(b":"))
    if kind is Kind.BLOCK or (major, minor) not in _DEVICES:
        word = "block" if kind is Kind.BLOCK else "character"
        hint = "make it in the prototype, if machines need it: nothing was recorded"
        raise RefusedError(f"/{display(path)} is the {word} device {major}:{minor}, which gives rights", hint)
    return major, minor


def _owner(uid: bytes, gid: bytes) -> tuple[int, int]:
    return _number(uid, _MOST_ID), _number(gid, _MOST_ID)


def _number(text: bytes, most: int, base: int = 10) -> int:
    if not text.isdigit() or len(text) > 20:
        raise ValueError("no number")
    value = int(text, base)
    if value > most:
        raise ValueError("too large a number")
    return value


def _time(text: bytes) -> int:
    """Nanoseconds of ``stat -c %.9Y``."""
    if len(text) > 40 or not re.fullmatch(rb"-?\d+(\.\d{9})?", text):
        raise ValueError("no time")
    value = int(Decimal(text.decode()) * 10**9)
    if not _OLDEST * 10**9 <= value < 2**63:
        raise ValueError("no time that is recorded")
    return value


def _path(text: bytes, *, root: bool = False) -> bytes:
    """A path below the root. Raises ValueError, RefusedError for one that leads out."""
    path = from_octal(text)
    if root and path == b".":
        return b""
    names = path.split(b"/")
    if b".." in names or path.startswith(b"/"):
        raise RefusedError(f"{display(path)} leads out of the root", "nothing was recorded")
    if b"" in names or b"." in names or b"\0" in path:
        raise ValueError("no path")
    if len(path) > _LONGEST_PATH or len(names) > _DEEPEST or max(map(len, names)) > _LONGEST_NAME:
        raise ValueError("too long a path")
    return path


def _base64(text: bytes) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("no base64") from None


def _text(octal: bytes) -> str:
    text = from_octal(octal).decode("utf-8", "replace").replace("\0", "")
    if len(text) > _LONGEST_MESSAGE:
        raise ValueError("too long")
    return "\n".join(map(visible, text.split("\n")))
