"""Many machines of one release: what they share is read, composed and parsed once.

A machine's ``key`` names all that what it gets depends on, so one whose key is known needs no rendering: a change in
one host's layer renders one host.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from gitstate.core.errors import GitstateError
from gitstate.directory import Client, HardwareClass
from gitstate.machine import layers as choosing
from gitstate.machine.hardware import match as hardware
from gitstate.machine.layers import Machine, Options, Resolution
from gitstate.machine.render.compose import Composer, Composition
from gitstate.machine.render.facts import facts_of
from gitstate.machine.render.image import Image
from gitstate.machine.render.machine import MachineRenderer
from gitstate.machine.render.models import Blob, Layer, RenderedEntry
from gitstate.machine.render.read import read_layer
from gitstate.store import Repository

_VERSION: Final = "2"
"""Part of every key: another number renders all machines anew."""
_OPEN: Final = 64
"""Repositories that are kept open."""
_SMALL: Final = 64 << 10
_KEPT: Final = 16 << 20
"""Bytes of small contents that are kept."""

Open = Callable[[str], Repository]


@dataclass(frozen=True, slots=True)
class RenderContext:
    """What a release is made of, and what is known of its machines; commits by the layers' names.

    ``prototype`` is None for machines that run nothing yet: then there is no image to lay layers over. ``hardware`` is
    what machines last reported, ``entries`` their attributes in the directory.
    """

    prototype: tuple[str, bytes] | None
    layers: Mapping[str, bytes]
    options: Options = field(default_factory=Options)
    hardware: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    entries: Mapping[str, Mapping[str, Sequence[bytes]]] = field(default_factory=dict)
    rules: Sequence[HardwareClass] = ()
    """The hardware classes, whose layers stand in this order."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a machine gets, and from where."""

    client: Client
    key: str
    resolution: Resolution
    facts: Mapping[str, Any]
    composition: Composition
    items: Sequence[RenderedEntry]


class Batch:
    """Renders the machines of one release. ``repository`` opens one by its name."""

    def __init__(self, context: RenderContext, repository: Open) -> None:
        self._context = context
        self._open = repository
        self._opened: OrderedDict[str, Repository] = OrderedDict()
        self._layers: dict[str, Layer] = {}
        self._known = choosing.ExistingLayers(context.layers)
        self._contents: dict[tuple[str, bytes], bytes] = {}
        self._kept = 0
        self._machines: dict[Client, Machine] = {}
        self._resolutions: dict[Client, Resolution] = {}

    # --- what is known before anything is rendered ---

    def resolve(self, client: Client) -> Resolution:
        """The layers of a client. Raises NotFoundError, ConfigError."""
        found = self._resolutions.get(client)
        if found is None:
            found = choosing.resolve(self.machine(client), self._known, self._context.options)
            self._resolutions[client] = found
        return found

    def machine(self, client: Client) -> Machine:
        """What a client's layers are chosen by."""
        found = self._machines.get(client)
        if found is None:
            options = self._context.options
            addresses = choosing.with_netmasks(client.ips, options.known_networks())
            classes = hardware.in_order(client.classes, self._context.rules)
            found = Machine(client.name, addresses, classes, client.workload, client.layers)
            self._machines[client] = found
        return found

    def key(self, client: Client) -> str:
        """What a client gets depends on this alone. Raises NotFoundError, ConfigError."""
        return self._looked(client)[2]

    def _looked(self, client: Client) -> tuple[Resolution, dict[str, Any], str]:
        resolution = self.resolve(client)
        context = self._context
        facts = facts_of(
            client,
            self.machine(client),
            context.options.domain,
            resolution.names,
            self.image.arch,
            context.hardware.get(client.name),
            context.entries.get(client.name),
        )
        commits = [(name, context.layers[name].hex()) for name in resolution.names]
        image = [context.prototype[0], context.prototype[1].hex()] if context.prototype else None
        depends = [image, commits, facts] if commits else []  # without layers on nothing
        text = json.dumps([_VERSION, *depends], sort_keys=True)
        return resolution, facts, hashlib.sha256(text.encode()).hexdigest()

    def has_class(self, name: str) -> bool:
        """Whether there is a layer for a hardware class."""
        return f"class/{name}" in self._context.layers

    # --- rendering ---

    def render(self, client: Client) -> Rendered:
        """All that a client gets. Raises GitstateError that names client, layer, commit and file."""
        resolution, facts, key = self._looked(client)
        try:
            composition = self._composer.compose([self.layer(name) for name in resolution.names])
        except GitstateError as error:
            error.message = f"{client.name}: {error.message}"
            raise
        items = self._finisher.finish(composition, facts, client.name)
        return Rendered(client, key, resolution, facts, composition, items)

    def render_all(self, clients: Iterable[Client], known: Mapping[str, str] | None = None) -> Iterator[Rendered]:
        """Those of ``clients`` whose key isn't the one that is known by their name. Raises GitstateError."""
        for client in clients:
            if (known or {}).get(client.name) != self.key(client):
                yield self.render(client)

    def layer(self, name: str) -> Layer:
        """A layer of the release, taken apart. Raises NotFoundError, DamagedError, LayerError."""
        if name not in self._layers:
            repository, commit = self.repository(name), self._context.layers[name]
            self._layers[name] = read_layer(repository.read, name, commit, repository.snapshot(commit).tree)
        return self._layers[name]

    def read(self, item: RenderedEntry) -> bytes:
        """The content of an item: a file's bytes, a symlink's target. Raises DamagedError."""
        content = item.content
        return self.blob(*content) if isinstance(content, Blob) else content or b""

    @cached_property
    def image(self) -> Image:
        """What the layers are laid over."""
        if self._context.prototype is None:
            return Image(None, "", b"")
        name, commit = self._context.prototype
        return Image(self._open(name), name, commit)

    @cached_property
    def _composer(self) -> Composer:
        return Composer(self.image, self.blob)

    @cached_property
    def _finisher(self) -> MachineRenderer:
        return MachineRenderer(self.image, self.blob)

    def repository(self, name: str) -> Repository:
        """A layer's repository; few are kept open, as each holds descriptors."""
        found = self._opened.pop(name, None) or self._open(name)
        self._opened[name] = found
        if len(self._opened) > _OPEN:
            self._opened.popitem(last=False)
        return found

    def blob(self, name: str, oid: bytes) -> bytes:
        """A blob; what a thousand machines share isn't inflated a thousand times."""
        found = self._contents.get((name, oid))
        if found is None:
            found = self.repository(name).read(oid)
            if len(found) <= _SMALL:
                if self._kept > _KEPT:
                    self._contents.clear()
                    self._kept = 0
                self._contents[name, oid] = found
                self._kept += len(found)
        return found
