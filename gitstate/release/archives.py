"""The machine archives of a release: made before it is announced, so that an error in a layer stops it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import NamedTuple

from gitstate.boot.group import inspect_output, lock, open_output
from gitstate.core import fs
from gitstate.core.monitor import Observer
from gitstate.core.output import TFTP, OutputRoot
from gitstate.directory import Client, Directory
from gitstate.machine.archives import files, rendered
from gitstate.machine.archives.maker import Maker
from gitstate.release.models import Name, NextRelease, Release
from gitstate.release.opened import OpenedSite
from gitstate.store.lock import wait_for_lock
from gitstate.store.site import Site


def followers(directory: Directory, channel: str) -> list[Client]:
    """The clients that get what a channel runs; a pinned client gets its snapshot without layers."""
    return [client for client in directory.find({"channel": channel}).values() if client.pin is None]


class Made(NamedTuple):
    """What was done, and why secrets were left out, as texts."""

    steps: list[str]
    left_out: list[str]


# --- a release --------------------------------------------------------------------------------------------------------


def make(opened: OpenedSite, release: NextRelease, observer: Observer) -> Made:
    """Make the archives of a release before it exists. Raises GitstateError.

    A secret that can't be laid stops nobody else's release: it is left out, and told. To be called under the lock of
    releases. In a site from which no machine boots they are rendered, and not kept.
    """
    maker = _maker(opened, release)
    maker.ensure_host_keys(observer)
    if not opened.boots:
        checks = _plan_checks(opened, release, maker)
        if checks:
            _check(maker, checks.made, observer)
            rendered.record(opened.site, checks, opened.directory.channels(), maker.is_whole)
        return Made([], maker.left_out_texts())
    with exclusive(opened.site), open_output(opened.site, opened.options, observer) as output:
        plan = _plan(output, release, maker)
        if not plan:
            return Made([], [])
        maker.report_missing_layers(observer)
        files.apply(plan, output, maker.content, observer, maker.is_whole)
    count, new = len(plan.keys), len(plan.made)
    line = f"machine archives: {count}" + (f", {new} of them rendered" if new != count else "")
    return Made([line], maker.left_out_texts())


def preview(opened: OpenedSite, release: NextRelease, observer: Observer) -> int:
    """Render the archives that ``make`` would, and keep none; return how many. Raises GitstateError."""
    maker = _maker(opened, release)
    if opened.boots:
        with inspect_output(opened.site, opened.options) as output:
            made = _plan(output, release, maker).made
    else:
        made = _plan_checks(opened, release, maker).made
    _check(maker, made, observer)
    for text in maker.left_out_texts():
        observer.notice(f"left out: {text}")
    return len(made)


def _check(maker: Maker, hosts: Sequence[str], observer: Observer) -> None:
    maker.report_missing_layers(observer)
    maker.render_without_keeping(hosts, observer)


def _plan(output: OutputRoot, release: NextRelease, maker: Maker) -> files.Plan:
    """What is known of the release's own archives counts, or else what is of those of the release before."""
    name, donor = release.name, release.before.name.version if release.before else None
    own = files.recorded(output, name.channel, name.version)
    known = own if own.keys or donor is None else files.recorded(output, name.channel, donor)
    has_some = output.directory(files.folder_of(*name)) is not None
    keys = maker.keys(anyway=has_some, known=known)
    return files.plan(output, name.channel, name.version, donor, keys, inputs=maker.inputs)


def _plan_checks(opened: OpenedSite, release: NextRelease, maker: Maker) -> rendered.Plan:
    channel = release.name.channel
    known = rendered.recorded(opened.site, channel)
    return rendered.plan(channel, known, maker.keys(known=known), maker.inputs)


def _maker(opened: OpenedSite, release: NextRelease) -> Maker:
    state = opened.directory.clients_state()
    clients = followers(opened.directory, release.name.channel)
    clients += _still_booting(opened, release.before, {one.name for one in clients})
    return Maker(opened.site, opened.directory, release.prototype, release.commits, clients, state, lenient=True)


def _still_booting(opened: OpenedSite, before: Release | None, known: Collection[str]) -> list[Client]:
    """Clients that have left the channel, and boot what it runs until their boot files are written anew."""
    if before is None or not opened.boots:
        return []
    with inspect_output(opened.site, opened.options) as output:
        left = [host for host in files.hosts(output, folder_of(before.name)) if host not in known]
        found = [client for host in left for client in opened.directory.find({"name": host}).values()]
        channel = before.name.channel
        return [replace(one, channel=channel, pin=None) for one in found if _boots_channel(output, one, channel)]


def _boots_channel(output: OutputRoot, client: Client, channel: str) -> bool:
    """Whether one of a client's boot files leads to what a channel runs."""
    paths = [f"{TFTP}/boot/mac/{mac.replace(':', '-')}.ipxe" for mac in client.macs]
    wanted = f"channel/{channel}.ipxe".encode()
    return any(output.lstat(path) and wanted in output.read(path) for path in paths)


def folder_of(name: Name) -> str:
    """Where a release's archives stand, below the site."""
    return files.folder_of(name.channel, name.version)


def has_archives(site: Site, name: Name) -> bool:
    """Whether clients of a release get archives: then each of them has one."""
    return fs.has_directory(site.path / folder_of(name))


def remove_old(opened: OpenedSite, channel: str, keep: Iterable[Release], observer: Observer) -> None:
    """Remove the archives of all releases but ``keep``: they hold secrets, and no machine boots with them."""
    if opened.boots and fs.has_directory(opened.site.path / files.FOLDER / channel):
        with exclusive(opened.site), open_output(opened.site, opened.options, observer) as output:
            files.remove_versions(output, channel, [release.name.version for release in keep])


def exclusive(site: Site) -> AbstractContextManager[None]:
    """Wait for the lock of the boot files and hold it. Raises LockedError after ten minutes."""
    return wait_for_lock(lambda: lock(site))
