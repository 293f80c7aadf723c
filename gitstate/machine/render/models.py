"""What layers consist of, what they do together, and what a machine gets: entries, decisions, rendered entries."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from gitstate.core.entry import Entry, Meta
from gitstate.core.errors import ConfigError

TEMPLATE: Final = b".j2"
MERGE: Final = b".merge"
NEVER_LAID: Final = frozenset({b"policy.toml", b"layer.toml", b"vars.toml"})
"""Files in a layer's root that are for gitstate itself."""
SNIPPETS: Final = b".include"
"""The directory in a layer's root for templates to include; never installed."""
ACCOUNTS: Final = frozenset(
    b"etc/" + name for name in (b"passwd", b"group", b"shadow", b"gshadow", b"subuid", b"subgid")
)
"""Files that are merged line by line, never replaced."""


LONGEST_PATH: Final = 3900
"""The kernel unpacks names of up to 4095 bytes, and ours stand below ``gitstate/machine/class/NAME/files/``."""
GLOB: Final = re.compile(r"[A-Za-z0-9._+@,:~/*?\[\]!-]{1,400}")
UNIT: Final = re.compile(r"[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,254}")


class Action(enum.Enum):
    """What a layer does at a path."""

    LAY = "lay"
    """Put a file, symlink, device or fifo there."""
    RENDER = "render"
    """Put the output of a template there."""
    MERGE = "merge"
    """Merge lines into the file that is there."""
    DIRECTORY = "directory"
    """Make it a directory."""
    HIDE = "hide"
    """Remove what is there."""


class LayerEntry(NamedTuple):
    """What a layer does to one name in a directory. ``source`` is its name in the layer."""

    name: bytes
    action: Action
    entry: Entry
    source: bytes
    is_template: bool = False


class Folder(NamedTuple):
    """A directory of a layer. ``own`` is its record, None without one.

    ``sets_metadata``: ``own`` counts also where there is a directory already.
    """

    path: bytes
    own: Meta | None
    is_opaque: bool
    whiteouts: tuple[bytes, ...]
    entries: tuple[LayerEntry, ...]
    sets_metadata: bool = False


@dataclass(frozen=True, slots=True)
class Reload:
    """Units to reload when a path that matches ``glob`` changes; ``*`` matches slashes, too."""

    glob: str
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LayerSettings:
    """The content of ``layer.toml``."""

    description: str = ""
    reload: tuple[Reload, ...] = ()
    directories: frozenset[bytes] = frozenset()
    """Directories of the layer whose owner and mode count also where there is a directory already."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's snapshot, parents first. ``files`` are the blobs of its regular files by path, for includes."""

    name: str
    commit: bytes
    folders: tuple[Folder, ...]
    files: Mapping[bytes, bytes] = field(default_factory=dict)
    vars: Mapping[str, Any] = field(default_factory=dict)
    settings: LayerSettings = field(default_factory=LayerSettings)

    def __str__(self) -> str:
        return f"{self.name} {self.commit.hex()[:7]}"


class Decision(NamedTuple):
    """What a layer does at a path, and what a lower layer does there.

    ``entry`` is that of the layer, None for a directory whose metadata stays as it is. ``covers``: nothing of the
    image shows through below. ``source`` is the path in the layer.
    """

    action: Action
    layer: str
    source: bytes
    entry: Entry | None = None
    covers: bool = False
    is_template: bool = False
    lower: Decision | None = None

    def chain(self) -> Iterator[Decision]:
        """This decision and the lower ones, the latest first."""
        one: Decision | None = self
        while one is not None:
            yield one
            one = one.lower


class Blob(NamedTuple):
    """Content in a repository."""

    repository: str
    oid: bytes


class RenderedEntry(NamedTuple):
    """One entry that a machine gets, or, without ``meta``, one that is removed.

    ``content`` is a blob, or bytes that were rendered or merged, or None. ``covers``: nothing of the image shows
    through below. ``layer`` and ``commit`` are the latest that set it.
    """

    path: bytes
    meta: Meta | None
    content: Blob | bytes | None
    layer: str
    commit: bytes
    covers: bool = False


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One entry that is put over the root, which is the empty path. ``content``: bytes, or a symlink's target."""

    path: bytes
    meta: Meta
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class Layout:
    """What happens to a root, in this order: ``removed`` paths, directories made ``opaque``, ``entries`` put there."""

    entries: tuple[ArchiveEntry, ...] = ()
    removed: tuple[bytes, ...] = ()
    opaque: tuple[bytes, ...] = ()
    reload: tuple[Reload, ...] = ()


@dataclass(frozen=True, slots=True)
class Variant:
    """How a hardware class changes the common layout. ``patterns`` match PCI modaliases."""

    name: str
    patterns: tuple[str, ...]
    layout: Layout


@dataclass(frozen=True, slots=True)
class Archive:
    """Everything for one machine; with ``variants``, in order, as long as its hardware classes aren't known.

    ``about`` holds shell words by upper-case keys. ``match_all``: all variants that match apply, not the first alone.
    """

    about: Mapping[str, str]
    layout: Layout
    variants: tuple[Variant, ...] = ()
    match_all: bool = False
    when: int = 0


ReadBlob = Callable[[str, bytes], bytes]
"""A blob of a layer, by the layer's name. Raises DamagedError."""


class LayerError(ConfigError):
    """An error in a layer; the message names the machine, layer, commit, file and, if known, line."""
