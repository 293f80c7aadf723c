"""Names parsed at the door, and the ways in which they are written: in records, for people, in git's trees.

The rules are those of docs/format.md, sections 2 and 4. The lists of what git takes for ``.git`` and its kin follow
git's own ``verify_path``, ``is_hfs_dotgit`` and ``is_ntfs_dot_generic`` (path.c, utf8.c of git 2.39).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Final, NamedTuple

from gitstate.core.errors import DamagedError, UsageError

WHITEOUT: Final = b".wh."
"""What the name of a file begins with that removes another, in layers and in container images (OCI image-spec)."""
OPAQUE: Final = b".wh..wh..opq"
"""The name of a file that hides what lower layers have in its directory."""

RECORDS: Final = b".gitstate"
LINKS: Final = b".gitstate-links"
ESCAPED: Final = b".gitstate="

LAYER_KINDS: Final = ("network", "class", "workload", "lab", "host", "ip")
RESERVED: Final = frozenset({"base", *LAYER_KINDS})
_SERVED: Final = frozenset({"boot", "archives"})
"""Names in ``tftp/`` that prototypes can't have."""

_WORD: Final = re.compile(
    r"(?!.*(?:\.\.|\.git$|\.lock$))[A-Za-z0-9](?:[A-Za-z0-9._+-]{0,98}[A-Za-z0-9_+-])?", re.DOTALL
)


def is_word(text: str) -> bool:
    """Whether ``text`` may name a prototype, channel, workload, class or version, and so a branch and a file."""
    return _WORD.fullmatch(text) is not None


def word(text: str, what: str) -> str:
    """``text`` if it may name ``what``, such as "a channel's name". Raises UsageError."""
    if not is_word(text):
        hint = "letters, digits and . _ + -, beginning with a letter or digit, at most 100"
        raise UsageError(f"{text!r} is not {what}", hint)
    return text


def repo_name(text: str) -> str:
    """A prototype's name: a word that is not reserved for layers. Raises UsageError."""
    word(text, "a prototype's name")
    if text in RESERVED:
        raise UsageError(f"{text!r} is reserved for layers", "choose another name for the prototype")
    if text in _SERVED:
        raise UsageError(f"{text!r} is reserved for boot files", "choose another name for the prototype")
    return text


_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MAC = re.compile(
    r"[0-9a-f]{2}(?:([:-]?)[0-9a-f]{2})(?:\1[0-9a-f]{2}){4}|(?:[0-9a-f]{4}[.:-]){2}[0-9a-f]{4}|[0-9a-f]{6}[:-][0-9a-f]{6}"
)
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/~^{}@+-]{0,199}")


def host_name(text: str) -> str:
    """A machine's short name, in lower case: one label of RFC 1123. Raises UsageError."""
    name = text.lower()
    if not _LABEL.fullmatch(name):
        hint = "one label: letters, digits and inner hyphens, at most 63, no domain"
        raise UsageError(f"{text!r} is not a host name", hint)
    if name.isdigit():
        raise UsageError(f"{text!r} is not a host name", "a name of digits alone would be taken for an address")
    return name


def mac_address(text: str) -> str:
    """An Ethernet address as ``52:54:00:12:34:56``, of one machine; switches group its digits by four or six.

    Raises UsageError.
    """
    if not _MAC.fullmatch(text.lower()):
        raise UsageError(f"{text!r} is not a MAC address", "six pairs of hex digits: 52:54:00:12:34:56")
    digits = re.sub("[:.-]", "", text.lower())
    if int(digits[:2], 16) & 1 or not int(digits, 16):
        raise UsageError(f"{text!r} is not one machine's MAC address", "it is a group address, or all zeros")
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def ip_address(text: str) -> str:
    """An IPv4 or IPv6 address of one machine, in its canonical form. Raises UsageError."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        hint = "such as 192.168.1.23 or fd00::17, without a /mask"
        raise UsageError(f"{text!r} is not an IP address", hint) from None
    if address.is_multicast or address.is_unspecified or address.is_loopback or "%" in text:
        raise UsageError(f"{text!r} is not one machine's IP address", "give it an address of its own")
    return str(address)


def layer_word(text: str) -> str:
    """The part of a layer's name after ``KIND/``: ``/`` of a network as ``_``, ``:`` of an IPv6 address as ``-``."""
    word = text.replace("/", "_").replace(":", "-")
    return f"0{word}" if word.startswith("-") else word


