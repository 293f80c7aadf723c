"""What overlayfs notes in an upper directory: whiteouts, and attributes (Documentation/filesystems/overlayfs.rst)."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from gitstate.core import fs
from gitstate.core.entry import Xattrs

TRUSTED: Final = b"trusted.overlay."
USER: Final = b"user.overlay."
"""What the names of overlayfs's attributes begin with, as root and in a mount with ``userxattr``."""

_ESCAPED: Final = b"overlay."
"""An attribute that somebody set in the overlay, whose name begins as those of overlayfs itself."""
_NOTES: Final = frozenset((b"origin", b"impure", b"nlink", b"upper", b"uuid", b"protattr"))
"""What the kernel keeps for itself, which says nothing about the content."""
_INDEXED: Final = b"nlink"
_OPAQUE: Final = b"opaque"
_REDIRECT: Final = b"redirect"
_METACOPY: Final = b"metacopy"
_WHITEOUT: Final = b"whiteout"


class UnknownMarkError(Exception):
    """A mark that isn't understood; the text says which, without the path."""


@dataclass(frozen=True, slots=True)
class Marks:
    """What is noted at one entry.

    ``opaque``: nothing below it shows. ``redirect``: what lies below it is at another path, absolute in the snapshot
    below, or a name in the same directory. ``metacopy``: its content is that of the file below it.
    """

    opaque: bool = False
    redirect: bytes | None = None
    metacopy: bool = False


NO_MARKS: Final = Marks()


def is_whiteout(status: os.stat_result) -> bool:
    """Whether an entry says that the one below it is removed."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def parse_marks(attributes: Mapping[bytes, bytes], *, is_directory: bool) -> Marks:
    """The meaning of overlayfs's attributes, given without their prefix. Raises UnknownMarkError."""
    for name in attributes:
        if name == _WHITEOUT:
            raise UnknownMarkError("it is a whiteout that is an attribute of a file, not a device")
        if name not in _NOTES and name not in (_OPAQUE, _REDIRECT, _METACOPY) and not name.startswith(_ESCAPED):
            raise UnknownMarkError(f"its attribute overlay.{os.fsdecode(name)!s} isn't known here")
    if _INDEXED in attributes and not is_directory:
        raise UnknownMarkError("it is a hard link of a mount with index=on, whose other names can't be found")
    opaque = attributes.get(_OPAQUE, b"n")
    if opaque == b"x":
        raise UnknownMarkError("it holds whiteouts that are attributes of files, not devices")
    if opaque not in (b"y", b"n"):
        raise UnknownMarkError(f"its attribute overlay.opaque is {opaque!r}")
    metacopy = _METACOPY in attributes
    return Marks(opaque == b"y", attributes.get(_REDIRECT) if is_directory or metacopy else None, metacopy)


class Notes(Protocol):
    """Where marks stand."""

    def of(self, path: bytes, name: bytes, parent: int, *, is_directory: bool) -> Marks:
        """What is noted at the entry ``name`` of an open directory, ``path`` from the root. Raises UnknownMarkError,
        OSError.
        """

    def recorded(self, xattrs: Xattrs) -> Xattrs:
        """``xattrs`` of an entry as the overlay shows them."""


@dataclass(frozen=True, slots=True)
class AttributeNotes:
    """Marks of a real upper directory: attributes that begin with ``prefix``."""

    prefix: bytes = TRUSTED

    def of(self, path: bytes, name: bytes, parent: int, *, is_directory: bool) -> Marks:
        found = fs.prefixed_xattrs(name, parent, self.prefix)
        return parse_marks(found, is_directory=is_directory) if found else NO_MARKS

    def recorded(self, xattrs: Xattrs) -> Xattrs:
        if self.prefix != USER:
            return xattrs
        shown = ((unescaped(name), value) for name, value in xattrs)
        return tuple(sorted((name, value) for name, value in shown if name))


def unescaped(name: bytes) -> bytes:
    """The name that an overlay mounted with ``userxattr`` shows for an attribute; empty for none."""
    if not name.startswith(USER):
        return name
    inner = name.removeprefix(USER)
    return USER + inner.removeprefix(_ESCAPED) if inner.startswith(_ESCAPED) else b""


@dataclass(frozen=True, slots=True)
class ListedNotes:
    """Marks by path, of a tree that can't carry them."""

    marks: Mapping[bytes, Marks] = field(default_factory=dict)

    def of(self, path: bytes, name: bytes, parent: int, *, is_directory: bool) -> Marks:
        return self.marks.get(path, NO_MARKS)

    def recorded(self, xattrs: Xattrs) -> Xattrs:
        return xattrs
