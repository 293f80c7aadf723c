"""``gitstate push`` and ``gitstate rollback``: planned, shown, then done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from gitstate.core.errors import ConflictError, GitstateError, NotFoundError, RefusedError
from gitstate.core.monitor import Observer
from gitstate.core.signature import Signature
from gitstate.directory import Channel, Kind
from gitstate.machine.render import DirectoryChange
from gitstate.release import archives, publishing, requests, tagging
from gitstate.release.channels import find_channel
from gitstate.release.difference import Difference, between, directory_changes
from gitstate.release.log import ReleaseLog, next_number
from gitstate.release.models import (
    TAGS,
    MadeRelease,
    Name,
    NextRelease,
    PendingTag,
    Problem,
    ReconcileResult,
    Release,
    ReleaseRequest,
)
from gitstate.release.opened import OpenedSite
from gitstate.release.reconcile import FROM, Publisher, Step, exclusive, finish, promoted_release, reconcile
from gitstate.store import MAIN, Repository, Type
from gitstate.store.objects import Tag


@dataclass(frozen=True, slots=True)
class Push:
    """A release to be made by a tag; ``origin`` is the release of another channel that is promoted.

    ``is_needed`` is False if the channel runs all of it already; ``unfinished`` is what boot files and directory don't
    show of it yet, as text. ``is_tagged``: an earlier push made the tag and got no further. ``clients`` follow the
    channel. ``directories``: of the prototype, of whose owner or mode layers say something new.
    """

    opened: OpenedSite
    channel: Channel
    repository: str
    commit: bytes
    name: Name
    current: Release | None
    origin: Release | None
    commits: Mapping[str, bytes]
    differences: tuple[Difference, ...]
    clients: Mapping[Kind, int]
    directories: tuple[DirectoryChange, ...]
    is_tagged: bool
    unfinished: tuple[str, ...]

    @property
    def is_needed(self) -> bool:
        return self.current is None or self.commits != self.current.commits

    @property
    def release(self) -> NextRelease:
        """The release that it will be."""
        return NextRelease(self.name, self.channel.prototype, self.commits, self.current)

    @property
    def bytes(self) -> int:
        """The size of new content."""
        return sum(one.bytes for one in self.differences)


def plan(
    opened: OpenedSite,
    repository: str,
    channel_name: str,
    revision: str | None,
    origin_name: str | None,
    committer: Signature,
    observer: Observer,
) -> Push:
    """Plan a release. Raises NotFoundError, RefusedError, ConflictError, DamagedError."""
    channel = find_channel(opened.directory, channel_name)
    log = opened.releases
    publisher = Publisher(opened, committer, observer, lambda name: None)
    source = opened.site.repository(repository)
    current = log.current(channel.name)
    requests.check_repository(channel, repository, opened.site, current)
    origin = _origin(opened, origin_name)
    commit = _commit_of(origin, repository) if origin else _resolve(source, repository, revision)
    tagged = _interrupted(publisher, channel, repository, commit, origin)
    name = tagged or Name(channel.name, str(next_number(used_versions(log, publisher.repositories, channel.name))))
    trailer = f"\n\n{FROM}: {origin.name}" if origin else ""
    tag = Tag(commit, Type.COMMIT, str(name), committer, trailer, False)
    requests.check_content(source, repository, commit, current, observer)
    commits = publisher.commits(channel, ReleaseRequest(PendingTag(repository, name, b""), tag), current)
    before = current.commits if current else {}
    changed = [one for one in sorted(commits) if before.get(one) != commits[one]]
    differences = tuple(
        between(one, publisher.repositories[one], before.get(one), commits[one], observer) for one in changed
    )
    clients = opened.directory.followers(channel.name)
    directories = directory_changes(opened.site, channel.prototype, commits, before)
    unfinished = []
    if current and commits == current.commits:
        unfinished = publishing.outstanding(opened, channel, current, observer)
    return Push(
        opened=opened,
        channel=channel,
        repository=repository,
        commit=commit,
        name=name,
        current=current,
        origin=origin,
        commits=commits,
        differences=differences,
        clients=clients,
        directories=tuple(directories),
        is_tagged=tagged is not None,
        unfinished=tuple(unfinished),
    )


def _interrupted(
    publisher: Publisher, channel: Channel, repository: str, commit: bytes, origin: Release | None
) -> Name | None:
    """The newest tag that asks for the same release: a push was interrupted after it had made the tag.

    Another tag would make a second release of the same (docs/decisions/0013-run-it-again.md).
    """
    source, found = {repository: publisher.repositories[repository]}, []
    for tag in requests.pending(source, publisher.log, channel.name):
        with suppress(GitstateError):
            request = requests.request_of(source[repository], tag)
            promoted = promoted_release(publisher.log, request)
            is_same = request.commit == commit and (promoted and promoted.name) == (origin and origin.name)
            if is_same and requests.superseded_by(publisher.log, source, request) is None:
                requests.check_name(publisher.log, publisher.repositories, tag)
                if channel.signed:
                    requests.verify_signature(publisher.site, source[repository], tag.oid, str(tag.name))
                found.append(request)
    return max(found, key=lambda one: one.order).name if found else None


def used_versions(log: ReleaseLog, repositories: Mapping[str, Repository], channel: str) -> list[str]:
    """All versions that a channel ever had, or that a tag requests."""
    versions = [name.version for name in log.names(channel)]
    for repository in repositories.values():
        versions += [ref.rpartition("/")[2] for ref in repository.refs(f"{TAGS}{channel}/")]
    return versions


def _origin(opened: OpenedSite, name: str | None) -> Release | None:
    if name is None:
        return None
    find_channel(opened.directory, name)
    found = opened.releases.current(name)
    if found is None:
        raise NotFoundError(f"{name} has no release yet", f"gitstate channel show {name}")
    return found


def _resolve(source: Repository, repository: str, revision: str | None) -> bytes:
    if revision is not None:
        return source.resolve(revision)
    tip = source.ref(MAIN)
    if tip is None:
        raise NotFoundError(
            f"{repository} has no snapshot yet", f"gitstate checkin {repository} -m MSG makes the first"
        )
    return tip


def _commit_of(origin: Release, repository: str) -> bytes:
    if repository not in origin.commits:
        raise NotFoundError(f"{origin.name} has no {repository}", f"it has {', '.join(sorted(origin.commits))}")
    return origin.commits[repository]


def preview(push: Push, observer: Observer) -> int:
    """Render the archives that the push would, and keep none; return how many. Raises ConfigError."""
    return archives.preview(push.opened, push.release, observer)


# --- doing it ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push did. ``made`` None: the channel ran that already, and ``finished`` was done for it, as text.

    ``push`` is the plan as it was carried out. ``problems`` are other tags' and, of what is made, the channel's.
    """

    push: Push
    made: MadeRelease | None
    finished: Sequence[str] = ()
    problems: Sequence[Problem] = ()


