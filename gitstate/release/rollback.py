"""Back to an earlier release: prototype, layers and boot files as they were, as one more release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitstate.core.errors import LockedError, NotFoundError
from gitstate.core.monitor import Observer
from gitstate.core.signature import Signature
from gitstate.directory import Channel, Kind
from gitstate.release import publishing
from gitstate.release.channels import find_channel
from gitstate.release.log import ReleaseLog, next_number, rollback_message
from gitstate.release.models import MadeRelease, Name, NextRelease, Release, release_name
from gitstate.release.opened import OpenedSite
from gitstate.release.push import used_versions
from gitstate.release.reconcile import Publisher, Step, exclusive


@dataclass(frozen=True, slots=True)
class Rollback:
    """A release to be made: ``name`` with all that ``target`` had, after ``current``.

    ``is_needed`` is False if the channel runs that already; ``unfinished`` is what boot files and directory don't show
    of it yet, as text.
    """

    opened: OpenedSite
    channel: Channel
    name: Name
    target: Release
    current: Release
    clients: Mapping[Kind, int]
    unfinished: tuple[str, ...]

    @property
    def is_needed(self) -> bool:
        return self.target.commits != self.current.commits


def plan(opened: OpenedSite, channel_name: str, release: str | None, observer: Observer) -> Rollback:
    """Plan to go back to ``release``, or to the one before the current one. Raises NotFoundError, UsageError.

    Without ``release``, a rollback that was interrupted is to be finished; the next one goes further back.
    """
    channel = find_channel(opened.directory, channel_name)
    log = opened.releases
    current = log.current(channel.name)
    if current is None:
        raise NotFoundError(f"{channel.name} has no release yet", "there is nothing to go back to")
    if release is not None:
        target = log.find(release_name(release, channel.name))
    elif current.rollback is not None and not publishing.is_shown(channel, current):
        target = current
    else:
        target = _before(log, current)
    unfinished = []
    if target.commits == current.commits:
        unfinished = publishing.outstanding(opened, channel, current, observer)
    name = Name(channel.name, str(next_number(used_versions(log, opened.repositories[0], channel.name))))
    clients = opened.directory.followers(channel.name)
    return Rollback(opened, channel, name, target, current, clients, tuple(unfinished))


def _before(log: ReleaseLog, current: Release) -> Release:
    """What ran before ``current``; after a rollback, what ran before its target: two rollbacks go back two releases."""
    running = current
    if current.rollback is not None:
        running = log.find(current.rollback)
        while running.rollback is not None:
            running = log.find(running.rollback)
    for release in log.of(current.name.channel):
        if release.oid == running.previous:
            while release.rollback is not None:
                release = log.find(release.rollback)
            return release
    raise NotFoundError(f"nothing ran before {running.name}", f"gitstate channel show {current.name.channel}")


def apply(
    rollback: Rollback, who: tuple[Signature, Signature], observer: Observer, step: Step = lambda name: None
) -> MadeRelease:
    """Make the release.

    Raises LockedError if the channel has moved since the plan, StorageError, DamagedError, PartlyDoneError.
    """
    opened = rollback.opened.reopened()
    log = opened.releases
    with exclusive(log, "rollback"):
        current = log.current(rollback.channel.name)
        if current is None or current.oid != rollback.current.oid:
            raise LockedError(f"{rollback.channel.name} has moved meanwhile", "look again: gitstate channel show")
        log.tagged(current)
        publisher = Publisher(opened, who[1], observer, step)
        commits = publisher.existing_commits(rollback.target)
        message = rollback_message(rollback.target, current)
        release = NextRelease(rollback.name, rollback.channel.prototype, commits, current)
        made = publisher.release(release, who[0], message)
        made.steps.extend(publisher.finish_or_tell(made.release))
    return made
