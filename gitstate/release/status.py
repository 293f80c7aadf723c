"""The site at a glance, as data. Nothing is written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitstate.core import failures
from gitstate.core.errors import GitstateError
from gitstate.core.monitor import Observer
from gitstate.directory import Client
from gitstate.machine.hardware.reports import Reports
from gitstate.release.log import ReleaseLog
from gitstate.release.opened import OpenedSite
from gitstate.release.requests import pending, request_of, superseded_by
from gitstate.store import MAIN, Repository
from gitstate.tree import checkin
from gitstate.tree.standing import Standing, standing

if TYPE_CHECKING:
    from gitstate.core.names import Pin
    from gitstate.directory import Channel
    from gitstate.release.models import Release


@dataclass(frozen=True, slots=True)
class Edits:
    """What a check-in would find in a live tree: entries by letter (A M D T), times alone aside, and refusals."""

    counts: Mapping[str, int]
    refused: int
    differs: bool
    """Whether a check-in would make a commit: also for times and records alone."""


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
    standing: Standing | None = None
    """Where others have moved main since the live tree was recorded; None where nobody looked."""


@dataclass(frozen=True, slots=True)
class Running:
    """A channel: what it runs, None before its first release, how many clients follow, tags that wait."""

    channel: Channel
    release: Release | None
    clients: int
    pending: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Users:
    """How many clients run one thing: a release or a pinned snapshot; neither for those that have nothing yet.

    ``channel`` without ``release``: it has none. ``outdated``: those that last reported to run another snapshot.
    """

    channel: str | None
    release: str | None
    pin: str | None
    clients: int
    outdated: int = 0


@dataclass(frozen=True, slots=True)
class BootFiles:
    """The number of boot files to be written or removed, None if unknown; servers whose configuration changed."""

    files: int | None
    needs_reload: tuple[str, ...]
    problem: GitstateError | None = None


@dataclass(frozen=True, slots=True)
class SiteStatus:
    """The status of all parts. ``boot`` is None for a site from which no machine boots."""

    trees: tuple[Tree, ...]
    channels: tuple[Running, ...]
    users: tuple[Users, ...]
    boot: BootFiles | None
    problem: GitstateError | None = None
    """Why channels and clients are missing, if their directory or releases can't be read."""

    @property
    def problems(self) -> list[GitstateError]:
        """What else could not be read."""
        found = [one.problem for one in self.trees]
        return [one for one in [*found, self.boot.problem if self.boot else None] if one is not None]


def status(opened: OpenedSite, observer: Observer, *, quick: bool = False) -> SiteStatus:
    """The status of the site; ``quick`` leaves out live trees and boot files.

    A directory that can't be read is a problem in the result, not an error.
    """
    repositories, faults = opened.repositories
    trees = tuple(
        Tree(name, None, None, None, None, None, faults[name])
        if name in faults
        else _tree(name, repositories[name], None if quick else observer)
        for name in opened.site.repositories()
    )
    try:
        channels, users = _directory(opened, repositories)
    except GitstateError as error:
        return SiteStatus(trees, (), (), _boot_files(opened, observer, quick=True), error)
    return SiteStatus(trees, channels, users, _boot_files(opened, observer, quick=quick))


def _directory(
    opened: OpenedSite, repositories: Mapping[str, Repository]
) -> tuple[tuple[Running, ...], tuple[Users, ...]]:
    """What channels and clients run. Raises ConfigError, DamagedError, UnreachableError."""
    log = opened.releases
    clients, channels = opened.directory.clients(), opened.directory.channels()
    releases = {name: log.current(name) for name in channels}
    followers = Counter(one.channel for one in clients.values() if one.pin is None)
    running = (
        Running(channel, releases[name], followers[name], tuple(sorted(_pending(repositories, log, name))))
        for name, channel in channels.items()
    )
    current = {name: release.snapshot for name, release in releases.items() if release}
    outdated = _outdated(opened, clients.values(), current, repositories)
    return tuple(running), tuple(_users(clients.values(), releases, outdated))


