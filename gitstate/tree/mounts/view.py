"""Mounts of a live tree in view of all, for who works there by chroot: made, found again after a crash, and unmade.

Ours are known by the source that they were mounted with, or by what they show: directories of the repository's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import ConflictError, GitstateError
from gitstate.core.failures import of_system
from gitstate.core.fs import MountPoint
from gitstate.core.names import display
from gitstate.store import Repository
from gitstate.tree.mounts.make import apply, furnish
from gitstate.tree.mounts.plan import SOURCE, Plan, plan

_PLACE: Final = "mounts"


def plan_view(repository: Repository, live: Path) -> Plan:
    """Plan the mounts; none if all are there. Raises HostError, StorageError."""
    place = repository.private / _PLACE
    todo = plan(live, place)
    return replace(todo, mounts=()) if _is_complete(todo, _found(live, place)) else todo


def view(repository: Repository, live: Path) -> None:
    """Mount; what is left of a run that was killed is unmounted first. Raises HostError, StorageError, LockedError."""
    with repository.lock("mount"):
        todo, place = plan_view(repository, live), repository.private / _PLACE
        if todo.mounts:
            _clear(live, place)
            try:
                place.mkdir(mode=0o700)
                furnish(todo)
                apply(todo)
            except BaseException:
                with suppress(GitstateError):  # the first error tells more
                    _clear(live, place)
                raise


def points_in_view(repository: Repository, live: Path) -> list[bytes]:
    """The paths in the live tree that ``unview`` would unmount."""
    return [_inside(live, one) for one in _found(live, repository.private / _PLACE)]


def unview(repository: Repository, live: Path) -> list[bytes]:
    """Unmount; the paths of what is in use, and ends later. Raises StorageError, HostError, LockedError."""
    with repository.lock("umount"):
        return _clear(live, repository.private / _PLACE)


def _clear(live: Path, place: Path) -> list[bytes]:
    busy = _unmount_all(live, _found(live, place))
    fs.remove_tree(place)
    return busy


def _found(live: Path, place: Path) -> list[MountPoint]:
    """The mounts in view below a live tree that a plan with this ``place`` made, in that order."""
    ours: list[MountPoint] = []
    sources = fs.place(place.parent) / place.name
    for one in fs.mount_points(live):
        inner = any(one.point.startswith(other.point + b"/") for other in ours)
        if inner or one.source == SOURCE or one.place.is_relative_to(sources):
            ours.append(one)
    return ours


def _is_complete(todo: Plan, mounted: Iterable[MountPoint]) -> bool:
    """Whether all mounts of the plan are there."""
    top = os.fsencode(os.path.realpath(todo.live))
    return {top + b"/" + one.point for one in todo.mounts} <= {one.point for one in mounted}


def _unmount_all(live: Path, mounted: Sequence[MountPoint]) -> list[bytes]:
    """Unmount, the last first; the paths of those that are in use, and go when they aren't any more.

    Raises StorageError, HostError, ConflictError.
    """
    busy = []
    for one in reversed(mounted):
        path = _inside(live, one)
        if not _unmount(live, path, one.id):
            busy.append(path)
    return busy


def _inside(live: Path, one: MountPoint) -> bytes:
    """The path of a mount from the root of the live tree."""
    return one.point.removeprefix(os.fsencode(os.path.realpath(live)).rstrip(b"/") + b"/")


def _unmount(live: Path, path: bytes, number: int) -> bool:
    """Whether nothing used it. What is gone already, or something else by now, is left alone."""
    above, _, name = path.rpartition(b"/")
    root = fs.open_tree(live)
    try:
        parent = fs.open_path(above, root)
    except OSError as error:
        raise ConflictError(f"/{display(path)}: {error.strerror}", "what is mounted there can't be reached") from None
    finally:
        os.close(root)
    try:
        if fs.mounted_on(parent, name) != number:
            return True
        try:
            fs.unmount(parent, name, lazily=False)
        except OSError:
            fs.unmount(parent, name, lazily=True)
            return False
    except OSError as error:
        raise of_system(error, f"unmount /{display(path)}") from None
    finally:
        os.close(parent)
    return True
