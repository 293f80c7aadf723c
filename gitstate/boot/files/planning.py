"""What ``gitstate boot write`` would do; everything that is wrong is reported before anything is done."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gitstate.boot import group
from gitstate.boot.files import images, state, texts, wanted
from gitstate.boot.options import Dhcp, Options
from gitstate.boot.plan import BootChannel
from gitstate.boot.request import log_path
from gitstate.core import network
from gitstate.core.errors import HostError, RefusedError
from gitstate.core.monitor import SILENT, Observer
from gitstate.core.output import TFTP, OutputRoot
from gitstate.machine.archives import files as archives
from gitstate.store.site import Site
from gitstate.tree import export

if TYPE_CHECKING:
    from gitstate.directory import Client, Directory

IPXE: Final = Path("/usr/lib/ipxe")
_DHCP: Final = "etc/gitstate/dnsmasq.conf"


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be done, for how many ``clients``.

    ``pending`` are the files whose servers must be reloaded, for changes of this run or of an earlier one.
    """

    site: Site
    options: Options
    clients: int
    group: group.Group
    log_in_order: bool
    exports: tuple[tuple[str, bytes], ...]
    images: images.Images
    texts: texts.Texts
    directories: tuple[str, ...]
    """Existing ones with a wrong owner or mode, as after a change of the group; their files go with them."""
    pending: frozenset[str]
    known: state.State

    def location(self, path: str) -> Path:
        """Where ``tftp/…`` or ``etc/…`` is on this machine."""
        top, _, rest = path.partition("/")
        return (self.site.tftp if top == TFTP else self.options.etc_path) / rest

    def __bool__(self) -> bool:
        """Whether anything that others see is to be made, changed or removed."""
        if self.group.gid is None or self.group.join or self.directories or not self.log_in_order:
            return True
        return bool(self.exports or self.images.copies or self.texts.files or self.texts.stale)

    @property
    def state_is_current(self) -> bool:
        """Whether the state on disk needs no change, either."""
        known = self.known
        return (
            known.units == self.texts.units
            and known.copied.items() >= self.images.copied.items()
            and known.pending == self.pending
        )


def plan(
    site: Site,
    options: Options,
    directory: Directory,
    observer: Observer = SILENT,
    loaders: Path = IPXE,
    running: Sequence[BootChannel] = (),
    *,
    reads_content: bool = False,
) -> Plan:
    """Plan the boot files of all clients; ``running`` is what channels run, for clients that follow one.

    With ``reads_content`` also those files are made anew that look as they were written and aren't.

    Nothing is written, but the network may be searched for a DHCP server. Raises NotFoundError for clients without a
    snapshot and snapshots that can't boot; ConfigError; RefusedError for files that aren't ours, and for a second DHCP
    server; HostError.
    """
    if os.geteuid() != 0:
        raise HostError("boot files are root's", "run it with sudo")
    uuid = str(site.settings().get("uuid"))
    clients = list(directory.clients().values())
    known = state.load(site.path)
    running = _relevant(running, clients, known)
    channels = {channel.name: channel for channel in running}
    commits = wanted.resolve(site, clients, channels)
    snapshots = sorted({*((pin.prototype, commit) for pin, commit in commits.items()), *_snapshots(running)})
    its_group = group.plan(options)
    with OutputRoot(site.tftp, options.etc_path, its_group.gid, reads_content=reads_content) as output:
        its_images = images.plan(site, options, snapshots, output, known, observer)
        live = wanted.maintained(site, clients)
        roots = {one.client: f"{options.server}:{one.path}" for one in live}
        boot_clients = wanted.boot_clients(uuid, clients, commits, channels, roots)
        inputs = texts.Inputs(site.path, uuid, options, its_images.images, boot_clients, running, loaders, live)
        its_texts = texts.plan(inputs, output, known)
        directories = tuple(
            _out_of_order(output, [image.path for image in its_images.images], *_standing(output, known))
        )
    changed = {file.path for file in its_texts.files} | {one.path for one in its_texts.stale}
    if options.dhcp is Dhcp.OWN and _DHCP in changed:
        _refuse_another_server(options)
    return Plan(
        site=site,
        options=options,
        clients=len(clients),
        group=its_group,
        log_in_order=group.log_in_order(log_path(site), its_group.gid),
        exports=tuple(one for one in snapshots if not _is_exported(site, *one, looks=reads_content)),
        images=its_images,
        texts=its_texts,
        pending=frozenset(known.pending | {path for path in changed if path.startswith("etc/")}),
        directories=directories,
        known=known,
    )