class Pin(NamedTuple):
    """One snapshot by name: ``PROTOTYPE@REV``."""

    prototype: str
    revision: str

    def __str__(self) -> str:
        return f"{self.prototype}@{self.revision}"


def pin(text: str) -> Pin:
    """Parse ``PROTOTYPE@REV``, without looking whether they exist. Raises UsageError."""
    prototype, at, revision = text.partition("@")
    if not at or not _REVISION.fullmatch(revision):
        raise UsageError(f"{text!r} is not a pinned snapshot", "write PROTOTYPE@REV: desktop@v12")
    return Pin(repo_name(prototype), revision)


Locate = Callable[[bytes], bytes]
"""From a path of the command line to one from the snapshot's root; raises UsageError."""


def tree_path(text: bytes, here: bytes | None = None) -> bytes:
    """A path inside a snapshot; ``/`` and ``./`` in front are dropped. Raises UsageError.

    ``here``: the path of the directory at which a relative one begins, and then it may climb by ``..``, though not
    above the root.
    """
    parts = [part for part in text.split(b"/") if part not in (b"", b".")]
    if here is not None and not text.startswith(b"/"):
        parts = _climbed([*here.split(b"/"), *parts] if here else parts)
    if b".." in parts or b"\0" in text:
        hint = "write it from the root, without '..'" if here is None else "it leads out of the live tree"
        raise UsageError(f"{display(text)} is not a path inside a snapshot", hint)
    return b"/".join(parts)


def _climbed(parts: list[bytes]) -> list[bytes]:
    """``parts`` without ``..``, but for those that lead above the root."""
    found: list[bytes] = []
    for part in parts:
        if part == b".." and found and found[-1] != b"..":
            found.pop()
        else:
            found.append(part)
    return found


def join(directory: bytes, name: bytes) -> bytes:
    """``name`` in ``directory``; the root is the empty path."""
    return directory + b"/" + name if directory else name


# --- octal: names in records, manifests and --json -------------------------------------------------------------------

_PLAIN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+@,:~/-"
_OCTAL: Final = [chr(byte) if byte in _PLAIN else f"\\{byte:03o}" for byte in range(256)]
_is_plain = re.compile(rb"[A-Za-z0-9._+@,:~/-]*").fullmatch
_OCTAL_TEXT = re.compile(rb"(?:[A-Za-z0-9._+@,:~/-]|\\[0-3][0-7]{2})*")
_OCTAL_BYTE = re.compile(rb"\\([0-3][0-7]{2})")


def octal(name: bytes) -> str:
    """``name`` as records write it: plain ASCII, everything unusual as ``\\ooo``."""
    if _is_plain(name):
        return name.decode("ascii")
    return "".join([_OCTAL[byte] for byte in name])


def from_octal(text: bytes) -> bytes:
    """The name that ``octal`` wrote. Raises ValueError for anything else."""
    if not _OCTAL_TEXT.fullmatch(text):
        raise ValueError(f"bad octal name {text[:60]!r}")
    if b"\\" not in text:
        return text
    return _OCTAL_BYTE.sub(lambda match: bytes([int(match[1], 8)]), text)


# --- names for people -----------------------------------------------------------------------------------------------

_INVISIBLE: Final = frozenset(
    map(chr, [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, *range(0x180B, 0x1810), 0x2800, 0x3164, 0xFFA0])
) | frozenset(map(chr, [*range(0xFE00, 0xFE10), 0x1D159, *range(0xE0100, 0xE01F0)]))
"""What ``str.isprintable`` takes for visible, and no terminal shows: fillers, variation selectors, blanks."""
_SPACE = re.compile(" ")
_ODD_SPACES = re.compile(r"\A +| {2,}| +\Z")


