"""One member of an archive, and the constants of the format."""

from __future__ import annotations

from typing import Final, NamedTuple

from gitstate.core.entry import Meta

HEADER: Final = 110
"""Bytes of a header: six of magic, thirteen numbers of eight hex digits."""

MAGIC: Final = b"070701"
TRAILER: Final = b"TRAILER!!!"
LONGEST_NAME: Final = 4095
"""The kernel's PATH_MAX without the NUL; it skips members of longer names."""


class Member(NamedTuple):
    """A member by its path from the root, without a slash in front.

    ``content`` is a file's content or a link's target. A reader leaves it empty for files it wasn't asked for;
    ``size`` is the content's length in the archive then, too. Attributes don't fit into this format.
    """

    path: bytes
    meta: Meta
    content: bytes = b""
    size: int = 0


def plain(path: bytes) -> bytes:
    """A path of an archive (``./a``, ``/a``, ``a``) as ``Member`` has it; the root is ``.``."""
    return b"/".join(part for part in path.split(b"/") if part not in (b"", b".")) or b"."
