"""Create and remove channels."""

from __future__ import annotations

from dataclasses import dataclass

from gitstate.core.errors import ConflictError, RefusedError, UsageError
from gitstate.core.signature import Signature
from gitstate.core.wording import some_of
from gitstate.directory import Channel, Directory, no_such_channel
from gitstate.directory.model.clients import channel_name
from gitstate.release.models import TAGS
from gitstate.release.opened import OpenedSite
from gitstate.release.reconcile import exclusive
from gitstate.release.requests import pending


def find_channel(directory: Directory, name: str) -> Channel:
    """One channel. Raises NotFoundError with the nearest names."""
    channels = directory.channels()
    if name not in channels:
        raise no_such_channel(name, channels)
    return channels[name]


def refuse_if_released(opened: OpenedSite, prototype: str) -> None:
    """Raise RefusedError if a channel releases ``prototype``."""
    users = [one.name for one in opened.directory.channels().values() if one.prototype == prototype]
    if users:
        raise RefusedError(f"{prototype} is released by {some_of(users)}", f"first: gitstate channel remove {users[0]}")


@dataclass(frozen=True, slots=True)
class Creation:
    """A new channel, and tags that request releases of it already, as ``TAG in REPOSITORY``."""

    channel: Channel
    pending: tuple[str, ...]


def plan(opened: OpenedSite, name: str, prototype: str, author: Signature, *, signed: bool) -> Creation:
    """Plan a channel. Raises UsageError, NotFoundError, ConflictError."""
    site = opened.site
    channel = Channel(channel_name(name), prototype, signed, author.who, author.when)
    if name in opened.directory.channels():
        raise UsageError(f"there is a channel {name} already", f"gitstate channel show {name}")
    site.repository(prototype)
    if prototype not in site.prototypes():
        raise UsageError(f"{prototype} is a layer", "a channel has one prototype: --prototype NAME")
    repositories, _ = opened.repositories
    for one, repository in repositories.items():
        if repository.object_at(f"{TAGS}{name}") is not None:
            raise ConflictError(
                f"{one} has a tag {name}", f"remove it (git tag -d {name}), or choose another name for the channel"
            )
    tags = pending(repositories, opened.releases, name)
    return Creation(channel, tuple(f"{tag.name} in {tag.repository}" for tag in tags))


def apply(opened: OpenedSite, creation: Creation, author: Signature, committer: Signature) -> None:
    """Make the channel, and install git's hooks in repositories that lack them. Raises LockedError."""
    opened, channel = opened.reopened(), creation.channel
    with exclusive(opened.releases, "channel create"):
        if channel.name in opened.directory.channels():
            raise UsageError(f"there is a channel {channel.name} by now", "somebody else made it")
        for name in opened.site.repositories():
            opened.site.repository(name).renew(hooked=True)
        message = f"channel create {channel.name}: prototype {channel.prototype}"
        opened.directory.change_channels([channel], [], author, message, committer)


def plan_removal(opened: OpenedSite, name: str) -> Channel:
    """Plan to remove a channel. Raises NotFoundError, RefusedError while clients follow it."""
    channel = find_channel(opened.directory, name)
    followers = [*opened.directory.find({"channel": name})]
    if followers:
        raise RefusedError(
            f"{some_of(followers)} follow{'s' if len(followers) == 1 else ''} {name}",
            f"let them follow another first: gitstate client set {followers[0]} --channel OTHER",
        )
    return channel


def remove(opened: OpenedSite, channel: Channel, author: Signature, committer: Signature) -> None:
    """Remove a channel; the history of its releases stays. Raises LockedError, RefusedError, NotFoundError."""
    opened = opened.reopened()
    with exclusive(opened.releases, "channel remove"):
        plan_removal(opened, channel.name)
        ended = opened.releases.close(channel.name)  # first: without the channel nobody would ever do it
        try:
            opened.directory.change_channels([], [channel.name], author, f"channel remove {channel.name}", committer)
        except BaseException:
            if ended is not None and channel.name in opened.reopened().directory.channels():
                opened.releases.reopen(channel.name, ended)
            raise
