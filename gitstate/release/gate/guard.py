"""What git's hooks refuse: tags that aren't what a channel's tag must be, and pushes that break format or policy.

A hook only says no. What it says yes to is looked at again when it is published, as a hook may never have run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gitstate.core.errors import ConflictError, RefusedError, UsageError
from gitstate.core.monitor import Observer
from gitstate.directory import Channel
from gitstate.release import requests
from gitstate.release.content import Inspector
from gitstate.release.models import TAGS, Name, PendingTag
from gitstate.release.opened import OpenedSite
from gitstate.store import Repository
from gitstate.store.site import Site

_OPEN = ("refs/heads/", "refs/tags/", "refs/notes/")
_NOTHING = bytes(20)


class Update(NamedTuple):
    """A ref that is to stand at ``new``, which is None where it is to go."""

    ref: str
    new: bytes | None


def updates(lines: Iterable[str]) -> Iterator[Update]:
    """What git tells a hook: ``OLD NEW REF``; OLD proves nothing. Raises UsageError."""
    for line in lines:
        words = line.rstrip("\n").split(" ", 2)
        if len(words) != 3:
            raise UsageError(f"{line!r} is not what git tells a hook", "git calls it, not people")
        new, ref = words[1], words[2]
        if new.startswith("ref:"):
            raise RefusedError(f"{ref} would be another name for {new[4:]}", "name an object")
        oid = bytes.fromhex(new)
        yield Update(ref, None if oid == _NOTHING else oid)


# --- reference-transaction --------------------------------------------------------------------------------------------


def check_tags(opened: OpenedSite, place: Path, transaction: Iterable[Update], observer: Observer) -> None:
    """Refuse tags under channels' names that can't become releases.

    Raises RefusedError, ConflictError, NotFoundError, DamagedError.
    """
    name = opened.site.name_of(place)
    channels = opened.directory.channels() if name is not None else {}
    if name is None or not channels:
        return
    repository = opened.site.repository(name)
    for update in transaction:
        tag = update.ref.removeprefix(TAGS)
        if update.new is None or tag == update.ref or repository.object_at(update.ref) == update.new:
            continue  # it goes, or it is being packed
        if tag in channels:
            raise RefusedError(f"a tag can't be named as the channel {tag}", f"a push is named {tag}/VERSION")
        channel, slash, version = tag.partition("/")
        if slash and channel in channels:
            pending = PendingTag(name, Name(channel, version), update.new)
            _check_tag(opened, channels[channel], repository, pending, observer)


def _check_tag(
    opened: OpenedSite, channel: Channel, repository: Repository, pending: PendingTag, observer: Observer
) -> None:
    if repository.object_at(f"{TAGS}{pending.name}") is not None:
        raise ConflictError(f"there is a tag {pending.name} already; it can't be moved", "take the next number")
    request = requests.request_of(repository, pending)
    current = opened.releases.current(channel.name)
    requests.check_repository(channel, pending.repository, opened.site, current)
    repositories, _ = opened.repositories
    requests.check_name(opened.releases, repositories, pending)
    if opened.releases.get(pending.name) is not None:
        return  # a deleted tag was made again; it is never published twice
    newer = requests.superseded_by(opened.releases, repositories, request)
    if newer is not None:
        raise RefusedError(
            f"{pending.name} is older than {newer}, which is released", "is your clock behind? tag it anew"
        )
    requests.check(opened.site, channel, repository, request, current, observer)


# --- pre-receive ------------------------------------------------------------------------------------------------------


def check_push(
    site: Site, place: Path, transaction: Iterable[Update], objects: Path | None, observer: Observer
) -> None:
    """Refuse a push of anything that a check-in would refuse. Raises RefusedError, DamagedError, ConfigError.

    ``objects`` is where git keeps what was pushed till we have said yes.
    """
    name = site.name_of(place)
    repository = site.repository(name) if name else Repository.open(place, place.name)
    wanted = [update for update in transaction if update.new is not None]
    for update in transaction:
        if not update.ref.startswith(_OPEN):
            raise RefusedError(f"{update.ref} is gitstate's own", "push branches and tags")
    if objects is not None:
        repository = repository.including(objects)
    if name is None:
        return
    inspector = Inspector(repository, observer)
    observer.phase("check what is pushed")
    for commit in _new_commits(repository, [update.new for update in wanted if update.new], objects):
        snapshot = repository.snapshot(commit)
        inspector.inspect(commit, snapshot.parents, snapshot.message)


def _new_commits(repository: Repository, tips: Iterable[bytes], objects: Path | None) -> list[bytes]:
    """The commits that no ref reaches yet, parents first."""
    said = repository.git(
        *("rev-list", "--topo-order", "--reverse", "--stdin", "--not", "--all"),
        stdin="".join(f"{tip.hex()}\n" for tip in tips).encode(),
        variables=_beside(repository, objects),
    )
    return [bytes.fromhex(line.decode()) for line in said.split()]


def _beside(repository: Repository, objects: Path | None) -> Mapping[str, str]:
    if objects is None:
        return {}
    quoted = str(repository.path / "objects").replace("\\", "\\\\").replace('"', '\\"')
    return {"GIT_OBJECT_DIRECTORY": str(objects), "GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{quoted}"'}
