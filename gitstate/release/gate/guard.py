"""What git's hooks refuse: tags that aren't what a channel's tag must be, and pushes that break format or policy.

A hook only says no. What it says yes to is looked at again when it is published, as a hook may never have run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gitstate.core.errors import ConflictError, RefusedError, UsageError
from gitstate.core.monitor import Observer
from gitstate.release import requests as wishes
from gitstate.release.channels import all_channels
from gitstate.release.content import Inspector
from gitstate.release.log import ReleaseLog
from gitstate.release.models import TAGS, Name, PendingTag
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


def check_tags(site: Site, place: Path, told: Iterable[Update], observer: Observer) -> None:
    """Refuse tags under channels' names that can't become releases.

    Raises RefusedError, ConflictError, NotFoundError, DamagedError.
    """
    name = site.name_of(place)
    if name is None:
        return
    channels = all_channels(site)
    if not channels:
        return
    book = ReleaseLog(site)
    repository = site.repository(name)
    for update in told:
        tag = update.ref.removeprefix(TAGS)
        if update.new is None or tag == update.ref or repository.object_at(update.ref) == update.new:
            continue  # it goes, or it is being packed
        if tag in channels:
            raise RefusedError(f"a tag can't be named as the channel {tag}", f"a push is named {tag}/VERSION")
        channel, slash, version = tag.partition("/")
        if slash and channel in channels:
            wish = PendingTag(name, Name(channel, version), update.new)
            _check_tag(site, book, repository, wish, observer)


def _check_tag(site: Site, book: ReleaseLog, repository: Repository, wish: PendingTag, observer: Observer) -> None:
    channel = all_channels(site)[wish.name.channel]
    if repository.object_at(f"{TAGS}{wish.name}") is not None:
        raise ConflictError(f"the tag {wish.name} is there already, and stays where it is", "take the next number")
    asked = wishes.look_into(repository, wish)
    current = book.current(channel.name)
    wishes.check_place(channel, wish.repository, site, current)
    repositories, _ = wishes.open_all(site)
    wishes.check_name(book, repositories, wish)
    released = book.get(wish.name)
    if released is not None:
        return  # a tag that was deleted comes back; it is never published twice
    newer = wishes.overtaken_by(book, repositories, asked)
    if newer is not None:
        raise RefusedError(f"{wish.name} is older than {newer}, which is released", "is your clock behind? tag it anew")
    wishes.check(site, channel, repository, asked, current, observer)


# --- pre-receive ------------------------------------------------------------------------------------------------------


def check_push(site: Site, place: Path, told: Iterable[Update], objects: Path | None, observer: Observer) -> None:
    """Refuse a push of anything that a check-in would refuse. Raises RefusedError, DamagedError, ConfigError.

    ``objects`` is where git keeps what was pushed till we have said yes.
    """
    name = site.name_of(place)
    repository = site.repository(name) if name else Repository.open(place, place.name)
    wanted = [update for update in told if update.new is not None]
    for update in told:
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
