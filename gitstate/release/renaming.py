"""A prototype or a layer under another name: repository, live tree, exports, and all that names it.

The release log notes the new name first: releases that were made before are read with it, tags and rollbacks, too. So
a rename that was interrupted is known, and goes on when it is run again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from gitstate.core import fs
from gitstate.core.errors import HostError, NotFoundError, UsageError
from gitstate.core.monitor import Observer
from gitstate.core.names import layer_word
from gitstate.core.signature import Signature
from gitstate.directory import Channel, Client
from gitstate.directory import plan as planning
from gitstate.directory.plan import ClientChange
from gitstate.release import boot_files
from gitstate.release.opened import OpenedSite
from gitstate.release.reconcile import Step, exclusive
from gitstate.store import Repository
from gitstate.store.site import Site
from gitstate.tree.overlay.layers import require_directory


@dataclass(frozen=True, slots=True)
class Rename:
    """``old`` becomes ``new``: directories that move, channels and clients that name it."""

    opened: OpenedSite
    old: str
    new: str
    moves: tuple[tuple[Path, Path], ...]
    channels: tuple[str, ...]
    clients: tuple[str, ...]

    def describe(self) -> list[str]:
        """A line for each thing that changes."""
        return [
            *(f"{one} -> {other}" for one, other in self.moves),
            *(f"channel {one}" for one in self.channels),
            *(f"client {one}" for one in self.clients),
        ]


def plan(opened: OpenedSite, old: str, new: str) -> Rename:
    """Plan a rename. Raises NotFoundError, UsageError, HostError while anything is mounted below it."""
    site = opened.site
    paths = site.repository_path(old), site.repository_path(new)
    is_begun = opened.releases.renamed.get(old) == new and old != new
    if not fs.has_directory(paths[0]) and not is_begun:
        opened.repository(old)
    if not is_begun and not (fs.is_free(paths[1]) and fs.is_free(site.live_path(new))):
        raise UsageError(f"there is {new} already", "choose another name")
    if not is_begun:
        refuse_taken(opened, new, old)
        require_directory(opened.repository(old))
    moves = tuple((one, other) for one, other in _moves(site, old, new) if not fs.is_free(one))
    for path, _ in moves:
        if mounted := fs.mounts_below(path):
            raise HostError(f"{mounted[0]} is a mount point", "unmount it first: nothing was renamed")
    channels = [one.name for one in opened.directory.channels().values() if one.prototype == old]
    clients = [name for name, one in opened.directory.clients().items() if _with_new_name(one, old, new) != one]
    return Rename(opened, old, new, moves, tuple(channels), tuple(clients))


def refuse_taken(opened: OpenedSite, name: str, old: str | None = None) -> None:
    """Raise UsageError for a name under which releases know what is called otherwise today, unless that is ``old``."""
    today = opened.releases.renamed.get(name)
    if today not in (None, old):
        raise UsageError(f"{name} is in releases what is called {today} today", "choose another name")


def _moves(site: Site, old: str, new: str) -> Iterator[tuple[Path, Path]]:
    """The repository goes last: while it stands under its old name, anything may have moved."""
    yield site.live_path(old), site.live_path(new)
    yield site.exports_path(old), site.exports_path(new)
    yield site.tftp / old, site.tftp / new
    yield site.repository_path(old), site.repository_path(new)


def apply(
    rename: Rename,
    author: Signature,
    committer: Signature,
    observer: Observer,
    step: Step = lambda name: None,
) -> None:
    """Carry it out; run again after an interruption it goes on. Raises LockedError, OSError, ConfigError."""
    opened, old, new = rename.opened.reopened(), rename.old, rename.new
    message = f"rename {old} to {new}"
    with exclusive(opened.releases, message):
        opened.releases.rename(old, new, author, committer)
        step("noted")
        _move(opened.site, rename)
        step("moved")
        channels = [one for one in opened.directory.channels().values() if one.prototype == old]
        if channels:
            changed: list[Channel] = [replace(one, prototype=new) for one in channels]
            opened.directory.change_channels(changed, [], author, message, committer)
        step("channels")
        clients = opened.directory.clients().values()
        changes = [ClientChange(one, found) for one in clients if (found := _with_new_name(one, old, new)) != one]
        if changes:
            planning.apply(planning.Plan(opened.directory, "set", tuple(changes)), author, committer, message)
        step("clients")
    if opened.boots:
        boot_files.write(opened.reopened(), observer, reload=False)


def _move(site: Site, rename: Rename) -> None:
    for path, other in rename.moves:
        other.parent.mkdir(mode=0o700, exist_ok=True)
        if path != site.repository_path(rename.old):
            os.rename(path, other)
            continue
        repository = Repository.open(path, rename.old)
        with repository.lock("a rename"):
            _tell_live(repository, site, rename)
            os.rename(path, other)


def _tell_live(repository: Repository, site: Site, rename: Rename) -> None:
    """The repository knows its live tree by its path, unless that was adopted where it stands."""
    if repository.live == site.live_path(rename.old):
        repository.configure("gitstate.live", str(site.live_path(rename.new)))


def _with_new_name(client: Client, old: str, new: str) -> Client:
    names = {one for one in client.layers if _full(one) == old}
    if names:
        client = replace(client, layers=tuple(new if one in names else one for one in client.layers))
    if client.pin is not None and client.pin.prototype == old:
        client = replace(client, pin=client.pin._replace(prototype=new))
    if client.maintains == old:
        client = replace(client, maintains=new)
    return client


def _full(name: str) -> str:
    """A layer as repositories are called, however the directory spells it."""
    kind, slash, rest = name.partition("/")
    return f"{kind}/{layer_word(rest)}" if slash else name


def require_layer(opened: OpenedSite, name: str) -> None:
    """Raise NotFoundError unless there is such a layer, or was one that is being renamed."""
    if name not in opened.site.layers() and name not in opened.releases.renamed:
        raise NotFoundError(f"no layer {name}", "gitstate layer list shows what there is")
