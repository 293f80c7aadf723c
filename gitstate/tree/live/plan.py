"""What ``gitstate live`` would do. Writes nothing."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.entry import Kind, Meta
from gitstate.core.errors import ConflictError, HostError, RefusedError, UsageError
from gitstate.core.monitor import Observer
from gitstate.core.names import display, join
from gitstate.core.wording import counted, some_of
from gitstate.store import MAIN, Repository
from gitstate.tree.checkin import base_of, require_base, status
from gitstate.tree.overlay.layers import Layers, layers_of
from gitstate.tree.overlay.marks import TRUSTED, USER
from gitstate.tree.snapshot import read_directory, walk


class Action(enum.Enum):
    """What is to be done; the values are for JSON."""

    NOTHING = "nothing"
    MOUNT = "mount"
    OVERLAY = "overlay"
    FOLD = "fold"
    DIRECTORY = "dir"


_UNMOUNTABLE: Final = frozenset(',:\\"')
"""What separates the options of a mount."""


@dataclass(frozen=True, slots=True)
class Plan:
    """``commit`` is what lies below afterwards, or what the directory is; ``layers`` are those before, if any."""

    repository: Repository
    action: Action
    live: Path
    exports: Path
    commit: bytes
    layers: Layers | None

    @property
    def new(self) -> Layers:
        """The layers afterwards."""
        return Layers(self.live, place_of(self.live) / self.commit.hex())


def is_empty(repository: Repository) -> bool:
    """Whether nothing is recorded yet, so that there is nothing to lay below."""
    return base_of(repository) is None


def place_of(live: Path) -> Path:
    """Where the layers of a live tree are: on its file system, beside it."""
    return live.with_name(f".{live.name}.overlay")


def plan(
    repository: Repository, exports: Path, observer: Observer, *, mode: Action | None = None, fold: bool = False
) -> Plan:
    """Plan what makes the live tree an overlay or a directory, folds it, or, with neither, mounts it.

    Raises ConflictError for edits that aren't checked in, RefusedError for a snapshot that no overlay can show,
    UsageError, HostError, NotFoundError.
    """
    live, layers = repository.live, layers_of(repository)
    if live is None:
        raise HostError(f"{repository.name} has no live tree", "gitstate prototype create NAME --live DIR adopts one")
    recorded = require_base(repository)
    made = partial(Plan, repository, live=live, exports=exports, layers=layers)
    if fold and mode is Action.DIRECTORY:
        raise UsageError("--fold is for overlays", "leave it out with --mode dir")
    if mode is Action.OVERLAY and layers is None:
        if _is_mount_point(live):
            hint = "the layers lie beside a live tree, on its file system: a directory in that file system can be one"
            raise HostError(f"{live} is a mount point itself", hint)
        require_clean(repository, live, observer)
        _require_possible(repository, recorded, exports, live)
        return made(Action.OVERLAY, commit=recorded)
    if layers is None:
        if fold:
            raise UsageError(
                f"{repository.name}'s live tree is a directory", f"gitstate live {repository.name} --mode overlay"
            )
        return made(Action.NOTHING, commit=recorded)
    if mode is Action.DIRECTORY:
        require_clean(repository, live, observer)
        return made(Action.DIRECTORY, commit=recorded)
    if fold:
        require_clean(repository, live, observer)
        commit = _newest(repository, recorded)
        _require_possible(repository, commit, exports, live)
        if commit != layers.base:
            return made(Action.FOLD, commit=commit)
    return made(Action.NOTHING if layers.is_mounted else Action.MOUNT, commit=layers.base)


def _newest(repository: Repository, recorded: bytes) -> bytes:
    """Main, if it has all that the live tree was recorded as; else that."""
    tip = repository.ref(MAIN)
    return tip if tip is not None and repository.merge_base(recorded, tip) == recorded else recorded


def require_clean(repository: Repository, live: Path, observer: Observer) -> None:
    """Raise ConflictError unless all that the live tree has is recorded."""
    found = status(repository, live, observer)
    number = len(found.changes) + len(found.links) or 1
    if found.tree != found.old_tree or found.findings.unrecorded:
        what = counted(number, "change is", "changes are")
        raise ConflictError(
            f"{what} not checked in from {live}", f"gitstate checkin {repository.name} -m TEXT, then run it again"
        )


def _is_mount_point(live: Path) -> bool:
    """Whether something is mounted there, a directory of the same file system included."""
    parent = fs.open_tree(live.parent)
    try:
        return fs.mounted_on(parent, os.fsencode(live.name)) != fs.mount_id(parent)
    finally:
        os.close(parent)


def _require_possible(repository: Repository, commit: bytes, exports: Path, live: Path) -> None:
    if os.geteuid() != 0:
        raise HostError("only root can mount an overlay", "run it with sudo")
    for path in (exports, live):
        if _UNMOUNTABLE & set(str(path)):
            raise HostError(
                f"{path} can't be named in a mount's options", "use a path without commas, colons and quotes"
            )
    if held := list(overlay_data(repository, commit)):
        named = some_of([f"/{display(path)} ({what})" for path, what in held])
        raise RefusedError(
            f"{repository.name} holds what an overlay takes for its own: {named}",
            "remove it, or leave it out (skip in the policy file), and check in",
        )


def overlay_data(repository: Repository, commit: bytes) -> Iterator[tuple[bytes, str]]:
    """Paths of a snapshot that mean something else below an overlay, and why. Raises DamagedError."""
    for path, directory in walk(partial(read_directory, repository.read), repository.snapshot(commit).tree):
        if why := _taken(directory.own):
            yield path, why
        yield from ((join(path, name), why) for name, one in directory.files.items() if (why := _taken(one.meta)))


def _taken(meta: Meta) -> str:
    if meta.kind is Kind.CHARACTER and meta.device == (0, 0):
        return "a device 0:0"
    marks = (name for name, _ in meta.xattrs if name.startswith((TRUSTED, USER)))
    return next((f"attribute {display(name)}" for name in marks), "")
