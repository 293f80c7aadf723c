"""Channels made, told of and removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitstate.core.errors import ConflictError, RefusedError, UsageError
from gitstate.core.signature import Signature
from gitstate.core.wording import some_of
from gitstate.directory import Channel, no_such_channel, open_directory
from gitstate.directory.model.clients import channel_name
from gitstate.release.log import ReleaseLog
from gitstate.release.models import TAGS
from gitstate.release.reconcile import alone
from gitstate.release.requests import open_all, pending
from gitstate.store import hooks
from gitstate.store.site import Site


def all_channels(site: Site) -> Mapping[str, Channel]:
    """All channels by name, sorted. Raises ConfigError."""
    return open_directory(site).channels()


def channel_called(site: Site, name: str) -> Channel:
    """One channel. Raises NotFoundError with the nearest names."""
    channels = all_channels(site)
    if name not in channels:
        raise no_such_channel(name, channels)
    return channels[name]


def refuse_use(site: Site, prototype: str) -> None:
    """Raise RefusedError if there is a channel of ``prototype``."""
    users = [one.name for one in all_channels(site).values() if one.prototype == prototype]
    if users:
        raise RefusedError(
            f"{prototype} is what {some_of(users)} releases", f"first: gitstate channel remove {users[0]}"
        )


@dataclass(frozen=True, slots=True)
class Creation:
    """A channel to be made, and tags that ask for releases of it already."""

    site: Site
    channel: Channel
    waiting: tuple[str, ...]


def plan(site: Site, name: str, prototype: str, author: Signature, *, signed: bool) -> Creation:
    """Plan a channel. Raises UsageError, NotFoundError, ConflictError."""
    channel = Channel(channel_name(name), prototype, signed, author.who, author.when)
    if name in all_channels(site):
        raise UsageError(f"there is a channel {name} already", f"gitstate channel show {name} tells about it")
    site.repository(prototype)
    if prototype not in site.prototypes():
        raise UsageError(f"{prototype} is a layer", "a channel has one prototype: --prototype NAME")
    repositories, _ = open_all(site)
    for one, repository in repositories.items():
        if repository.object_at(f"{TAGS}{name}") is not None:
            raise ConflictError(
                f"{one} has a tag {name}", f"remove it (git tag -d {name}), or name the channel otherwise"
            )
    waiting = list(pending(repositories, ReleaseLog(site), name))
    return Creation(site, channel, tuple(f"{wish.name} in {wish.repository}" for wish in waiting))


def apply(creation: Creation, author: Signature, committer: Signature) -> None:
    """Make the channel; hooks of repositories from before there were channels are put in order. Raises LockedError."""
    channel = creation.channel
    with alone(ReleaseLog(creation.site), "channel create"):
        if channel.name in all_channels(creation.site):
            raise UsageError(f"there is a channel {channel.name} by now", "somebody else made it")
        for name in creation.site.repositories():
            hooks.install(creation.site.repository_path(name))
        message = f"channel create {channel.name}: prototype {channel.prototype}"
        open_directory(creation.site).change_channels([channel], [], author, message, committer)


def plan_removal(site: Site, name: str) -> Channel:
    """Plan to remove a channel. Raises NotFoundError, RefusedError while clients follow it."""
    channel = channel_called(site, name)
    followers = [*open_directory(site).find({"channel": name})]
    if followers:
        raise RefusedError(
            f"{some_of(followers)} follow{'s' if len(followers) == 1 else ''} {name}",
            f"let them follow another first: gitstate client set {followers[0]} --channel OTHER",
        )
    return channel


def remove(site: Site, channel: Channel, author: Signature, committer: Signature) -> None:
    """Remove a channel; the history of its releases stays. Raises LockedError, RefusedError, NotFoundError."""
    book = ReleaseLog(site)
    with alone(book, "channel remove"):
        plan_removal(site, channel.name)
        open_directory(site).change_channels([], [channel.name], author, f"channel remove {channel.name}", committer)
        book.close(channel.name)
