"""Which layers' commits a client gets, and over what: by a release, else as the repositories stand."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from gitstate.cli.base.app import Session
from gitstate.core.errors import DamagedError, NotFoundError, UsageError
from gitstate.core.names import octal
from gitstate.directory import Client, Directory, open_directory
from gitstate.machine import layers as choosing
from gitstate.machine.hardware.reports import Reports
from gitstate.machine.layers import Resolution
from gitstate.machine.render import Batch, RenderContext, Rendered
from gitstate.release.log import ReleaseLog
from gitstate.release.models import Name, Release, version_name
from gitstate.store import MAIN, Repository
from gitstate.store.objects import FILE, TREE
from gitstate.store.site import Site

_LARGEST: Final = 4 << 20
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d|\Z)")
_DAY_LENGTH: Final = len("2026-05-03")


class CurrentState(NamedTuple):
    """A client, and what it gets its layers from: a release, or None for the repositories' branches ``main``."""

    client: Client
    release: Release | None
    ground: RenderContext
    batch: Batch


def stand(session: Session, host: str, at: str | None) -> CurrentState:
    """What ``host`` runs, or ran by the release, or on the day, ``at``.

    Raises NotFoundError, UsageError, ConfigError.
    """
    site = session.site
    directory = open_directory(site)
    client, release = _meant(session, directory, host.lower(), at)
    ground = RenderContext(
        prototype=(release.prototype, release.commit) if release else _prototype(site, client),
        layers=release.layers if release else _mains(site),
        options=_options(site, release) if release and at else choosing.load(site),
        hardware=_hardware(site, release if at else None, client.name),
        entries=directory.entries([client.name]),
        rules=tuple(directory.classes().values()),
    )
    return CurrentState(client, release, ground, Batch(ground, site.repository))


def rendered(session: Session, standing: CurrentState) -> Rendered:
    """All that the client gets; layers that somebody named and that don't exist are told of."""
    tell_missing(session, standing.client, standing.batch.resolve(standing.client))
    return standing.batch.render(standing.client)


def tell_missing(session: Session, client: Client, resolution: Resolution) -> None:
    """Say which layers somebody named that don't exist, and who gets none."""
    if client.pin is not None:
        session.observer.notice(f"{client.name} is pinned to {client.pin}: it boots that snapshot without layers")
    for one in resolution.missing:
        session.observer.notice(f"{client.name}: there is no layer {one.name} ({one.why})")


def source_of(standing: CurrentState) -> str:
    """In words, what a client's layers are taken from."""
    return str(standing.release.name) if standing.release else "layers' main"


def commits_json(standing: CurrentState, resolution: Resolution) -> list[dict[str, Any]]:
    """The layers of a client, the lowest first."""
    commits = standing.ground.layers
    return [{"repository": one.name, "commit": commits[one.name].hex(), "why": one.why} for one in resolution.layers]


def standing_json(standing: CurrentState) -> dict[str, Any]:
    """Which machine it is about, and by what."""
    prototype = standing.ground.prototype
    image = {"repository": prototype[0], "commit": prototype[1].hex()} if prototype else None
    return {
        "host": standing.client.name,
        "release": str(standing.release.name) if standing.release else None,
        "prototype": image,
    }


def _meant(session: Session, directory: Directory, host: str, at: str | None) -> tuple[Client, Release | None]:
    """The client, and the release that it is about."""
    book = ReleaseLog(session.site)
    if at is not None and (moment := _moment(at)) is not None and not _is_release(book, directory, host, at):
        return _on(session, directory, book, host, moment)
    client = directory.client(host)
    if at is None:
        return client, book.current(client.channel) if client.channel and not client.pin else None
    channel, slash, version = at.rpartition("/")
    if not slash and client.channel is None:
        raise UsageError(f"{client.name} follows no channel", f"name one: --at CHANNEL/{at}")
    return client, book.find(Name(channel if slash else client.channel or "", version_name(version)))


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
    """Whether ``--at`` takes it for a day, or a minute of it."""
    return _moment(text) is not None


def _is_release(book: ReleaseLog, directory: Directory, host: str, version: str) -> bool:
    """Whether a channel's version is called like a day."""
    client = directory.find({"name": host}).get(host)
    return client is not None and client.channel is not None and book.get(Name(client.channel, version)) is not None


def _on(session: Session, directory: Directory, book: ReleaseLog, host: str, moment: int) -> tuple[Client, Release]:
    """The client as it was at a moment, and what its channel ran then. Raises NotFoundError, UsageError."""
    client = directory.client_on(host, moment)
    if client is None:
        client = directory.client(host)
        session.observer.notice(f"{directory.about()} keeps no history: {host} is taken as it is today")
    if client.channel is None or client.pin:
        raise UsageError(f"{host} followed no channel then", "--at wants a release, or a day on which it followed one")
    for release in book.of(client.channel):
        if release.when <= moment:
            return client, release
    raise NotFoundError(f"{client.channel} had no release then", f"gitstate channel show {client.channel}")


def _options(site: Site, release: Release) -> choosing.Options:
    """``[layers]`` of site.toml as it was when the release was made."""
    repository = ReleaseLog(site).open()
    oid = _below(repository, repository.snapshot(release.oid).tree, b"site.toml", FILE)
    where = f"site.toml of {release.name}"
    try:
        return choosing.parse(tomllib.loads(repository.read(oid).decode()) if oid else {}, where)
    except ValueError as error:
        raise DamagedError(f"{where}: {error}", "git fsck in site.git; take it from a backup") from None


def _prototype(site: Site, client: Client) -> tuple[str, bytes] | None:
    """The snapshot that a client without a release runs, or would."""
    if client.pin:
        return client.pin.prototype, site.repository(client.pin.prototype).resolve(client.pin.revision)
    channel = open_directory(site).channels().get(client.channel) if client.channel else None
    tip = site.repository(channel.prototype).ref(MAIN) if channel else None
    return (channel.prototype, tip) if channel and tip else None


def _mains(site: Site) -> Mapping[str, bytes]:
    tips = {name: site.repository(name).ref(MAIN) for name in site.layers()}
    return {name: tip for name, tip in tips.items() if tip}


def _hardware(site: Site, release: Release | None, host: str) -> dict[str, Mapping[str, Any]]:
    """What a machine has reported, or had when a release was made."""
    if release is None:
        report = Reports(site).get(host)
        return {host: dict(report)} if report else {}
    repository = ReleaseLog(site).open()
    folder = _below(repository, repository.snapshot(release.oid).tree, b"facts", TREE)
    oid = _below(repository, folder, f"{host}.json".encode(), FILE) if folder else None
    if oid is None:
        return {}
    try:
        if repository.size_of(oid) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST >> 20} MiB")
        value = json.loads(repository.read(oid))
        if not isinstance(value, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        where = f"facts/{octal(host.encode())}.json of {release.name}"
        raise DamagedError(f"{where}: {error}", "the next release has what the machine reports then") from None
    return {host: value}


def _below(repository: Repository, tree: bytes, name: bytes, mode: int) -> bytes | None:
    return next((item.oid for item in repository.tree(tree) if item.name == name and item.mode == mode), None)
