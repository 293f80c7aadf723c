"""The site at a glance: what stands where, as facts. Nothing is written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitstate.core.errors import GitstateError
from gitstate.core.monitor import Observer
from gitstate.directory import Client, open_directory
from gitstate.release.log import ReleaseLog
from gitstate.release.requests import look_into, open_all, overtaken_by, pending
from gitstate.store import MAIN, Repository
from gitstate.store.site import Site
from gitstate.tree import checkin

if TYPE_CHECKING:
    from gitstate.directory import Channel
    from gitstate.release.models import Release


@dataclass(frozen=True, slots=True)
class Edits:
    """What a check-in would find in a live tree: entries by letter (A M D T), times alone aside, and refusals."""

    counts: Mapping[str, int]
    refused: int
    differs: bool
    """Whether a check-in would make a commit: also for times and records alone."""

    @property
    def total(self) -> int:
        """How many entries."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Tree:
    """A prototype or layer: its latest snapshot, None before the first, and its live tree.

    ``edits`` is None where nobody looked, where there is no live tree, and where ``problem`` says why not.
    """

    repository: str
    commit: bytes | None
    when: int | None
    subject: str | None
    live: Path | None
    edits: Edits | None
    problem: GitstateError | None


@dataclass(frozen=True, slots=True)
class Running:
    """A channel: what it runs, None before its first release, how many clients follow, tags that wait."""

    channel: Channel
    release: Release | None
    clients: int
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Users:
    """How many clients run one thing: a release or a pinned snapshot; neither for those that have nothing yet.

    ``channel`` without ``release``: it has none.
    """

    channel: str | None
    release: str | None
    pin: str | None
    clients: int


@dataclass(frozen=True, slots=True)
class BootFiles:
    """How boot files stand: ``files`` to be written or removed, None where nobody looked; servers to be told."""

    files: int | None
    to_be_told: tuple[str, ...]
    problem: GitstateError | None = None


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """All of it. ``boot`` is None for a site from which no machine boots."""

    trees: tuple[Tree, ...]
    channels: tuple[Running, ...]
    users: tuple[Users, ...]
    boot: BootFiles | None
    problem: GitstateError | None = None
    """Why nothing is told of channels and clients, if their directory or releases can't be read."""

    @property
    def problems(self) -> list[GitstateError]:
        """What else could not be looked at."""
        found = [one.problem for one in self.trees]
        return [one for one in [*found, self.boot.problem if self.boot else None] if one is not None]


def look(site: Site, observer: Observer, *, quick: bool = False) -> SiteStatus:
    """The site as it stands; ``quick``: without a look into live trees and boot files.

    A directory that can't be read keeps nobody from what else there is to see.
    """
    repositories, faults = open_all(site)
    trees = []
    for name in site.repositories():
        if name in faults:
            trees.append(Tree(name, None, None, None, None, None, faults[name]))
        else:
            trees.append(_tree(name, repositories[name], None if quick else observer))
    problem = None
    channels: tuple[Running, ...] = ()
    users: tuple[Users, ...] = ()
    try:
        channels, users = _directory(site, repositories)
    except GitstateError as error:
        problem = error
    boot = _boot_files(site, observer, quick=quick or problem is not None)
    return SiteStatus(tuple(trees), channels, users, boot, problem)


def _directory(site: Site, repositories: Mapping[str, Repository]) -> tuple[tuple[Running, ...], tuple[Users, ...]]:
    """What channels and clients run. Raises ConfigError, DamagedError, UnreachableError."""
    directory, book = open_directory(site), ReleaseLog(site)
    clients, channels = directory.clients(), directory.channels()
    releases = {name: book.current(name) for name in channels}
    followers = Counter(one.channel for one in clients.values() if one.pin is None)
    running = (
        Running(channel, releases[name], followers[name], tuple(sorted(_waiting(repositories, book, name))))
        for name, channel in channels.items()
    )
    return tuple(running), tuple(_users(clients.values(), releases))