def _pending(repositories: Mapping[str, Repository], log: ReleaseLog, channel: str) -> Iterator[str]:
    """The tags that a reconcile would release or refuse, without superseded ones."""
    for tag in pending(repositories, log, channel):
        try:
            is_superseded = superseded_by(log, repositories, request_of(repositories[tag.repository], tag)) is not None
        except GitstateError:
            is_superseded = False
        if not is_superseded:
            yield str(tag.name)


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
    commit = when = subject = edits = problem = stands = None
    live = repository.live
    try:
        if commit := repository.ref(MAIN):
            snapshot = repository.snapshot(commit)
            when, subject = snapshot.when, snapshot.subject
        if observer is not None and live is not None:
            edits = _edits(repository, _Named(observer, name))
            stands = standing(repository)
    except GitstateError as error:
        problem = error
    except OSError as error:
        problem = failures.of_system(error)
    return Tree(name, commit, when, subject, live, edits, problem, stands)


def _edits(repository: Repository, observer: Observer) -> Edits:
    found = checkin.status(repository, checkin.live_tree(repository, None), observer)
    counts = Counter(change.letter for change in found.changes if not change.is_time_only)
    return Edits(dict(counts), len(found.findings.refusals), found.tree != found.old_tree)


# --- who runs what ----------------------------------------------------------------------------------------------------


def _outdated(
    opened: OpenedSite,
    clients: Iterable[Client],
    current: Mapping[str, tuple[str, bytes]],
    repositories: Mapping[str, Repository],
) -> Counter[str]:
    """How many clients of each channel or pin reported to run another snapshot. ``current``: that of each channel."""
    running = Reports(opened.site).running()
    wanted: dict[str, tuple[str, bytes] | None] = dict(current)
    outdated: Counter[str] = Counter()
    for one in clients:
        if (told := running.get(one.name)) is None or one.runs is None:
            continue
        if one.pin is not None and one.runs not in wanted:
            wanted[one.runs] = _pinned(repositories, one.pin)
        snapshot = wanted.get(one.runs)
        outdated[one.runs] += snapshot is not None and snapshot != (told.prototype, told.commit)
    return outdated


def _pinned(repositories: Mapping[str, Repository], pin: Pin) -> tuple[str, bytes] | None:
    """The snapshot of a pin; None if there is none, which planning the boot files tells."""
    try:
        return pin.prototype, repositories[pin.prototype].resolve(pin.revision)
    except (KeyError, GitstateError):
        return None


def _users(
    clients: Iterable[Client], releases: Mapping[str, Release | None], outdated: Mapping[str, int]
) -> Iterator[Users]:
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
        yield Users(channel, str(release.name) if release else None, None, count, outdated.get(channel, 0))
    for pin, count in sorted(pins.items()):
        yield Users(None, None, pin, count, outdated.get(pin, 0))
    if nothing:
        yield Users(None, None, None, nothing)


# --- boot files -------------------------------------------------------------------------------------------------------


def _boot_files(opened: OpenedSite, observer: Observer, *, quick: bool) -> BootFiles | None:
    """What ``gitstate boot write`` would do. Only root can plan it; otherwise, or if ``quick``, only what is known."""
    if not opened.boots:
        return None
    from gitstate.boot import files  # a site may have no machines that boot
    from gitstate.boot.files import state
    from gitstate.release import boot_files

    path = opened.site.path
    if quick or os.geteuid() != 0:
        return BootFiles(None, tuple(files.servers(state.load(path).pending)))
    try:
        plan = boot_files.plan(opened, _Named(observer, "boot files"))
    except GitstateError as error:
        return BootFiles(None, tuple(files.servers(state.load(path).pending)), error)
    count = len(plan.exports) + len(plan.images.copies) + len(plan.texts.files) + len(plan.texts.stale)
    return BootFiles(count, tuple(files.servers(plan.pending)))