def display(name: bytes, *, word: bool = False) -> str:
    """A name or path as people read it: UTF-8 as it is, all that they couldn't see or type as ``\\ooo``.

    That is bytes that aren't UTF-8, control and invisible characters, a backslash, and spaces at an end or side by
    side; with ``word``, for a line that holds several names, every space. Different names look different.
    """
    if _is_plain(name):
        return name.decode("ascii")
    text = visible(name.decode("utf-8", "surrogateescape").replace("\\", r"\134"))
    return (_SPACE if word else _ODD_SPACES).sub(lambda found: r"\040" * len(found[0]), text)


def visible(text: str) -> str:
    """``text`` with ``\\ooo`` for all that could end a line, move a cursor, or wouldn't be seen."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(one if one.isprintable() and one not in _INVISIBLE else _octal_utf8(one) for one in text)


def columns(text: str) -> int:
    """How many columns of a terminal ``text`` takes."""
    if text.isascii():
        return len(text)
    import unicodedata  # most commands print ASCII alone

    wide = sum(unicodedata.east_asian_width(one) in "WF" for one in text)
    return len(text) + wide - sum(unicodedata.combining(one) > 0 for one in text)


def padded(text: str, width: int) -> str:
    """``text``, and spaces up to ``width`` columns of a terminal."""
    return text + " " * (width - columns(text))


def _octal_utf8(one: str) -> str:
    """One character; half a pair, as JSON may have it, counts as what UTF-8 would make of it."""
    errors = "surrogateescape" if "\udc80" <= one <= "\udcff" else "surrogatepass"
    return "".join(f"\\{byte:03o}" for byte in one.encode("utf-8", errors))


# --- escaped: names in git trees ------------------------------------------------------------------------------------

_HFS_IGNORED = dict.fromkeys([*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF], None)
_DANGEROUS = re.compile(
    rb"(?:\.(?:git|gitmodules|gitattributes|gitignore|mailmap)"
    rb"|git~[0-9]+"
    rb"|(?:gitmod|gitatt|gitign|mailma)~[1-9]"
    rb"|(?:g|gi|gi[0-9a-f]{1,4}|m|ma|ma[0-9a-f]{1,4})~[1-9][0-9]*"
    rb"|~[1-9][0-9]{6}"
    rb")(?:[ .]*(?::.*)?|[\x80-\xff].*)",  # to git's HFS+ check a name ends where it stops being UTF-8
    re.IGNORECASE | re.DOTALL,
)
_may_be_dangerous = re.compile(rb"[~\\\x80-\xff]|^\.git|^\.mailmap", re.IGNORECASE).search
_ESCAPE_BYTE = re.compile(rb"[%\\~\x00-\x1f\x7f-\xff]")
_BAD_ESCAPE = re.compile(rb"%(?![0-9A-F]{2})")
_UNESCAPE_BYTE = re.compile(rb"%([0-9A-F]{2})")


def _git_gives_meaning(name: bytes) -> bool:
    if not _may_be_dangerous(name):
        return False
    without_ignored = name.decode("utf-8", "surrogateescape").translate(_HFS_IGNORED)
    forms = (name, without_ignored.encode("utf-8", "surrogateescape"))
    return any(_DANGEROUS.fullmatch(part) for form in forms for part in form.split(b"\\"))


def stored_name(name: bytes) -> bytes:
    """The name under which git holds the entry ``name``."""
    if name[:1] != b"." and b"~" not in name and b"\\" not in name and name.isascii():
        return name
    if not name.startswith(RECORDS) and not _git_gives_meaning(name):
        return name
    return ESCAPED + _ESCAPE_BYTE.sub(lambda match: b"%%%02X" % match[0][0], name)


def real_name(stored: bytes) -> bytes:
    """The entry's name behind a stored name. Raises DamagedError where no entry can have that name."""
    name = stored
    if stored.startswith(ESCAPED):
        body = stored[len(ESCAPED) :]
        if _BAD_ESCAPE.search(body):
            raise DamagedError(f"bad escape in the stored name {display(stored)}", "rename it with plain git")
        name = _UNESCAPE_BYTE.sub(lambda match: bytes([int(match[1], 16)]), body)
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        hint = "remove it with plain git"
        raise DamagedError(f"no file can be named '{display(name)}' (stored as {display(stored)})", hint)
    return name
