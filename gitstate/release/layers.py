"""The layers of a site: which there are, who gets them, and what they make of one machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from gitstate.core import documents, fs
from gitstate.core.entry import Kind, Meta
from gitstate.core.errors import DamagedError, UsageError
from gitstate.core.monitor import Observer
from gitstate.core.names import layer_word
from gitstate.core.signature import Signature
from gitstate.directory import Client
from gitstate.directory import plan as planning
from gitstate.machine.layers import Missing, load
from gitstate.machine.render import (
    Action,
    Batch,
    DirectoryChange,
    LayerError,
    RenderContext,
    RenderedEntry,
    directory_changes,
    layer_toml,
)
from gitstate.machine.render.difference import Difference, differences
from gitstate.machine.render.trace import Origin, Trace
from gitstate.machine.render.trace import trace as trace_path
from gitstate.release.models import Release
from gitstate.release.opened import OpenedSite
from gitstate.release.state_at import MachineState
from gitstate.store import MAIN, Repository, Snapshot
from gitstate.store.objects import FILE
from gitstate.store.site import Site
from gitstate.tree import bootstrap
from gitstate.tree.history.blame import Line
from gitstate.tree.snapshot import PLAIN_DIRECTORY

__all__ = [
    "Action",
    "Difference",
    "DirectoryChange",
    "LayerSummary",
    "LayerUse",
    "Line",
    "Origin",
    "RenderedEntry",
    "Trace",
]


class LayerUse(NamedTuple):
    """A client that gets a layer: by which release, None if by none, and why."""

    client: str
    channel: str | None
    release: Release | None
    why: str


@dataclass(frozen=True, slots=True)
class LayerSummary:
    """A layer: its live tree, its newest snapshot, None before the first, and who gets it.

    ``description`` is that of ``layer.toml``; ``channels`` are those whose release has it and whose clients get it.
    """

    name: str
    live: Path | None
    snapshot: Snapshot | None
    description: str | None
    uses: tuple[LayerUse, ...]

    @property
    def channels(self) -> list[str]:
        return sorted({one.channel for one in self.uses if one.channel and one.release})


def summaries(opened: OpenedSite) -> list[LayerSummary]:
    """All layers, sorted by name. Raises ConfigError, DamagedError."""
    repositories = {name: opened.site.repository(name) for name in opened.site.layers()}
    used = _uses(opened, repositories)
    return [_summary(name, repository, used[name]) for name, repository in repositories.items()]


def clients_of(opened: OpenedSite, name: str) -> list[LayerUse]:
    """The clients that get the layer ``name``, which exists. Raises UsageError for a prototype."""
    names = opened.site.layers()
    if name not in names:
        raise UsageError(f"{name} is a prototype", "gitstate layer list shows the layers")
    return _uses(opened, {one: opened.site.repository(one) for one in names})[name]


def full_name(name: str) -> str:
    """The name of a layer as repositories have it: CIDR's ``/`` written ``_``. Raises UsageError."""
    kind, slash, rest = name.partition("/")
    return f"{kind}/{layer_word(rest)}" if slash else name


def _summary(name: str, repository: Repository, uses: Iterable[LayerUse]) -> LayerSummary:
    commit = repository.ref(MAIN)
    snapshot = repository.snapshot(commit) if commit else None
    description = _description(repository, snapshot) if snapshot else None
    return LayerSummary(name, repository.live, snapshot, description, tuple(uses))


def _description(repository: Repository, snapshot: Snapshot) -> str | None:
    """What ``layer.toml`` says; None where it is wrong: only pushes check it."""
    item = next((item for item in repository.tree(snapshot.tree) if item.name == b"layer.toml"), None)
    try:
        text = repository.read(item.oid) if item and item.mode == FILE else b""
        return layer_toml.parse_layer(text, "").description or None
    except (LayerError, DamagedError):
        return None


def _uses(opened: OpenedSite, repositories: Mapping[str, Repository]) -> dict[str, list[LayerUse]]:
    """Who gets each layer, sorted by client: by the release that its channel runs, else by the ``main`` branches."""
    options = documents.replace(load(opened.site), missing=Missing.WARN)
    used: dict[str, list[LayerUse]] = {name: [] for name in repositories}
    for release, clients in _by_release(opened):
        tips = ((name, repository.ref(MAIN)) for name, repository in repositories.items())
        commits = release.layers if release else {name: tip for name, tip in tips if tip}
        batch = Batch(RenderContext(None, commits, options), opened.site.repository)
        for client in clients:
            for one in batch.resolve(client).layers:
                if one.name in used:
                    used[one.name].append(LayerUse(client.name, client.channel, release, one.why))
    for found in used.values():
        found.sort(key=lambda one: one.client)
    return used


def _by_release(opened: OpenedSite) -> Iterator[tuple[Release | None, Iterable[Client]]]:
    """The clients of every current release, and those that run none."""
    grouped: dict[str | None, list[Client]] = {}
    for client in opened.directory.clients().values():
        grouped.setdefault(None if client.pin else client.channel, []).append(client)
    for channel, clients in grouped.items():
        yield opened.releases.current(channel) if channel else None, clients


# --- one machine ------------------------------------------------------------------------------------------------------


