"""``gitstate push`` and ``gitstate rollback``: planned, shown, then done."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gitstate.core.errors import ConflictError, GitstateError, NotFoundError, RefusedError
from gitstate.core.monitor import Observer
from gitstate.core.process import ProgramError
from gitstate.core.signature import Signature
from gitstate.directory import Channel, Kind, open_directory
from gitstate.release import archives
from gitstate.release import requests as wishes
from gitstate.release.channels import channel_called
from gitstate.release.difference import Difference, between
from gitstate.release.log import ReleaseLog, next_number
from gitstate.release.models import TAGS, Name, Outcome, PendingTag, Release, ReleaseRequest
from gitstate.release.reconcile import FROM, Publisher, Step, alone, reconcile
from gitstate.store import MAIN, Repository, Type
from gitstate.store.site import Site
from gitstate.store.tags import Tag
from gitstate.tree.verify import full_manifest


@dataclass(frozen=True, slots=True)
class Push:
    """A release to be made by a tag; ``origin`` is what another channel runs, if that is promoted.

    ``is_needed`` is False where the channel runs all of it already. ``clients`` are those that follow the channel.
    """

    site: Site
    channel: Channel
    repository: str
    commit: bytes
    name: Name
    current: Release | None
    origin: Release | None
    commits: Mapping[str, bytes]
    differences: tuple[Difference, ...]
    clients: Mapping[Kind, int]

    @property
    def is_needed(self) -> bool:
        return self.current is None or self.commits != self.current.commits

    @property
    def bytes(self) -> int:
        """What is new in content."""
        return sum(one.bytes for one in self.differences)


def plan(
    site: Site,
    repository: str,
    channel_name: str,
    revision: str | None,
    origin_name: str | None,
    committer: Signature,
    observer: Observer,
) -> Push:
    """Plan a release. Raises NotFoundError, RefusedError, ConflictError, DamagedError."""
    channel = channel_called(site, channel_name)
    book = ReleaseLog(site)
    publisher = Publisher(site, book, committer, observer, lambda name: None)
    opened = site.repository(repository)
    current = book.current(channel.name)
    wishes.check_place(channel, repository, site, current)
    origin = _origin(site, book, origin_name)
    commit = _of(origin, repository) if origin else _wanted(opened, repository, revision)
    name = Name(channel.name, str(next_number(taken(book, publisher.repositories, channel.name))))
    asked = ReleaseRequest(
        PendingTag(repository, name, b""), Tag(commit, Type.COMMIT, str(name), committer, _trailer(origin), False)
    )
    wishes.check_content(opened, repository, commit, current, observer)
    commits = publisher.commits(channel, asked, current)
    before = current.commits if current else {}
    changed = [one for one in sorted(commits) if before.get(one) != commits[one]]
    differences = [
        between(one, publisher.repositories[one], before.get(one), commits[one], observer) for one in changed
    ]
    return Push(
        site,
        channel,
        repository,
        commit,
        name,
        current,
        origin,
        commits,
        tuple(differences),
        clients_of(site, channel.name),
    )


def taken(book: ReleaseLog, repositories: Mapping[str, Repository], channel: str) -> list[str]:
    """All versions that a channel ever had, or that a tag asks for."""
    versions = [name.version for name in book.names(channel)]
    for repository in repositories.values():
        versions += [ref.rpartition("/")[2] for ref in repository.refs(f"{TAGS}{channel}/")]
    return versions


def clients_of(site: Site, channel: str) -> Mapping[Kind, int]:
    """How many clients of each kind follow a channel."""
    return open_directory(site).followers(channel)


def _origin(site: Site, book: ReleaseLog, name: str | None) -> Release | None:
    if name is None:
        return None
    channel_called(site, name)
    found = book.current(name)
    if found is None:
        raise NotFoundError(f"{name} has no release yet", f"gitstate channel show {name}")
    return found


def _wanted(opened: Repository, repository: str, revision: str | None) -> bytes:
    if revision is not None:
        return opened.resolve(revision)
    tip = opened.ref(MAIN)
    if tip is None:
        raise NotFoundError(
            f"{repository} has no snapshot yet", f"gitstate checkin {repository} -m MSG makes the first"
        )
    return tip


def _of(origin: Release, repository: str) -> bytes:
    if repository not in origin.commits:
        raise NotFoundError(f"{origin.name} has no {repository}", f"it has {', '.join(sorted(origin.commits))}")
    return origin.commits[repository]


def _trailer(origin: Release | None) -> str:
    return f"\n\n{FROM}: {origin.name}" if origin else ""


def foresee(push: Push, observer: Observer) -> int:
    """Render what the push would; for how many machines that is. Raises ConfigError."""
    return archives.preview(push.site, push.name, push.channel.prototype, push.commits, push.current, observer)


# --- doing it ---------------------------------------------------------------------------------------------------------


def apply(
    push: Push,
    message: str,
    who: tuple[Signature, Signature],
    observer: Observer,
    *,
    sign: bool = False,
    step: Step = lambda name: None,
) -> Outcome:
    """Make the tag and publish. ``who`` are tagger and committer. Raises RefusedError, ConflictError, LockedError,
    StorageError.

    Layers are rendered first: what is wrong with one leaves no tag behind. Raises ConfigError for that.
    """
    if push.channel.signed and not sign:
        raise RefusedError(f"{push.channel.name} releases signed tags only", "sign it: gitstate push --sign")
    opened = push.site.repository(push.repository)
    observer.phase("manifest")
    digest = hashlib.sha256()
    for line in full_manifest(opened, push.commit, observer):
        digest.update(line.encode("ascii"))
    trailers = [f"Manifest-SHA256: {digest.hexdigest()}"]
    if push.origin is not None:
        trailers.append(f"{FROM}: {push.origin.name}")
    text = f"{message.strip()}\n\n" + "\n".join(trailers) + "\n"
    prototype = push.channel.prototype
    with alone(book := ReleaseLog(push.site), "push"):
        if book.get(push.name) is not None:  # and machines boot with the archives of that name
            raise _overtaken(push)
        rendered = archives.make(push.site, push.name, prototype, push.commits, push.current, observer)
    observer.phase("tag")
    _tag(opened, push, text, who[0], sign=sign)
    step("tag")
    outcome = reconcile(push.site, who[1], observer, only=push.channel.name, step=step)
    for done in outcome.published:
        if done.release.name == push.name:
            done.steps[:0] = [*rendered, f"tag {push.name} in {push.repository}"]
    return outcome


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
            raise _overtaken(push) from None
        raise _explained(error, sign=sign) from None


def _overtaken(push: Push) -> ConflictError:
    return ConflictError(f"there is a tag {push.name} by now", "somebody pushed meanwhile: run it again")


def _explained(error: ProgramError, *, sign: bool) -> GitstateError:
    """What our own hook said, or what is wrong with a key."""
    lines = error.said.splitlines()
    ours = [number for number, line in enumerate(lines) if line.startswith("gitstate: ")]
    if ours:
        message, hint = lines[ours[0]].removeprefix("gitstate: "), lines[ours[0] + 1 : ours[0] + 2]
        return RefusedError(message, hint[0].strip() if hint else "git's hook said no")
    if sign and re.search("sign|secret key|gpg", error.said):
        return RefusedError(error.message, "see git help tag: user.signingkey, and for ssh gpg.format=ssh")
    return error
