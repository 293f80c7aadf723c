"""``gitstate push`` and ``gitstate rollback``: planned, shown, then done."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gitstate.core.errors import ConflictError, GitstateError, NotFoundError, RefusedError
from gitstate.core.failures import ProgramError
from gitstate.core.monitor import Observer
from gitstate.core.signature import Signature
from gitstate.directory import Channel, Kind
from gitstate.machine.render import DirectoryChange
from gitstate.release import archives, requests
from gitstate.release.channels import find_channel
from gitstate.release.difference import Difference, between, directory_changes
from gitstate.release.log import ReleaseLog, next_number
from gitstate.release.models import TAGS, Name, PendingTag, ReconcileResult, Release, ReleaseRequest
from gitstate.release.opened import OpenedSite
from gitstate.release.reconcile import FROM, Publisher, Step, exclusive, reconcile
from gitstate.store import MAIN, Repository, Type
from gitstate.store.objects import Tag
from gitstate.tree.verify import full_manifest


@dataclass(frozen=True, slots=True)
class Push:
    """A release to be made by a tag; ``origin`` is the release of another channel that is promoted.

    ``is_needed`` is False if the channel runs all of it already. ``clients`` follow the channel. ``directories``:
    of the prototype, of whose owner or mode layers say something new.
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

    @property
    def is_needed(self) -> bool:
        return self.current is None or self.commits != self.current.commits

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
    name = Name(channel.name, str(next_number(used_versions(log, publisher.repositories, channel.name))))
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
    return Push(
        opened, channel, repository, commit, name, current, origin, commits, differences, clients, tuple(directories)
    )


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
    return archives.preview(push.opened, push.name, push.channel.prototype, push.commits, push.current, observer)


# --- doing it ---------------------------------------------------------------------------------------------------------


def apply(
    push: Push,
    message: str,
    who: tuple[Signature, Signature],
    observer: Observer,
    *,
    sign: bool = False,
    step: Step = lambda name: None,
) -> ReconcileResult:
    """Make the tag and publish. ``who`` are tagger and committer.

    Layers are rendered first, so that an error in one leaves no tag behind. Raises RefusedError, ConflictError,
    LockedError, StorageError, ConfigError.
    """
    if push.channel.signed and not sign:
        raise RefusedError(f"{push.channel.name} releases signed tags only", "sign it: gitstate push --sign")
    opened = push.opened.reopened()
    source = opened.site.repository(push.repository)
    observer.phase("manifest")
    digest = hashlib.sha256()
    for line in full_manifest(source, push.commit, observer):
        digest.update(line.encode("ascii"))
    trailers = [f"Manifest-SHA256: {digest.hexdigest()}"]
    if push.origin is not None:
        trailers.append(f"{FROM}: {push.origin.name}")
    text = f"{message.strip()}\n\n" + "\n".join(trailers) + "\n"
    prototype = push.channel.prototype
    with exclusive(opened.releases, "push"):
        if opened.releases.get(push.name) is not None:  # and machines boot with the archives of that name
            raise _already_tagged(push)
        rendered = archives.make(opened, push.name, prototype, push.commits, push.current, observer)
    observer.phase("tag")
    _tag(source, push, text, who[0], sign=sign)
    step("tag")
    result = reconcile(opened, who[1], observer, only=push.channel.name, step=step)
    for made in result.published:
        if made.release.name == push.name:
            made.steps[:0] = [*rendered, f"tag {push.name} in {push.repository}"]
    return result


def _tag(repository: Repository, push: Push, text: str, tagger: Signature, *, sign: bool) -> None:
    name, _, mail = tagger.who.rpartition(" <")
    variables = {
        "GIT_COMMITTER_NAME": name,
        "GIT_COMMITTER_EMAIL": mail.rstrip(">"),
        "GIT_COMMITTER_DATE": f"{tagger.when} {tagger.offset}",
    }
    kind = "--sign" if sign else "--no-sign"
    words = ["tag", "--annotate", kind, "--cleanup=verbatim", "--file=-", str(push.name), push.commit.hex()]
    try:
        repository.git(*words, stdin=text.encode(), variables=variables)
    except ProgramError as error:
        if repository.object_at(f"{TAGS}{push.name}") is not None:
            raise _already_tagged(push) from None
        raise _tag_error(error, sign=sign) from None


def _already_tagged(push: Push) -> ConflictError:
    return ConflictError(f"there is a tag {push.name} already", "somebody pushed meanwhile: run it again")


def _tag_error(error: ProgramError, *, sign: bool) -> GitstateError:
    """What our own hook printed, or what is wrong with a key."""
    lines = error.said.splitlines()
    ours = [number for number, line in enumerate(lines) if line.startswith("gitstate: ")]
    if ours:
        message, hint = lines[ours[0]].removeprefix("gitstate: "), lines[ours[0] + 1 : ours[0] + 2]
        return RefusedError(message, hint[0].strip() if hint else "git's hook said no")
    if sign and re.search("sign|secret key|gpg", error.said):
        return RefusedError(error.message, "see git help tag: user.signingkey, and for ssh gpg.format=ssh")
    return error
