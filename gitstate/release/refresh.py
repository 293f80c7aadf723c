"""Machine archives of what channels run already, put in order: a client changed, a secret did, or a file was lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gitstate import boot
from gitstate.boot.files.opening import inspect_output, open_output
from gitstate.core.monitor import Observer
from gitstate.core.output import OutputRoot
from gitstate.directory import Client, Directory, open_directory
from gitstate.machine.archives import files
from gitstate.machine.archives.maker import Maker
from gitstate.release import archives, publishing
from gitstate.release.log import ReleaseLog
from gitstate.release.models import Release
from gitstate.store.site import Site

_FEW: Final = 8
"""Clients that are asked for one by one; for more all are read."""


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What became, or would become, of the archives of one release: machines by name."""

    release: Release
    added: Sequence[str]
    changed: Sequence[str]
    removed: Sequence[str]
    kept: int


def look(site: Site) -> list[Refreshed]:
    """What ``refresh`` would do. Raises NotFoundError, ConfigError."""
    if not archives.boots_machines(site):
        return []
    with inspect_output(site, boot.load(site)) as output:
        return [_told(release, plan) for release, _, plan in _works(site, output, None, None)]


def refresh(site: Site, observer: Observer, changed: Mapping[str, Client | None] | None = None) -> list[Refreshed]:
    """Render what isn't as it should be; what was done for each release. Raises GitstateError.

    Of ``changed`` clients alone, if given: as they are to be from now on, whatever the directory says yet; None is for
    one that goes. All archives of a release are made before one of them takes its place. Who leaves a channel keeps the
    archive there until ``clear``: its boot file asks for it.
    """
    if not archives.boots_machines(site) or changed == {}:
        return []
    with archives.locked(site):
        with inspect_output(site, boot.load(site)) as output:
            works = list(_works(site, output, changed, observer))
        if any(plan for _, _, plan in works):
            with open_output(site, boot.load(site), observer) as output:
                for _, maker, plan in works:
                    files.apply(plan if changed else replace(plan, removed=()), output, maker.content, observer)
    for release, _, plan in works:
        if plan and plan.is_new:  # the channel's boot file doesn't ask for them yet
            publishing.announce(site, release, observer)
    return [_told(release, plan) for release, _, plan in works]


def again(site: Site, hosts: Iterable[str], observer: Observer) -> list[Refreshed]:
    """``refresh`` for clients that the directory knows, by name: something else of theirs has changed."""
    directory = open_directory(site)
    names = list(hosts)
    clients = directory.clients() if len(names) > _FEW else _some(directory, names)
    return refresh(site, observer, {host: clients[host] for host in names if host in clients})


def _some(directory: Directory, names: Iterable[str]) -> dict[str, Client]:
    """The clients of those names, where an LDAP server needn't tell all."""
    return {name: one for asked in names for name, one in directory.find({"name": asked}).items()}


def _told(release: Release, plan: files.Plan) -> Refreshed:
    made = [*plan.linked, *plan.made]
    added = [host for host in made if host in plan.added]
    return Refreshed(release, added, [host for host in made if host not in plan.added], plan.removed, len(plan.kept))


def _works(
    site: Site, output: OutputRoot, changed: Mapping[str, Client | None] | None, observer: Observer | None
) -> Iterator[tuple[Release, Maker, files.Plan]]:
    """What is to be looked at for each channel that runs something, and what there is to do.

    With ``observer`` machines get host keys that they lack.
    """
    directory = open_directory(site)
    book = ReleaseLog(site)
    for channel in directory.channels():
        release = book.current(channel)
        if release is None or release.prototype not in site.prototypes():
            continue
        name = release.name
        stand = archives.has_archives(site, name)
        if changed is None or not stand:
            clients = {one.name: one for one in archives.followers(directory, channel)}
            clients |= {host: one for host, one in (changed or {}).items() if one is not None}
        else:
            clients = {host: one for host, one in changed.items() if one is not None}
        following = [one for one in clients.values() if one.channel == channel and one.pin is None]
        there = {known: oid for known, oid in release.commits.items() if site.repository_path(known).exists()}
        maker = Maker(site, release.prototype, there, following)
        if observer is not None and following:
            maker.ensure_host_keys(observer)
        keys = maker.keys(anyway=stand)
        only = None if changed is None else [host for host, one in changed.items() if one is None or host in keys]
        yield release, maker, files.plan(output, channel, name.version, None, keys, only)


def clear(site: Site, observer: Observer) -> list[Path]:
    """Remove what no boot file asks for, once they are written; the folders that went."""
    if not archives.boots_machines(site) or not (site.path / files.FOLDER).is_dir():
        return []
    directory = open_directory(site)
    book = ReleaseLog(site)
    gone = []
    with archives.locked(site), open_output(site, boot.load(site), observer) as output:
        for channel in sorted(output.names(files.FOLDER)):
            release = book.current(channel) if channel in directory.channels() else None
            stay = [release, book.before(release)] if release else []
            versions = files.remove_versions(output, channel, [one.name.version for one in stay if one])
            gone += [site.path / files.folder_of(channel, version) for version in versions]
            if release is not None:
                hosts = {one.name for one in archives.followers(directory, channel)}
                files.remove_hosts(output, channel, release.name.version, hosts)
    return gone
