"""The machine archives of current releases, brought up to date after a client, a secret or a file has changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from gitstate.boot.group import inspect_output, open_output
from gitstate.core import failures, fs
from gitstate.core.errors import GitstateError, PartlyDoneError
from gitstate.core.monitor import Observer
from gitstate.core.output import OutputRoot
from gitstate.core.signature import Signature
from gitstate.core.wording import some_of
from gitstate.directory import Client
from gitstate.directory import plan as planning
from gitstate.machine.archives import files
from gitstate.machine.archives.maker import Maker
from gitstate.machine.render.facts import own_attributes
from gitstate.release import archives
from gitstate.release.models import Release
from gitstate.release.opened import OpenedSite

_FEW: Final = 8
"""Clients that are looked up one by one; for more, all are read."""
_KEPT: Final = "that is saved, but machine archives are not updated"


@dataclass(frozen=True, slots=True)
class RefreshResult:
    """What was done, or would be, to the archives of one release: machines by name."""

    release: Release
    added: Sequence[str]
    changed: Sequence[str]
    removed: Sequence[str]
    kept: int
    left_out: Sequence[str] = ()
    """Why secrets were left out, as texts."""

    @property
    def folder(self) -> str:
        """Where they are, below the site."""
        return archives.folder_of(self.release.name)

    @property
    def line(self) -> str:
        """What was done, for people."""
        return f"machine archives of {self.release.name}: {some_of([*self.added, *self.changed, *self.removed], 3)}"

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.added or self.changed or self.removed)


def preview(opened: OpenedSite, *, reads_content: bool = False) -> list[RefreshResult]:
    """What ``refresh`` would do. Raises NotFoundError, ConfigError."""
    if not opened.boots:
        return []
    with inspect_output(opened.site, opened.options, reads_content=reads_content) as output:
        return [_result(release, plan) for release, _, plan in _plans(opened, output, None, None)]


def refresh(
    opened: OpenedSite,
    observer: Observer,
    changed: Mapping[str, Client | None] | None = None,
    *,
    reads_content: bool = False,
) -> list[RefreshResult]:
    """Render what is missing or outdated; return what was done for each release. Raises GitstateError.

    With ``reads_content`` also what looks as it was written and isn't.

    With ``changed``, only these clients, as they are about to be; None stands for one that is removed. All archives of
    a release are made before any of them is replaced. A client that leaves a channel keeps its archive until
    ``remove_unused``, as its boot file still names it.
    """
    if not opened.boots or changed == {}:
        return []
    with archives.exclusive(opened.site):
        with inspect_output(opened.site, opened.options, reads_content=reads_content) as output:
            plans = list(_plans(opened, output, changed, observer))
        if any(plan for _, _, plan in plans):
            with open_output(opened.site, opened.options, observer) as output:
                for _, maker, plan in plans:
                    its_plan = plan if changed else replace(plan, removed=())
                    files.apply(its_plan, output, maker.content, observer, maker.is_whole)
    for release, _, plan in plans:
        if plan and plan.is_new:  # the channel's boot file doesn't name them yet
            from gitstate.release import publishing  # all that writes boot files takes long to load

            publishing.write_channel(opened, release, observer)
    return [_result(release, plan, maker.left_out_texts()) for release, maker, plan in plans]


def is_outdated(opened: OpenedSite, host: str) -> bool:
    """Whether the archive of a client isn't that of its hardware, layers and values. Raises NotFoundError, ConfigError.

    Nothing is locked, and nothing but keys worked out: machines that boot ask it.
    """
    client = opened.directory.find({"name": host}).get(host) if opened.boots else None
    if client is None or client.channel is None or client.pin is not None:
        return False
    with inspect_output(opened.site, opened.options) as output:
        return any(plan for _, _, plan in _plans(opened, output, {host: client}, None, client.channel))


def refresh_clients(opened: OpenedSite, hosts: Iterable[str], observer: Observer) -> list[RefreshResult]:
    """``refresh`` for these clients, as the directory has them."""
    names = list(hosts)
    if len(names) > _FEW:
        clients = opened.directory.clients()
    else:  # an LDAP server needn't list all
        clients = {host: one for name in names for host, one in opened.directory.find({"name": name}).items()}
    return refresh(opened, observer, {host: clients[host] for host in names if host in clients})


def refresh_after(opened: OpenedSite, hosts: Iterable[str] | None, observer: Observer) -> list[RefreshResult]:
    """``refresh`` after a change that is kept: of ``hosts``, or of all. Raises PartlyDoneError."""
    try:
        return refresh(opened, observer) if hosts is None else refresh_clients(opened, hosts, observer)
    except GitstateError as error:
        raise PartlyDoneError(f"{_KEPT}: {error.message}", error.hint) from None
    except OSError as error:
        found = failures.of_system(error)
        raise PartlyDoneError(f"{_KEPT}: {found.message}", f"{found.hint}; then: gitstate boot write") from None


def _result(release: Release, plan: files.Plan, left_out: Sequence[str] = ()) -> RefreshResult:
    made = [*plan.linked, *plan.made]
    added = [host for host in made if host in plan.added]
    changed = [host for host in made if host not in plan.added]
    return RefreshResult(release, added, changed, plan.removed, len(plan.kept), left_out)


def _plans(
    opened: OpenedSite,
    output: OutputRoot,
    changed: Mapping[str, Client | None] | None,
    observer: Observer | None,
    only_channel: str | None = None,
) -> Iterator[tuple[Release, Maker, files.Plan]]:
    """For each current release: what is to be done. With ``observer``, machines get the host keys that they lack."""
    site, directory = opened.site, opened.directory
    for channel in [only_channel] if only_channel else directory.channels():
        release = opened.releases.current(channel)
        if release is None or release.prototype not in site.prototypes():
            continue
        name = release.name
        state = directory.clients_state() if changed is None else None
        has_archives = archives.has_archives(site, name)
        clients = {} if changed and has_archives else {one.name: one for one in archives.followers(directory, channel)}
        clients |= {host: one for host, one in (changed or {}).items() if one is not None}
        following = [one for one in clients.values() if one.channel == channel and one.pin is None]
        there = [known for known in release.commits if fs.has_directory(site.repository_path(known))]
        commits = {known: release.commits[known] for known in there}
        lenient = observer is not None and changed is None
        maker = Maker(site, directory, release.prototype, commits, following, state, lenient=lenient)
        if observer is not None and following:
            maker.ensure_host_keys(observer)
        known = files.recorded(output, channel, name.version) if changed is None else files.NOTHING
        keys = maker.keys(anyway=has_archives, known=known)
        only = None if changed is None else [host for host, one in changed.items() if one is None or host in keys]
        yield release, maker, files.plan(output, channel, name.version, None, keys, only, maker.inputs)


def remove_unused(opened: OpenedSite, observer: Observer) -> None:
    """Remove the archives that no boot file names, once boot files are written."""
    site = opened.site
    if not opened.boots or not fs.has_directory(site.path / files.FOLDER):
        return
    with archives.exclusive(site), open_output(site, opened.options, observer) as output:
        channels = opened.directory.channels()
        for channel in sorted(output.names(files.FOLDER)):
            release = opened.releases.current(channel) if channel in channels else None
            keep = [release, opened.releases.before(release)] if release else []
            files.remove_versions(output, channel, [one.name.version for one in keep if one])
            if release is not None:
                hosts = {one.name for one in archives.followers(opened.directory, channel)}
                files.remove_hosts(output, channel, release.name.version, hosts)


def check_clients(opened: OpenedSite, plan: planning.Plan, observer: Observer) -> None:
    """Find what would stop ``change_clients``, and change nothing. Raises ConfigError, UsageError."""
    planning.check(plan)
    if opened.boots and plan.changes:
        opened = opened.reopened()
        with inspect_output(opened.site, opened.options) as output:
            for _, maker, archive in _plans(opened, output, {one.name: one.new for one in plan.changes}, None):
                maker.render_without_keeping(archive.made, observer)


def change_clients(
    opened: OpenedSite,
    plan: planning.Plan,
    author: Signature,
    committer: Signature,
    message: str | None,
    observer: Observer,
) -> None:
    """Make all changes of ``plan`` in one step. Raises ConfigError, LockedError, UsageError, ConflictError."""
    names = [change.name for change in plan.changes]
    first = opened.reopened()
    before = _rendered_from(first, names)
    refresh(first, observer, {change.name: change.new for change in plan.changes})
    try:
        planning.apply(plan, author, committer, message)
    except BaseException:
        with suppress(GitstateError):
            refresh(opened.reopened(), observer, {change.name: change.old for change in plan.changes})
        raise
    after = opened.reopened()
    if opened.boots and _rendered_from(after, names) != before:
        refresh_clients(after, names, observer)


def _rendered_from(opened: OpenedSite, names: Sequence[str]) -> Any:
    """What archives of clients depend on besides their values: releases, and the own attributes of their entries."""
    if not opened.boots:
        return None
    releases = {channel: opened.releases.current(channel) for channel in opened.directory.channels()}
    own = {name: own_attributes(entry) for name, entry in opened.directory.entries(names).items()}
    return releases, {name: values for name, values in own.items() if values}
