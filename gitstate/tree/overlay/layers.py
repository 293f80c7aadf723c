"""What an overlay live tree is made of: an export below, and directories for what is edited."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitstate.core import fs
from gitstate.core.errors import ConfigError, ConflictError, HostError
from gitstate.store import Repository

SETTING = "gitstate.overlay"
"""The repository's setting that names the directories; one setting, so that one rename replaces all that it means."""


@dataclass(frozen=True, slots=True)
class Layers:
    """The directories of a live tree at ``live``: ``place`` is named for the commit whose export lies below."""

    live: Path
    place: Path

    @property
    def base(self) -> bytes:
        """The commit whose export lies below."""
        return bytes.fromhex(self.place.name)

    @property
    def upper(self) -> Path:
        """Where edits are."""
        return self.place / "upper"

    @property
    def work(self) -> Path:
        """The kernel's own."""
        return self.place / "work"

    @property
    def is_mounted(self) -> bool:
        """Whether the overlay is mounted on the live tree: a disk that is mounted there isn't it."""
        return self.live.is_mount() and fs.has_directory(self.upper) and fs.overlay_options(self.upper) is not None


def layers_of(repository: Repository) -> Layers | None:
    """The layers of a live tree that is an overlay; None for a directory. Raises ConfigError."""
    place = repository.settings.get(SETTING)
    if not place or repository.live is None:
        return None
    name = Path(place).name
    if len(name) != 40 or not set(name) <= set("0123456789abcdef"):
        raise ConfigError(f"{SETTING} of {repository.name} is {place!r}, which names no commit", "mend its config")
    return Layers(repository.live, Path(place))


def require_directory(repository: Repository) -> None:
    """Raise HostError if the live tree is an overlay, whose layers are named by path."""
    if layers_of(repository) is not None:
        hint = f"gitstate live {repository.name} --mode dir, then run it again"
        raise HostError(f"the live tree of {repository.name} is an overlay", hint)


def require_not_below(repository: Repository, commit: bytes) -> None:
    """Raise ConflictError if the live tree lies over ``commit``, without which its edits mean nothing."""
    layers = layers_of(repository)
    if layers is not None and layers.base == commit:
        hint = "it stays as it is: check in a new commit, without --amend"
        raise ConflictError(f"{commit.hex()[:7]} is what the live tree {layers.live} lies over", hint)
