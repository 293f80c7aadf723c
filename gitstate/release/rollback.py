"""Back to an earlier release: prototype, layers and boot files as they were, as one more release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitstate.core.errors import GitstateError, LockedError, NotFoundError
from gitstate.core.monitor import Observer
from gitstate.core.signature import Signature
from gitstate.directory import Channel, Kind
from gitstate.release import messages
from gitstate.release.channels import channel_called
from gitstate.release.log import ReleaseLog, next_number
from gitstate.release.models import Done, Name, Problem, Release, release_name, unfinished
from gitstate.release.push import clients_of, taken
from gitstate.release.reconcile import Publisher, Step, alone, told
from gitstate.release.requests import open_all
from gitstate.store.site import Site


@dataclass(frozen=True, slots=True)
class Rollback:
    """A release to be made: ``name`` with all that ``target`` had, after ``current``."""

    site: Site
    channel: Channel
    name: Name
    target: Release
    current: Release
    clients: Mapping[Kind, int]

    @property
    def is_needed(self) -> bool:
        return self.target.commits != self.current.commits


def plan(site: Site, channel_name: str, release: str | None) -> Rollback:
    """Plan to go back to ``release``, or to the one before what runs. Raises NotFoundError, UsageError."""
    channel = channel_called(site, channel_name)
    book = ReleaseLog(site)
    current = book.current(channel.name)
    if current is None:
        raise NotFoundError(f"{channel.name} has no release yet", "there is nothing to go back to")
    target = book.find(release_name(release, channel.name)) if release else _before(book, current)
    repositories, _ = open_all(site)
    name = Name(channel.name, str(next_number(taken(book, repositories, channel.name))))
    return Rollback(site, channel, name, target, current, clients_of(site, channel.name))


def _before(book: ReleaseLog, current: Release) -> Release:
    """What ran before what runs; after a rollback what ran before that: to go back twice is to go back further."""
    running = current
    if current.rollback is not None:
        running = book.find(current.rollback)
        while running.rollback is not None:
            running = book.find(running.rollback)
    for release in book.of(current.name.channel):
        if release.oid == running.previous:
            while release.rollback is not None:
                release = book.find(release.rollback)
            return release
    raise NotFoundError(f"nothing ran before {running.name}", f"gitstate channel show {current.name.channel}")


def apply(
    rollback: Rollback, who: tuple[Signature, Signature], observer: Observer, step: Step = lambda name: None
) -> Done:
    """Make the release.

    Raises LockedError if the channel has moved since the plan, StorageError, DamagedError, PartlyDoneError.
    """
    book = ReleaseLog(rollback.site)
    with alone(book, "rollback"):
        current = book.current(rollback.channel.name)
        if current is None or current.oid != rollback.current.oid:
            raise LockedError(f"{rollback.channel.name} has moved meanwhile", "look again: gitstate channel show")
        book.tagged(current)
        publisher = Publisher(rollback.site, book, who[1], observer, step)
        commits = publisher.there(rollback.target)
        message = messages.of_rollback(rollback.target, current)
        made = publisher.release(rollback.channel, rollback.name, commits, current, who[0], message)
        name = rollback.channel.name
        try:
            with told():
                made.steps.extend(publisher.settle(publisher.directory.channels()[name], made.release))
        except GitstateError as error:
            raise unfinished(made.release.name, Problem(name, name, error)) from None
    return made
