"""Few packs, and every object compressed well once.

A check-in deflates for speed and writes no deltas. git compresses its packs when they are first repacked; zlib's
header tells which packs that was done to. From then on they are only copied, and git looks for deltas between those
that it joins. Packs are joined where their sizes aren't in a geometric progression, so that each byte is copied a few
times however often this runs.
"""

from __future__ import annotations

import re
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import GitstateError, LockedError
from gitstate.core.wording import some_of
from gitstate.store import stale_locks
from gitstate.store.repository import Repository

GRACE: Final = "2.weeks.ago"
"""Unreachable objects are kept until then, as git itself keeps them: a ref may be about to name them."""

_STEP: Final = 4
"""A pack is left alone while it is so many times as large as all smaller ones together."""

_LOOSE: Final = re.compile("[0-9a-f]{2}")
_LONGEST_HEADER: Final = 20
_HEAD: Final = 12
_DEFAULT_EFFORT: Final = 2
_ZLIB_LEVEL: Final = 6
# Options for what is compressed for the first time, and for --aggressive.
_LEVEL: Final = {"pack.compression": str(_ZLIB_LEVEL)}
_ONCE: Final = ("-F",)
_AGAIN: Final = ("-F", "--depth=50", "--window=50")


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a repository in bytes and packs, and how many of the packs are to be compressed."""

    size: int
    packs: int
    fresh: int
    aggressive: bool


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a repository."""

    size: int
    packs: int


def plan(repository: Repository, *, aggressive: bool = False) -> Plan:
    """Look, writing nothing."""
    packs = _packs(repository)
    fresh = packs if aggressive else [pack for pack in packs if not _is_compressed(pack)]
    return Plan(repository.size(), len(packs), len(fresh), aggressive)


def apply(repository: Repository, plan: Plan) -> Size:
    """Repack, and drop what has long been unreachable. The caller holds the lock. Raises StorageError, LockedError.

    git leaves a pack that it couldn't finish, and so on a full disk takes the last of the room: that is given back.
    """
    _clear_leftovers(repository)
    try:
        if plan.aggressive:
            _repack(repository, [], *_AGAIN)
        else:
            _compress(repository)
            _join(repository)
        repository.git("prune", f"--expire={GRACE}")
        repository.git("pack-refs", "--all")
        repository.git("commit-graph", "write", "--reachable")
    except BaseException:
        with suppress(OSError, GitstateError), warnings.catch_warnings(action="ignore"):
            stale_locks.clear_temporary(repository.path, everywhere=True)
        raise
    return Size(repository.size(), len(_packs(repository)))


def _clear_leftovers(repository: Repository) -> None:
    """Remove what a killed git left, and index a pack that it hadn't indexed yet: git fails because of one.

    Raises LockedError while somebody else repacks.
    """
    packs = repository.path / "objects" / "pack"
    owners = stale_locks.clear_temporary(repository.path, everywhere=True)
    if any(packs.glob(".tmp-*-pack-*")):
        hint = f"try again when this is done: {some_of(owners, 1)}" if owners else "try again when it is done"
        raise LockedError(f"{repository.name} is being repacked by somebody else", hint)
    for pack in packs.glob("pack-*.pack"):
        if not owners and not pack.with_suffix(".idx").exists():
            repository.git("index-pack", str(pack))


def _compress(repository: Repository) -> None:
    """Make one pack of what was written since the last time."""
    packs = _packs(repository)
    compressed = [pack for pack in packs if _is_compressed(pack)]
    if len(compressed) < len(packs) or _has_loose_objects(repository) or _has_cruft(repository):
        _repack(repository, compressed, *_ONCE)


def _join(repository: Repository) -> None:
    packs = _packs(repository)
    kept = _progression(packs)
    if len(kept) < len(packs):
        _repack(repository, kept)


def _repack(repository: Repository, kept: list[Path], *options: str) -> None:
    """Make one pack of all but ``kept``, and a cruft pack of unreachable objects with their times."""
    aside = [f"--keep-pack={pack.name}" for pack in kept]
    cruft = ["--cruft", f"--cruft-expiration={GRACE}"]
    repository.git("repack", "-d", "-l", "-n", "-q", *cruft, *options, *aside, config=_LEVEL)


def _packs(repository: Repository) -> list[Path]:
    """All packs except cruft packs and those with a ``.keep`` file, the largest first."""
    folder = repository.path / "objects" / "pack"
    found = [folder / name for name in fs.list_names(folder) if name.startswith("pack-") and name.endswith(".pack")]
    ours = [pack for pack in found if not any(pack.with_suffix(suffix).exists() for suffix in (".keep", ".mtimes"))]
    return sorted(ours, key=lambda pack: pack.stat().st_size, reverse=True)


def _progression(packs: list[Path]) -> list[Path]:
    """Of ``packs``, the largest first, those that are large compared with all that follow; the others get joined."""
    sizes = [pack.stat().st_size for pack in packs]
    kept = 0
    while kept < len(packs) and sizes[kept] >= _STEP * sum(sizes[kept + 1 :]):
        kept += 1
    return packs[:kept]


def _is_compressed(pack: Path) -> bool:
    """Whether a pack's first object was deflated with at least zlib's default effort (RFC 1950, FLEVEL)."""
    with open(pack, "rb") as file:
        entry = file.read(_HEAD + _LONGEST_HEADER)[_HEAD:]
    header = next((place for place, byte in enumerate(entry) if not byte & 0x80), 0)
    return len(entry) > header + 2 and entry[header + 2] >> 6 >= _DEFAULT_EFFORT


def _has_cruft(repository: Repository) -> bool:
    return any((repository.path / "objects" / "pack").glob("pack-*.mtimes"))


def _has_loose_objects(repository: Repository) -> bool:
    found = (repository.path / "objects").iterdir()
    return any(any(path.iterdir()) for path in found if _LOOSE.fullmatch(path.name))
