"""What one client gets its layers from: what it runs, a release, or what it ran on a day."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from gitstate.core.documents import read_toml
from gitstate.core.errors import DamagedError, NotFoundError, UsageError
from gitstate.core.monitor import Observer
from gitstate.core.names import display
from gitstate.directory import Client
from gitstate.machine import layers
from gitstate.machine.hardware.reports import Reports
from gitstate.machine.layers import Resolution
from gitstate.machine.render import Batch, RenderContext, Rendered
from gitstate.release.models import Name, Release, version_name
from gitstate.release.opened import OpenedSite
from gitstate.store import MAIN, Repository
from gitstate.store.objects import FILE, TREE
from gitstate.store.site import Site

_LARGEST: Final = 4 << 20
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d|\Z)")
_DAY_LENGTH: Final = len("2026-05-03")


@dataclass(frozen=True, eq=False)
class MachineState:
    """A client and what it gets its layers from: a release, or None for the ``main`` branches."""

    client: Client
    release: Release | None
    context: RenderContext
    batch: Batch

    @cached_property
    def resolution(self) -> Resolution:
        """The layers that it gets, the lowest first."""
        return self.batch.resolve(self.client)

    @cached_property
    def rendered(self) -> Rendered:
        """All entries that its layers give it. Raises ConfigError."""
        return self.batch.render(self.client)


def state_at(opened: OpenedSite, host: str, at: str | None, observer: Observer) -> MachineState:
    """What ``host`` runs, or ran by the release, or on the day, ``at``. Layers that don't exist are notices.

    Raises NotFoundError, UsageError, ConfigError, DamagedError.
    """
    site, directory = opened.site, opened.directory
    client, release = _client_and_release(opened, host.lower(), at, observer)
    context = RenderContext(
        prototype=(release.prototype, release.commit) if release else _prototype(opened, client),
        layers=release.layers if release else _main_branches(site),
        options=_options(opened, release) if release and at else layers.load(site),
        hardware=_hardware(opened, release if at else None, client.name),
        entries=directory.entries([client.name]),
        rules=tuple(directory.classes().values()),
    )
    state = MachineState(client, release, context, Batch(context, site.repository))
    if client.pin is not None:
        observer.notice(f"{client.name} is pinned to {client.pin}: it boots that snapshot without layers")
    for one in state.resolution.missing:
        observer.notice(f"{client.name}: there is no layer {one.name} ({one.why})")
    return state


def _client_and_release(
    opened: OpenedSite, host: str, at: str | None, observer: Observer
) -> tuple[Client, Release | None]:
    if at is not None and (moment := _moment(at)) is not None and not _is_release(opened, host, at):
        return _on(opened, host, moment, observer)
    client = opened.directory.client(host)
    if at is None:
        return client, opened.releases.current(client.channel) if client.channel and not client.pin else None
    channel, slash, version = at.rpartition("/")
    if not slash and client.channel is None:
        raise UsageError(f"{client.name} follows no channel", f"name one: --at CHANNEL/{at}")
    return client, opened.releases.find(Name(channel if slash else client.channel or "", version_name(version)))


def _moment(text: str) -> int | None:
    """Seconds since the epoch of a moment in the server's own time, of a day its end; None for anything else."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if not _DAY.match(text):
        return None
    return int((found.replace(hour=23, minute=59, second=59) if len(text) == _DAY_LENGTH else found).timestamp())


def is_moment(text: str) -> bool:
    """Whether ``at`` is a day, or a minute of it."""
    return _moment(text) is not None


def _is_release(opened: OpenedSite, host: str, version: str) -> bool:
    """Whether the client's channel has a version named like a day."""
    client = opened.directory.find({"name": host}).get(host)
    if client is None or client.channel is None:
        return False
    return opened.releases.get(Name(client.channel, version)) is not None


def _on(opened: OpenedSite, host: str, moment: int, observer: Observer) -> tuple[Client, Release]:
    """The client as it was at a moment, and what its channel ran then. Raises NotFoundError, UsageError."""
    client = opened.directory.client_on(host, moment)
    if client is None:
        client = opened.directory.client(host)
        observer.notice(f"{opened.directory.about()} keeps no history: {host} is taken as it is today")
    if client.channel is None or client.pin:
        raise UsageError(f"{host} followed no channel then", "--at wants a release, or a day on which it followed one")
    for release in opened.releases.of(client.channel):
        if release.when <= moment:
            return client, release
    raise NotFoundError(f"{client.channel} had no release then", f"gitstate channel show {client.channel}")


def _options(opened: OpenedSite, release: Release) -> layers.Options:
    """``[layers]`` of site.toml as it was when the release was made."""
    repository = opened.releases.open()
    oid = _child(repository, repository.snapshot(release.oid).tree, b"site.toml", FILE)
    where = f"site.toml of {release.name}"
    return layers.options_of(read_toml(repository.read(oid) if oid else b"", where, DamagedError))


def _prototype(opened: OpenedSite, client: Client) -> tuple[str, bytes] | None:
    """The snapshot that a client without a release runs, or would."""
    if client.pin:
        return client.pin.prototype, opened.site.repository(client.pin.prototype).resolve(client.pin.revision)
    channel = opened.directory.channels().get(client.channel) if client.channel else None
    tip = opened.site.repository(channel.prototype).ref(MAIN) if channel else None
    return (channel.prototype, tip) if channel and tip else None


def _main_branches(site: Site) -> Mapping[str, bytes]:
    tips = {name: site.repository(name).ref(MAIN) for name in site.layers()}
    return {name: tip for name, tip in tips.items() if tip}


def _hardware(opened: OpenedSite, release: Release | None, host: str) -> dict[str, Mapping[str, Any]]:
    """What a machine has reported, or had when a release was made."""
    if release is None:
        report = Reports(opened.site).get(host)
        return {host: dict(report)} if report else {}
    repository = opened.releases.open()
    folder = _child(repository, repository.snapshot(release.oid).tree, b"facts", TREE)
    oid = _child(repository, folder, f"{host}.json".encode(), FILE) if folder else None
    return {host: _report(repository, oid, host, release)} if oid else {}


def _report(repository: Repository, oid: bytes, host: str, release: Release) -> Mapping[str, Any]:
    try:
        if repository.size_of(oid) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST >> 20} MiB")
        value = json.loads(repository.read(oid))
        if not isinstance(value, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        where = f"facts/{display(host.encode())}.json of {release.name}"
        raise DamagedError(f"{where}: {error}", "the next release has what the machine reports then") from None
    return value


def _child(repository: Repository, tree: bytes, name: bytes, mode: int) -> bytes | None:
    item = next((item for item in repository.tree(tree) if item.name == name), None)
    if item is not None and item.mode != mode:
        hint = "gitstate fsck, then take it from a clone or a backup"
        raise DamagedError(f"{repository.name}: {display(name)} of a release is of mode {item.mode:o}", hint)
    return item.oid if item else None
