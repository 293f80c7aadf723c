"""Tags that ask for releases: found in the refs as they stand, and looked into before anything is done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gitstate.core.errors import ConflictError, GitstateError, NotFoundError, RefusedError, UsageError
from gitstate.core.monitor import Observer
from gitstate.directory import Channel
from gitstate.release import signatures
from gitstate.release.content import Inspector, allowances
from gitstate.release.log import ReleaseLog
from gitstate.release.models import TAGS, Name, PendingTag, Release, ReleaseRequest, number, version_name
from gitstate.store import Repository, Type
from gitstate.store.site import Site


def open_all(site: Site) -> tuple[dict[str, Repository], dict[str, GitstateError]]:
    """Every repository that can be read, and what is wrong with the others."""
    repositories, faults = {}, {}
    for name in site.repositories():
        try:
            repositories[name] = site.repository(name)
        except GitstateError as error:
            faults[name] = error
    return repositories, faults


def pending(repositories: Mapping[str, Repository], book: ReleaseLog, channel: str) -> Iterator[PendingTag]:
    """The tags under a channel's name that no release came from, whatever is wrong with them. Raises DamagedError."""
    for repository, opened in repositories.items():
        for ref, oid in opened.refs(f"{TAGS}{channel}/").items():
            name = Name(channel, ref.removeprefix(f"{TAGS}{channel}/"))
            if "/" in name.version or book.origin(name) != (repository, oid):
                yield PendingTag(repository, name, oid)


def look_into(repository: Repository, wish: PendingTag) -> ReleaseRequest:
    """What the tag says. Raises RefusedError if it isn't one that a release can come from."""
    tag = repository.tag(wish.oid)
    if tag is None:
        raise RefusedError(f"{wish.name} is no annotated tag", f"git tag -a {wish.name} makes one")
    try:
        version_name(wish.name.version)
    except UsageError as error:
        raise RefusedError(f"{wish.name}: {error.message}", error.hint) from None
    if tag.name != str(wish.name):
        raise RefusedError(
            f"the tag at {wish.name} calls itself {tag.name}", "a signed tag counts under its own name only"
        )
    if tag.kind is not Type.COMMIT:
        raise RefusedError(f"{wish.name} names no commit but a {tag.kind.name.lower()}", "tag a commit")
    return ReleaseRequest(wish, tag)


def check_place(channel: Channel, repository: str, site: Site, current: Release | None) -> None:
    """Raise RefusedError if the repository has no say in the channel, NotFoundError if a layer comes before its
    prototype.
    """
    if repository == channel.prototype:
        return
    if repository in site.prototypes():
        hint = f"its prototype is {channel.prototype}: gitstate channel show {channel.name}"
        raise RefusedError(f"{repository} can't release {channel.name}", hint)
    if current is None:
        hint = f"first its prototype: gitstate push {channel.prototype} {channel.name}"
        raise NotFoundError(f"{channel.name} has no release that {repository} could join", hint)


def check_name(book: ReleaseLog, repositories: Mapping[str, Repository], wish: PendingTag) -> None:
    """Raise ConflictError if the version is taken: a release's name never means another thing."""
    release = book.get(wish.name)
    if release is not None and release.tag != (wish.repository, wish.oid):
        raise ConflictError(f"there is a release {wish.name} already", "tags aren't reused: take the next number")
    for name, repository in repositories.items():
        if name != wish.repository and repository.object_at(f"{TAGS}{wish.name}") is not None:
            raise ConflictError(f"{name} has a tag {wish.name} already", "one of them must go: take the next number")


def overtaken_by(book: ReleaseLog, repositories: Mapping[str, Repository], asked: ReleaseRequest) -> Name | None:
    """The latest release from the same repository if that is the newer of the two; None if ``asked`` is."""
    for release in book.of(asked.name.channel):
        if release.tag is not None and release.tag[0] == asked.repository:
            tag = repositories[asked.repository].tag(release.tag[1])
            if tag is None:
                return None
            before = ReleaseRequest(PendingTag(asked.repository, release.name, release.tag[1]), tag)
            return release.name if _is_newer(before, asked) else None
    return None


def _is_newer(one: ReleaseRequest, other: ReleaseRequest) -> bool:
    """By number if both have one, else by the taggers' clocks."""
    numbers = number(one.name.version), number(other.name.version)
    if numbers[0] is not None and numbers[1] is not None:
        return numbers[0] > numbers[1]
    return one.tag.tagger.when > other.tag.tagger.when


def check(
    site: Site,
    channel: Channel,
    repository: Repository,
    asked: ReleaseRequest,
    current: Release | None,
    observer: Observer,
) -> None:
    """Look at signature and content of what ``asked`` would release. Raises RefusedError, DamagedError, ConfigError."""
    if channel.signed:
        signatures.verify(site, repository, asked.wish.oid, str(asked.name))
    check_content(repository, asked.repository, asked.commit, current, observer)


def check_content(
    repository: Repository, name: str, commit: bytes, current: Release | None, observer: Observer
) -> None:
    """Look at what ``commit`` has and the current release hasn't. Raises RefusedError, DamagedError, ConfigError."""
    running = current.commits.get(name) if current else None
    if commit == running:
        return
    observer.phase(f"check {name}")
    Inspector(repository, observer).inspect(commit, [running] if running else [], allowances(repository, commit))
