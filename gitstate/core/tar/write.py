"""Members of a tar file (POSIX pax), byte by byte: the same entry gives the same bytes with every Python."""

from __future__ import annotations

from typing import Final

from gitstate.core.entry import Kind, Meta

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
"""What a tar file ends with."""
_TYPES: Final = {
    Kind.FILE: b"0",
    Kind.SYMLINK: b"2",
    Kind.CHARACTER: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
_HARD_LINK: Final = b"1"
_PAX: Final = b"x"
_PAX_NAME: Final = b"././@PaxHeader"
_NAME: Final = 100
_LARGEST: Final = 0o7777777
"""Of seven octal digits."""
_LARGEST_LONG: Final = 0o77777777777
_SECOND: Final = 10**9


def header(path: bytes, meta: Meta, *, size: int = 0, target: bytes = b"", link: bytes = b"") -> bytes:
    """What stands before a member's content; ``target`` is a symlink's, ``link`` the member that this one is.

    ``path`` is empty for the root. A time that isn't recorded is 0.
    """
    name = path + b"/" * (meta.kind is Kind.DIRECTORY) if path else b"./"
    kind = _HARD_LINK if link else _TYPES[meta.kind]
    records = _records(name, link or target, meta, size)
    pax = b"".join(_record(key, value) for key, value in records)
    before = b""
    if pax:
        before = _block(_PAX_NAME, _PAX, 0, len(pax)) + pax + padding(len(pax))
    device = meta.device or (0, 0)
    time, _ = divmod(meta.time or 0, _SECOND)
    owner = (meta.uid, meta.gid)
    return before + _block(name, kind, meta.mode, size, link or target, owner, time, device)


def padding(size: int) -> bytes:
    """What follows content of this size."""
    return bytes(-size % BLOCK)


def _records(name: bytes, link: bytes, meta: Meta, size: int) -> list[tuple[bytes, bytes]]:
    """What the plain header doesn't hold."""
    found = []
    if not (name + link).isascii() and not _is_utf8(name + b"/" + link):
        found.append((b"hdrcharset", b"BINARY"))
    found += [(key, value) for key, value in ((b"path", name), (b"linkpath", link)) if not _fits(value)]
    numbers = ((b"size", size, _LARGEST_LONG), (b"uid", meta.uid, _LARGEST), (b"gid", meta.gid, _LARGEST))
    found += [(key, b"%d" % value) for key, value, most in numbers if value > most]
    if time := _time(meta.time or 0):
        found.append((b"mtime", time))
    found += [(b"SCHILY.xattr." + key, value) for key, value in meta.xattrs]
    return found


def _fits(name: bytes) -> bool:
    return len(name) <= _NAME and name.isascii()


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _time(time: int) -> bytes:
    """A time that the plain header doesn't hold, in seconds; empty for one that it holds."""
    seconds, rest = divmod(time, _SECOND)
    if not rest and 0 <= seconds <= _LARGEST_LONG:
        return b""
    sign, (seconds, rest) = b"-" * (time < 0), divmod(abs(time), _SECOND)
    return b"%s%d" % (sign, seconds) + (b".%09d" % rest).rstrip(b"0") * bool(rest)


def _record(key: bytes, value: bytes) -> bytes:
    """One record of pax: its length, which counts its own digits, the key and the value."""
    rest = b" %s=%s\n" % (key, value)
    length = len(rest)
    while len(str(length)) + len(rest) != length:
        length = len(str(length)) + len(rest)
    return b"%d%s" % (length, rest)


def _block(
    name: bytes,
    kind: bytes,
    mode: int,
    size: int,
    link: bytes = b"",
    owner: tuple[int, int] = (0, 0),
    time: int = 0,
    device: tuple[int, int] = (0, 0),
) -> bytes:
    uid, gid = (number if number <= _LARGEST else 0 for number in owner)
    fields = (
        _text(name, _NAME),
        b"%07o\0%07o\0%07o\0" % (mode, uid, gid),
        b"%011o\0" % (size if size <= _LARGEST_LONG else 0),
        b"%011o\0" % (time if 0 <= time <= _LARGEST_LONG else 0),
        b" " * 8,
        kind,
        _text(link, _NAME),
        b"ustar\x0000",
        bytes(64),
        b"%07o\0%07o\0" % device,
        bytes(167),
    )
    block = b"".join(fields)
    checksum = b"%06o\0 " % sum(block)
    return block[:148] + checksum + block[156:]


def _text(text: bytes, length: int) -> bytes:
    return text[:length].ljust(length, b"\0")
