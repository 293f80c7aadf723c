"""What layers are made of, and what they make: pieces of one layer, marks of a composition, items for a machine."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from gitstate.core.entry import Entry, Meta
from gitstate.core.errors import ConfigError

WHITEOUT: Final = b".wh."
OPAQUE: Final = b".wh..wh..opq"
TEMPLATE: Final = b".j2"
MERGE: Final = b".merge"
NEVER_LAID: Final = frozenset({b"policy.toml", b"layer.toml", b"vars.toml"})
"""What stands in a layer's root for gitstate itself."""
SNIPPETS: Final = b".include"
"""The directory in a layer's root for what templates include; never laid down."""
ACCOUNTS: Final = frozenset(
    b"etc/" + name for name in (b"passwd", b"group", b"shadow", b"gshadow", b"subuid", b"subgid")
)
"""What is merged line by line, and never replaced."""


LONGEST_PATH: Final = 3900
"""The kernel unpacks names of up to 4095 bytes, and ours stand below ``gitstate/machine/class/NAME/files/``."""
GLOB: Final = re.compile(r"[A-Za-z0-9._+@,:~/*?\[\]!-]{1,400}")
UNIT: Final = re.compile(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,254}")


class Action(enum.Enum):
    """What a layer does at a path."""

    LAY = "lay"
    """Put a file, symlink, device or fifo there."""
    RENDER = "render"
    """Put there what a template says."""
    MERGE = "merge"
    """Join lines with those that are there."""
    DIRECTORY = "directory"
    """Have a directory there."""
    HIDE = "hide"
    """Have nothing there."""


class LayerEntry(NamedTuple):
    """What one layer does to one name of a directory. ``source`` is the name that it has in the layer."""

    name: bytes
    act: Action
    entry: Entry
    source: bytes
    is_template: bool = False


class Folder(NamedTuple):
    """A directory of a layer. ``own`` is None where it leaves the metadata of an existing directory alone."""

    path: bytes
    own: Meta | None
    is_opaque: bool
    hides: tuple[bytes, ...]
    pieces: tuple[LayerEntry, ...]


@dataclass(frozen=True, slots=True)
class Reload:
    """Units that are reloaded when a path that ``glob`` matches has changed; its ``*`` matches a slash, too."""

    glob: str
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LayerSettings:
    """All that ``layer.toml`` may say."""

    description: str = ""
    reload: tuple[Reload, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's snapshot taken apart, parents first. ``files`` are its regular files by path, for includes."""

    name: str
    commit: bytes
    folders: tuple[Folder, ...]
    files: Mapping[bytes, bytes] = field(default_factory=dict)
    vars: Mapping[str, Any] = field(default_factory=dict)
    settings: LayerSettings = field(default_factory=LayerSettings)

    def __str__(self) -> str:
        return f"{self.name} {self.commit.hex()[:7]}"


class Decision(NamedTuple):
    """What a layer did at a path, and what was there ``under`` it.

    ``entry`` is that of the layer; for a directory whose metadata stays as it is, None. ``covers``: what the image has
    below is gone. ``source`` is the path in the layer.
    """

    act: Action
    layer: str
    source: bytes
    entry: Entry | None = None
    covers: bool = False
    is_template: bool = False
    under: Decision | None = None

    def chain(self) -> Iterator[Decision]:
        """This mark and those under it, the latest first."""
        one: Decision | None = self
        while one is not None:
            yield one
            one = one.under


class Blob(NamedTuple):
    """Content that a repository holds."""

    repository: str
    oid: bytes


class RenderedEntry(NamedTuple):
    """One entry that a machine gets; without ``meta`` one that is hidden from it.

    ``content`` is a blob, or bytes that were rendered or merged; None for what has none. ``covers``: what the image
    has below the directory is hidden. ``layer`` and ``commit`` are the latest that set it.
    """

    path: bytes
    meta: Meta | None
    content: Blob | bytes | None
    layer: str
    commit: bytes
    covers: bool = False


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One entry that is laid over the root; the root itself is the empty path. ``content``: bytes, or a target."""

    path: bytes
    meta: Meta
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Layout:
    """What happens to a root: paths ``removed``, directories made ``opaque``, then entries laid, in this order."""

    laid: tuple[ArchiveEntry, ...] = ()
    removed: tuple[bytes, ...] = ()
    opaque: tuple[bytes, ...] = ()
    reload: tuple[Reload, ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """What a hardware class changes of the common layout. ``patterns`` are those of PCI modaliases."""

    name: str
    patterns: tuple[str, ...]
    layout: Layout


@dataclass(frozen=True, slots=True)
class Archive:
    """Everything for one machine. ``variants`` in their order, where its classes aren't known yet.

    ``about`` are words of the shell by upper-case keys; ``every``: not the first variant that matches, but all.
    """

    about: Mapping[str, str]
    layout: Layout
    variants: tuple[Variant, ...] = ()
    every: bool = False
    when: int = 0


ReadBlob = Callable[[str, bytes], bytes]
"""A blob of a layer, by the layer's name. Raises DamagedError."""


class LayerError(ConfigError):
    """Something is wrong in a layer; who, which layer, its commit, file and perhaps line stand in the message."""
