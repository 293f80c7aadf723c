"""What the last run wrote, and from what: so that the next one renders and reads only what may have changed.

It is never trusted over the disk: a file counts as written only if inode, size and time are still those. Without
this file, or with one that is damaged, everything is rendered and compared.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from gitstate.core import fs
from gitstate.core.output import Stamp
from gitstate.core.state_file import StateFormat

_FORMAT: Final = StateFormat("boot state", 2)
NAME: Final = "boot.state"


@dataclass(frozen=True, slots=True)
class Unit:
    """Files that are rendered together: the digest of what they were made from, and their stamps by path."""

    digest: str
    files: dict[str, Stamp]


@dataclass(frozen=True, slots=True)
class Copied:
    """A snapshot in ``tftp/``: what was found out about it, and the stamps of its files by path.

    ``nfs`` is the version of NFS for which its initrd was found fit.
    """

    epoch: int
    has_caps: bool
    nfs: str
    files: dict[str, Stamp]


@dataclass(slots=True)
class State:
    """All of it; ``pending`` are the files whose readers haven't been told to read them again."""

    units: dict[str, Unit] = field(default_factory=dict)
    copied: dict[str, Copied] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)


def load(site: Path) -> State:
    """The state of a site; an empty one if there is none, or a damaged one. Raises StorageError, HostError."""
    text = fs.read_file(site / NAME)
    body = _FORMAT.decode(BytesIO(text)) if text is not None else None
    if body is None:
        return State()
    value = json.loads(body)
    return State(
        {key: Unit(one[0], _stamps(one[1])) for key, one in value["units"].items()},
        {key: Copied(one[0], one[1], one[2], _stamps(one[3])) for key, one in value["copied"].items()},
        set(value["pending"]),
    )


def save(site: Path, state: State) -> None:
    """Replace the state of a site. Raises OSError."""
    value: dict[str, Any] = {
        "units": {key: (one.digest, one.files) for key, one in state.units.items()},
        "copied": {key: (one.epoch, one.has_caps, one.nfs, one.files) for key, one in state.copied.items()},
        "pending": sorted(state.pending),
    }
    _FORMAT.write_json(site / NAME, value)


def _stamps(value: dict[str, list[Any]]) -> dict[str, Stamp]:
    return {path: Stamp(*one) for path, one in value.items()}