def apply(
    push: Push,
    message: str,
    who: tuple[Signature, Signature],
    observer: Observer,
    *,
    sign: bool = False,
    step: Step = lambda name: None,
) -> Pushed:
    """Make the tag and publish. ``who`` are tagger and committer.

    Raises RefusedError, ConflictError, LockedError, StorageError, ConfigError, PartlyDoneError.
    """
    if push.channel.signed and not sign:
        raise RefusedError(f"{push.channel.name} releases signed tags only", "sign it: gitstate push --sign")
    opened = push.opened.reopened()
    done = []
    if push.is_needed and not push.is_tagged:
        text = _text(push, message, observer)
        with exclusive(opened.releases, "push"):
            push = _renewed(push, opened, who[0], observer)
            if push.is_needed and not push.is_tagged:
                done = _request(push, opened, text, who[0], observer, sign=sign)
                step("tag")
    if not push.is_needed:
        return Pushed(push, None, finish(opened, push.channel.name, who[1], observer))
    result = reconcile(opened, who[1], observer, only=push.channel.name, step=step)
    made = next((one for one in result.published if one.release.name == push.name), None)
    if made is None and not result.problems:
        made = _made(push, opened)
    if made is None:
        raise _why_not(push, result)
    made.steps[:0] = done
    return Pushed(push, made, problems=result.problems)


def _text(push: Push, message: str, observer: Observer) -> str:
    """The tag's message with its trailers."""
    trailers = {FROM: str(push.origin.name)} if push.origin is not None else {}
    return tagging.message(push.opened.site.repository(push.repository), push.commit, message, trailers, observer)


def _renewed(push: Push, opened: OpenedSite, tagger: Signature, observer: Observer) -> Push:
    """The push, under the lock of releases, with a number that nobody else can take, after what runs now.

    Raises ConflictError if somebody released another snapshot of the same repository meanwhile: that wasn't shown.
    """
    current = opened.releases.current(push.channel.name)
    versions = used_versions(opened.releases, opened.repositories[0], push.channel.name)
    if current == push.current and push.name.version not in versions:
        return push
    origin = push.origin.name.channel if push.origin else None
    again = plan(opened, push.repository, push.channel.name, push.commit.hex(), origin, tagger, observer)
    before, now = (one.current.commits.get(push.repository) if one.current else None for one in (push, again))
    if again.is_needed and (before != now or again.commits.keys() != push.commits.keys()):
        what = again.current.name if again.current else push.channel.name
        raise ConflictError(f"{what} was released meanwhile", "look again, and run it again: gitstate push -n")
    return again


def _request(
    push: Push, opened: OpenedSite, text: str, tagger: Signature, observer: Observer, *, sign: bool
) -> list[str]:
    """Make the tag; what was done, as text. Layers are rendered first, so that an error in one leaves no tag behind."""
    rendered = archives.make(opened, push.release, observer)
    observer.phase("tag")
    repository = opened.site.repository(push.repository)
    try:
        tagging.make_tag(
            repository, str(push.name), push.commit, text, tagger, sign=sign, is_checked=not push.channel.signed
        )
    except ConflictError:
        raise _already_tagged(push) from None
    return [*rendered.steps, f"tag {push.name} in {push.repository}"]


def _made(push: Push, opened: OpenedSite) -> MadeRelease | None:
    """The release, if another run, woken by the tag, was faster."""
    release = opened.releases.get(push.name)
    return MadeRelease(release, opened.releases.before(release)) if release else None


def _why_not(push: Push, result: ReconcileResult) -> GitstateError:
    """Why the tag didn't become a release: for its own sake, or because one before it stopped the channel."""
    for problem in result.problems:
        if problem.what in (str(push.name), push.channel.name):
            return problem.error
    for pending, newer in result.superseded:
        if pending.name == push.name:
            return ConflictError(f"{newer} was released meanwhile, so {push.name} never will be", "push again")
    for problem in result.problems:
        error = problem.error
        error.message = f"{push.name} waits: {problem.message}"
        return error
    return ConflictError(f"{push.name} was not released: its tag has gone", "push again")


def _already_tagged(push: Push) -> ConflictError:
    return ConflictError(f"there is a tag {push.name} already", "somebody pushed meanwhile: run it again")
