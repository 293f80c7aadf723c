"""git's objects as bytes: pure encoders and decoders.

Needed because libgit2's TreeBuilder refuses names that git itself allows and we must store.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gitstate.core.errors import DamagedError
from gitstate.core.signature import Signature

FILE: Final = 0o100644
EXECUTABLE: Final = 0o100755
SYMLINK: Final = 0o120000
TREE: Final = 0o040000
GITLINK: Final = 0o160000


class Type(enum.IntEnum):
    """Object types by their number in a pack (gitformat-pack(5))."""

    COMMIT = 1
    TREE = 2
    BLOB = 3
    TAG = 4

    @property
    def word(self) -> bytes:
        return self.name.lower().encode()


def object_id(kind: Type, data: bytes) -> bytes:
    """The raw 20-byte id of an object."""
    digest = hashlib.sha1(b"%s %d\0" % (kind.word, len(data)), usedforsecurity=False)
    digest.update(data)
    return digest.digest()


class TreeItem(NamedTuple):
    """One line of a git tree: git's mode, the *stored* name, the raw id."""

    mode: int
    name: bytes
    oid: bytes


def format_tree(items: Iterable[TreeItem]) -> bytes:
    """A tree object's bytes, in git's order: a subtree sorts as if its name ended in a slash."""
    ordered = sorted(items, key=lambda item: item.name + b"/" if item.mode == TREE else item.name)
    return b"".join([b"%o %s\0%s" % item for item in ordered])


def parse_tree(data: bytes) -> list[TreeItem]:
    """The items of a tree object, in its order. Raises DamagedError."""
    items = []
    start, end = 0, len(data)
    try:
        while start < end:
            space = data.index(b" ", start)
            zero = data.index(b"\0", space)
            mode = data[start:space]
            if not mode.isdigit():  # int() takes signs and underscores, too
                raise ValueError(mode)
            items.append(TreeItem(int(mode, 8), data[space + 1 : zero], data[zero + 1 : zero + 21]))
            start = zero + 21
    except ValueError:
        raise DamagedError("a tree object is malformed", "run: gitstate fsck") from None
    if start != end:
        raise DamagedError("a tree object is truncated", "run: gitstate fsck")
    return items


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit; ids raw."""

    tree: bytes
    parents: Sequence[bytes]
    author: Signature
    committer: Signature
    message: str

    def encode(self) -> bytes:
        """The commit object's bytes."""
        lines = [f"tree {self.tree.hex()}"]
        lines += [f"parent {parent.hex()}" for parent in self.parents]
        lines += [f"author {self.author}", f"committer {self.committer}", "", self.message.strip("\n") + "\n"]
        return "\n".join(lines).encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Headers:
    """A commit as bytes; ``author`` without the time, ``when`` the committer's seconds since the epoch."""

    tree: bytes
    parents: tuple[bytes, ...]
    author: bytes
    when: int
    encoding: bytes
    message: bytes

    def text(self, part: bytes) -> str:
        """A field decoded as the commit says, or as UTF-8 if that encoding is unknown."""
        try:
            return part.decode(self.encoding.decode() or "utf-8", "replace")
        except (LookupError, ValueError):
            return part.decode("utf-8", "replace")


_COMMIT: Final = re.compile(
    rb"tree (?P<tree>[0-9a-f]{40})\n(?P<parents>(?:parent [0-9a-f]{40}\n)*)"
    rb"author (?P<author>[^\n]*?>) ?(?P<written>[^>\n]*)\n"
    rb"committer [^\n]*?>? ?(?P<when>[0-9]{1,18})? ?(?:[+-][0-9]+)?\n"
    rb"(?P<others>(?:[^\n]+\n)*)\n?(?P<message>.*)",
    re.DOTALL,
)
_ENCODING: Final = re.compile(rb"^encoding ([^\n]+)$", re.MULTILINE)
_TAGGED: Final = re.compile(rb"object ([0-9a-f]{40})\n")


def parse_commit(data: bytes) -> Headers:
    """Parse a commit object. Raises DamagedError."""
    found = _COMMIT.fullmatch(data)
    if found is None:
        raise DamagedError("a commit object is malformed", "run: gitstate fsck")
    parents = tuple(bytes.fromhex(line[7:].decode()) for line in found["parents"].splitlines())
    encoding = _ENCODING.search(found["others"])
    return Headers(
        tree=bytes.fromhex(found["tree"].decode()),
        parents=parents,
        author=found["author"],
        when=int(found["when"] or 0),
        encoding=encoding[1] if encoding else b"",
        message=found["message"],
    )


def tagged(data: bytes) -> bytes:
    """The id of the object that a tag object names. Raises DamagedError."""
    found = _TAGGED.match(data)
    if found is None:
        raise DamagedError("a tag object is malformed", "run: gitstate fsck")
    return bytes.fromhex(found[1].decode())


# --- annotated tags ---------------------------------------------------------------------------------------------------

_TAG: Final = re.compile(
    rb"object (?P<target>[0-9a-f]{40})\ntype (?P<kind>commit|tree|blob|tag)\ntag (?P<name>[^\n]*)\n"
    rb"(?:tagger (?P<who>[^\n]*?>) ?(?P<when>[0-9]{1,15})? ?(?P<offset>[+-][0-9]{4})?\n)?"
    rb"(?:[^\n]+\n)*\n?(?P<text>.*)",
    re.DOTALL,
)
_SIGNED: Final = re.compile(
    r"^-----BEGIN (?:PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE|SIGNED MESSAGE)-----$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Tag:
    """An annotated tag; ``name`` is the one inside, not that of its ref. ``message`` is without the signature."""

    target: bytes
    kind: Type
    name: str
    tagger: Signature
    message: str
    is_signed: bool


def parse_tag(data: bytes) -> Tag:
    """Parse a tag object. Raises DamagedError."""
    found = _TAG.fullmatch(data)
    if found is None:
        raise DamagedError("a tag object is malformed", "run: gitstate fsck")
    text = found["text"].decode("utf-8", "replace")
    signature = _SIGNED.search(text)
    return Tag(
        target=bytes.fromhex(found["target"].decode()),
        kind=Type[found["kind"].decode().upper()],
        name=found["name"].decode("utf-8", "replace"),
        tagger=Signature(
            (found["who"] or b"nobody <>").decode("utf-8", "replace"),
            int(found["when"] or 0),
            (found["offset"] or b"+0000").decode(),
        ),
        message=text[: signature.start()] if signature else text,
        is_signed=signature is not None,
    )