def plan_release(
    site: Site,
    options: Options,
    snapshot: tuple[str, bytes],
    channel: BootChannel | None,
    observer: Observer = SILENT,
    *,
    all_rights: bool = False,
) -> Plan:
    """Plan the boot image of one snapshot and, with ``channel``, the script that its clients follow; nothing else.

    With ``all_rights`` directories of older snapshots and releases get their owners and modes, too.

    Raises NotFoundError for a snapshot that can't boot, ConfigError, RefusedError, HostError.
    """
    uuid = str(site.settings().get("uuid"))
    known = state.load(site.path)
    its_group = group.plan(options)
    with OutputRoot(site.tftp, options.etc_path, its_group.gid) as output:
        its_images = images.plan(site, options, [snapshot], output, known, observer)
        channels = [channel] if channel else []
        inputs = texts.Inputs(site.path, uuid, options, its_images.images, [], channels, IPXE)
        its_texts = texts.plan_some(inputs, output, known)
        others = _standing(output, known) if all_rights else ()
        directories = tuple(_out_of_order(output, [image.path for image in its_images.images], *others))
    return Plan(
        site=site,
        options=options,
        clients=0,
        group=its_group,
        log_in_order=group.log_in_order(log_path(site), its_group.gid),
        exports=() if _is_exported(site, *snapshot, looks=False) else (snapshot,),
        images=its_images,
        texts=its_texts,
        pending=frozenset(known.pending),
        directories=directories,
        known=known,
    )


def _relevant(running: Iterable[BootChannel], clients: Iterable[Client], known: state.State) -> list[BootChannel]:
    """Channels that clients follow, and those whose snapshot is in ``tftp/``; others need not even boot."""
    followed = {client.channel for client in clients if client.pin is None and client.maintains is None}
    return [one for one in running if one.name in followed or f"{TFTP}/{one.prototype}/{one.commit}" in known.copied]


def _snapshots(running: Iterable[BootChannel]) -> Iterator[tuple[str, bytes]]:
    return ((one.prototype, bytes.fromhex(one.commit)) for one in running)


def _standing(output: OutputRoot, known: state.State) -> tuple[list[str], list[str]]:
    """All images and all directories of archives that are there."""
    return [path.removeprefix(f"{TFTP}/") for path in known.copied], archives.folders(output)


def _out_of_order(
    output: OutputRoot, images: Iterable[str], standing: Iterable[str] = (), others: Iterable[str] = ()
) -> Iterator[str]:
    """Directories below ``tftp/`` with a wrong owner or mode: of boot files, of images, and ``others``."""
    below = sorted({f"{TFTP}/{part}" for path in (*images, *standing) for part in (path, path.partition("/")[0])})
    for path in (TFTP, texts.FIRST, texts.CHANNELS, texts.MACHINES, *below, *others):
        descriptor = output.directory(path)
        if descriptor is not None and not output.has_rights(path, os.fstat(descriptor)):
            yield path


def _is_exported(site: Site, prototype: str, commit: bytes, *, looks: bool) -> bool:
    found = export.condition(site.repository(prototype), commit, site.exports_path(prototype), looks=looks)
    return found is export.Condition.SOUND


def _refuse_another_server(options: Options) -> None:
    others = [server for server in network.dhcp_servers(options.interface) if server != options.server]
    if others:
        hint = 'turn it off, or write dhcp = "proxy" into site.toml, and it keeps giving addresses'
        raise RefusedError(f"another DHCP server answers on {options.interface}: {', '.join(others)}", hint)
