"""The machine archives of a release: made before it is announced, so that an error in a layer stops it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager

from gitstate import boot
from gitstate.boot.files import lock
from gitstate.boot.files.opening import inspect_output, open_output
from gitstate.core.monitor import Observer
from gitstate.directory import Client, Directory, open_directory
from gitstate.machine.archives import files
from gitstate.machine.archives.maker import Maker
from gitstate.release.models import Name, Release
from gitstate.store.lock import wait_for_lock
from gitstate.store.site import Site


def followers(directory: Directory, channel: str) -> list[Client]:
    """The clients that get what a channel runs; whoever is pinned gets a snapshot as it is."""
    return [client for client in directory.find({"channel": channel}).values() if client.pin is None]


# --- a release --------------------------------------------------------------------------------------------------------


def make(
    site: Site,
    name: Name,
    prototype: str,
    commits: Mapping[str, bytes],
    before: Release | None,
    observer: Observer,
) -> list[str]:
    """Make the archives of a release that is to be; what was done, in words. Raises GitstateError."""
    maker = Maker(site, prototype, commits, followers(open_directory(site), name.channel))
    maker.ensure_host_keys(observer)
    if not boots_machines(site):
        keys = maker.keys()
        maker.report_missing_layers(observer)
        maker.render_without_keeping(keys, observer)
        return []
    donor = before.name.version if before else None
    with locked(site), open_output(site, boot.load(site), observer) as output:
        plan = files.plan(output, name.channel, name.version, donor, maker.keys(anyway=has_archives(site, name)))
        if not plan:
            return []
        maker.report_missing_layers(observer)
        files.apply(plan, output, maker.content, observer)
    count, new = len(plan.keys), len(plan.made)
    return [f"machine archives: {count}" + (f", {new} of them rendered" if new != count else "")]


def preview(
    site: Site, name: Name, prototype: str, commits: Mapping[str, bytes], before: Release | None, observer: Observer
) -> int:
    """Make what would be made, and keep nothing; how many machines' archives that are. Raises GitstateError."""
    maker = Maker(site, prototype, commits, followers(open_directory(site), name.channel))
    keys = maker.keys()
    hosts: Collection[str] = keys
    if boots_machines(site):
        with inspect_output(site, boot.load(site)) as output:
            donor = before.name.version if before else None
            hosts = files.plan(output, name.channel, name.version, donor, keys).made
    maker.report_missing_layers(observer)
    maker.render_without_keeping(hosts, observer)
    return len(hosts)


def folder_of(name: Name) -> str:
    """Where a release's archives stand, below the site."""
    return files.folder_of(name.channel, name.version)


def has_archives(site: Site, name: Name) -> bool:
    """Whether clients of a release get archives: then each of them has one."""
    return (site.path / folder_of(name)).is_dir()


def forget(site: Site, channel: str, stay: Iterable[Release], observer: Observer) -> None:
    """Remove the archives of releases that nobody boots any more: they hold secrets."""
    if boots_machines(site) and (site.path / files.FOLDER / channel).is_dir():
        with locked(site), open_output(site, boot.load(site), observer) as output:
            files.remove_versions(output, channel, [release.name.version for release in stay])


def boots_machines(site: Site) -> bool:
    """Whether this site has machines that boot from it."""
    return "boot" in site.settings()


def locked(site: Site) -> AbstractContextManager[None]:
    """Nobody else writes boot files meanwhile. Raises LockedError."""
    return wait_for_lock(lambda: lock(site))