def _waiting(repositories: Mapping[str, Repository], book: ReleaseLog, channel: str) -> Iterator[str]:
    """The tags that a reconcile would release, or say why not; not those that a newer one has overtaken."""
    for wish in pending(repositories, book, channel):
        try:
            is_overtaken = overtaken_by(book, repositories, look_into(repositories[wish.repository], wish)) is not None
        except GitstateError:
            is_overtaken = False
        if not is_overtaken:
            yield str(wish.name)


# --- trees ------------------------------------------------------------------------------------------------------------


class _Named:
    """An observer that hears whose live tree is looked at."""

    def __init__(self, observer: Observer, name: str) -> None:
        self._observer = observer
        self._name = name

    def phase(self, what: str, total: int | None = None, unit: str = "entries") -> None:
        self._observer.phase(f"{what} {self._name}", total, unit)

    def advance(self, amount: int = 1) -> None:
        self._observer.advance(amount)

    def notice(self, text: str) -> None:
        self._observer.notice(f"{self._name}: {text}")


def _tree(name: str, repository: Repository, observer: Observer | None) -> Tree:
    """One prototype or layer; its live tree is looked into if there is an observer."""
    commit = when = subject = edits = problem = None
    live = repository.live
    try:
        if commit := repository.ref(MAIN):
            snapshot = repository.snapshot(commit)
            when, subject = snapshot.when, snapshot.message.partition("\n")[0]
        if observer is not None and live is not None:
            edits = _edits(repository, _Named(observer, name))
    except GitstateError as error:
        problem = error
    except OSError as error:
        problem = GitstateError(f"{name}: {error}", "gitstate fsck looks closer")
    return Tree(name, commit, when, subject, live, edits, problem)


def _edits(repository: Repository, observer: Observer) -> Edits:
    found = checkin.status(repository, checkin.live_tree(repository, None), observer)
    counts = Counter(change.letter for change in found.changes if not change.is_time_only)
    return Edits(dict(counts), len(found.findings.refusals), found.tree != found.old_tree)


# --- who runs what ----------------------------------------------------------------------------------------------------


def _users(clients: Iterable[Client], releases: Mapping[str, Release | None]) -> Iterator[Users]:
    """Releases first, then pinned snapshots, then those that have nothing yet."""
    pins: Counter[str] = Counter()
    channels: Counter[str] = Counter()
    nothing = 0
    for one in clients:
        if one.pin is not None:
            pins[str(one.pin)] += 1
        elif one.channel is not None:
            channels[one.channel] += 1
        else:
            nothing += 1
    for channel, count in sorted(channels.items()):
        release = releases.get(channel)
        yield Users(channel, str(release.name) if release else None, None, count)
    for pin, count in sorted(pins.items()):
        yield Users(None, None, pin, count)
    if nothing:
        yield Users(None, None, None, nothing)


# --- boot files -------------------------------------------------------------------------------------------------------


def _boot_files(site: Site, observer: Observer, *, quick: bool) -> BootFiles | None:
    """What ``gitstate boot write`` would do. Only root can look; without, and quickly, only what is known is told."""
    if "boot" not in site.settings():
        return None
    from gitstate.boot import files as publish  # a site may have no machines that boot
    from gitstate.boot.files import state
    from gitstate.release.publishing import running

    if quick or os.geteuid() != 0:
        return BootFiles(None, tuple(publish.servers(state.load(site.path).pending)))
    try:
        plan = publish.plan(site, open_directory(site), _Named(observer, "boot files"), running=running(site))
    except GitstateError as error:
        return BootFiles(None, tuple(publish.servers(state.load(site.path).pending)), error)
    files = len(plan.exports) + len(plan.images.copies) + len(plan.texts.files) + len(plan.texts.stale)
    return BootFiles(files, tuple(publish.servers(plan.pending)))