def compare(old: MachineState, new: MachineState) -> list[Difference]:
    """How what two machines get differs, or one machine by two releases; times aside. Raises ConfigError."""
    return list(differences((old.batch, old.rendered), (new.batch, new.rendered)))


def directories(state: MachineState) -> list[DirectoryChange]:
    """Directories of the image of which a machine's layers say another owner or mode. Raises DamagedError."""
    return list(directory_changes(state.batch.image, state.rendered.composition.layers))


def trace(state: MachineState, path: bytes) -> Trace:
    """Which layers set ``path``, with author and line. Raises ConfigError."""
    return trace_path(state.batch, state.rendered, path)


def write(state: MachineState, to: Path, *, for_overlay: bool, dry_run: bool) -> None:
    """Write all that a machine gets into the new or empty directory ``to``. Raises UsageError, ConfigError, OSError."""
    from gitstate.machine.render.write import require_empty, write_entries

    def image_meta(path: bytes) -> Meta:
        found = state.batch.image.at(path)
        return found.meta if found and found.meta.kind is Kind.DIRECTORY else PLAIN_DIRECTORY

    require_empty(to)
    if not dry_run:
        write_entries(to, state.rendered.items, state.batch.read, image_meta, for_overlay=for_overlay)


# --- a new layer ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LayerCreation:
    """A layer to be made, filled with the shipped layer of its name or empty."""

    site: Site
    name: str
    path: Path
    live: Path
    shipped: bool


def plan_creation(site: Site, name: str, *, shipped: bool) -> LayerCreation:
    """Plan the layer ``name``. Raises UsageError, NotFoundError if none of that name is shipped."""
    from gitstate.machine.layers import shipped as shipped_layers

    check_name(name)
    name = full_name(name)
    path = site.repository_path(name)
    if not fs.is_free(path):
        raise UsageError(f"there is a layer {name} already", "gitstate layer list shows what there is")
    if shipped:
        shipped_layers.find(name)
    return LayerCreation(site, name, path, site.live_path(name), shipped)


def check_name(name: str) -> None:
    """Raise UsageError for what can't be a layer's name."""
    from gitstate.core.names import LAYER_KINDS

    kind, _, rest = name.partition("/")
    if name != "base" and (kind not in LAYER_KINDS or not rest):
        raise UsageError(f"{name!r} is not a layer", f"base, or KIND/NAME with a KIND of {', '.join(LAYER_KINDS)}")


def who_gets(name: str) -> str:
    """Which clients get a layer of that name by themselves, in words."""
    kind, _, rest = name.partition("/")
    return {
        "network": f"it is for addresses of {rest} (networks in [layers] of site.toml)",
        "class": f"it is for hardware of class {rest}",
        "workload": f"it is for clients with --workload {rest}",
        "lab": f"it is for clients whose names begin with {rest}-",
        "host": f"it is for a client called {rest}",
        "ip": f"it is for a client with the address {rest}",
    }.get(kind, "it is for all")


def gets_nobody(opened: OpenedSite, name: str) -> bool:
    """Whether there are clients, and none of them gets the layer ``name``. Raises ConfigError."""
    clients = opened.directory.clients()
    options = documents.replace(load(opened.site), missing=Missing.WARN)
    rules = tuple(opened.directory.classes().values()) if name.startswith("class/") else ()
    batch = Batch(RenderContext(None, {name: b""}, options, rules=rules), opened.site.repository)
    return bool(clients) and not any(name in batch.resolve(client).names for client in clients.values())


def create(plan: LayerCreation) -> None:
    """Make the layer. Raises UsageError, LockedError, OSError."""
    from gitstate.machine.layers import shipped as shipped_layers

    plan.site.create_layer(plan.name)
    if plan.shipped:
        shipped_layers.copy(shipped_layers.find(plan.name), plan.live)


# --- a layer goes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LayerRemoval:
    """A layer to be removed, the clients that name it, and the channels whose release has it."""

    name: str
    removal: bootstrap.Removal
    clients: tuple[str, ...]
    channels: tuple[str, ...]

    @property
    def paths(self) -> list[Path]:
        return sorted({*self.removal.paths, *self.removal.renamed})


def plan_removal(opened: OpenedSite, name: str) -> LayerRemoval:
    """Plan to remove the layer ``name``. Raises NotFoundError, UsageError, HostError while something is mounted."""
    check_name(name)
    name = full_name(name)
    removal = bootstrap.plan_layer_removal(opened.site, name)
    clients = [one.name for one in opened.directory.clients().values() if name in map(full_name, one.layers)]
    found = ((channel, opened.releases.current(channel)) for channel in opened.directory.channels())
    channels = [channel for channel, release in found if release is not None and name in release.commits]
    return LayerRemoval(name, removal, tuple(clients), tuple(channels))


def remove(opened: OpenedSite, plan: LayerRemoval, author: Signature, observer: Observer) -> None:
    """Remove it: first what names it, last its history; run again after an interruption it goes on. Raises OSError."""
    directory = opened.reopened().directory
    changes = []
    for client in directory.clients().values():
        left = tuple(one for one in client.layers if full_name(one) != plan.name)
        if left != client.layers:
            changes.append(planning.ClientChange(client, replace(client, layers=left)))
    if changes:
        message = f"layer remove {plan.name}"
        planning.apply(planning.Plan(directory, "set", tuple(changes)), author, author, message)
    bootstrap.apply_removal(plan.removal, observer)
