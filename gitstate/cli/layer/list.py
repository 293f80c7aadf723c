"""layer list: the layers, and who gets them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import click

from gitstate.cli.base.app import Session, common, pass_session
from gitstate.cli.base.help import Command
from gitstate.cli.base.output import date, emit, location, moment, shortened, table, talk
from gitstate.cli.layer import shipped as layer_shipped
from gitstate.core.errors import DamagedError, GitstateError, UsageError
from gitstate.core.names import layer_word
from gitstate.directory import Client, open_directory
from gitstate.machine import layers
from gitstate.machine.layers import Missing
from gitstate.machine.render import Batch, LayerError, RenderContext, layer_toml
from gitstate.release.log import ReleaseLog
from gitstate.release.models import Release
from gitstate.store import MAIN, Repository, Snapshot
from gitstate.store.objects import FILE
from gitstate.store.site import Site


class Use(NamedTuple):
    """A client that gets a layer: by which release, None if by none, and why."""

    client: str
    channel: str | None
    release: Release | None
    why: str


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    session = context.ensure_object(Session)
    try:
        return [name for name in session.site.layers() if name.startswith(incomplete)]
    except (GitstateError, OSError):
        return []


@click.command(
    "list",
    cls=Command,
    examples=("gitstate layer list", "gitstate layer list lab/lab3", "gitstate layer list --shipped"),
)
@click.argument("name", required=False, shell_complete=_complete)
@click.option("--shipped", is_flag=True, help="Those that come with gitstate instead.")
@common
@pass_session
def list_(session: Session, name: str | None, shipped: bool) -> None:
    """List the layers, their latest snapshots, and who gets them.

    CHANNELS are those whose current release has the layer, if any of their
    clients gets it. DESCRIPTION is that of layer.toml, else the message of the
    latest snapshot. With NAME: the clients that get this layer, and why.
    """
    if shipped and name:
        raise UsageError("NAME and --shipped exclude each other", "gitstate layer list --shipped lists all of them")
    if shipped:
        layer_shipped.list_shipped(session)
    elif name:
        _list_clients(session, name)
    else:
        _list_layers(session)


def _list_layers(session: Session) -> None:
    site = session.site
    repositories = {name: site.repository(name) for name in site.layers()}
    used = uses(site, repositories)
    found, rows = [], []
    for name, repository in repositories.items():
        commit = repository.ref(MAIN)
        snapshot = repository.snapshot(commit) if commit else None
        subject = snapshot.message.partition("\n")[0] if snapshot else None
        channels = sorted({one.channel for one in used[name] if one.channel and one.release})
        found.append(
            {
                "repository": name,
                "live": location(repository.live) if repository.live else None,
                "commit": commit.hex() if commit else None,
                "when": moment(snapshot.when) if snapshot else None,
                "subject": subject,
                "description": (description := _description(repository, snapshot) if snapshot else None),
                "channels": channels,
                "clients": len(used[name]),
            }
        )
        cells = (commit.hex()[:7], date(snapshot.when)) if commit and snapshot else ("-", "-")
        where = shortened(" ".join(channels) or "-", 30)
        rows.append((name, *cells, where, str(len(used[name])), shortened(description or subject or "-", 50)))
    heads = ("NAME", "SNAPSHOT", "CHECKED IN", "CHANNELS", "CLIENTS", "DESCRIPTION")
    emit(session, "layer-list/1", {"layers": found}, table(rows, heads, colour=session.colour))
    if not found:
        talk(session, "no layers yet: gitstate layer create KIND/NAME")


def _description(repository: Repository, snapshot: Snapshot) -> str | None:
    """What ``layer.toml`` says; nothing where it is wrong, as what is pushed isn't."""
    item = next((item for item in repository.tree(snapshot.tree) if item.name == b"layer.toml"), None)
    try:
        text = repository.read(item.oid) if item and item.mode == FILE else b""
        return layer_toml.parse(text, "").description or None
    except (LayerError, DamagedError):
        return None


def _list_clients(session: Session, name: str) -> None:
    kind, slash, rest = name.partition("/")
    name = f"{kind}/{layer_word(rest)}" if slash else name
    session.repository(name)
    site = session.site
    if name not in site.layers():
        raise UsageError(f"{name} is a prototype", "gitstate layer list shows the layers")
    found = uses(site, {one: site.repository(one) for one in site.layers()})[name]
    value: list[dict[str, Any]] = [
        {"host": one.client, "release": str(one.release.name) if one.release else None, "why": one.why} for one in found
    ]
    rows = [(one["host"], one["release"] or "-", one["why"]) for one in value]
    lines = table(rows, ("CLIENT", "RELEASE", "WHY"), colour=session.colour)
    emit(session, "layer-clients/1", {"repository": name, "clients": value}, lines)
    if not found:
        talk(session, f"no client gets {name}")


def uses(site: Site, repositories: Mapping[str, Repository]) -> dict[str, list[Use]]:
    """Who gets each layer, sorted by name: by the release that a client's channel runs, else as layers stand."""
    options = replace(layers.load(site), missing=Missing.WARN)  # who asks is told; pushes are what fails
    used: dict[str, list[Use]] = {name: [] for name in repositories}
    for release, clients in _by_release(site):
        tips = ((name, repository.ref(MAIN)) for name, repository in repositories.items())
        commits = release.layers if release else {name: tip for name, tip in tips if tip}
        batch = Batch(RenderContext(None, commits, options), site.repository)
        for client in clients:
            for one in batch.resolve(client).layers:
                if one.name in used:
                    used[one.name].append(Use(client.name, client.channel, release, one.why))
    for found in used.values():
        found.sort(key=lambda one: one.client)
    return used


def _by_release(site: Site) -> Iterator[tuple[Release | None, Iterable[Client]]]:
    """The clients of every release that is current somewhere, and those that run none."""
    grouped: dict[str | None, list[Client]] = {}
    for client in open_directory(site).clients().values():
        grouped.setdefault(None if client.pin else client.channel, []).append(client)
    book = ReleaseLog(site)
    for channel, clients in grouped.items():
        yield book.current(channel) if channel else None, clients
