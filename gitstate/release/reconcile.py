"""Tags become releases: whatever woke us, only the refs as they stand say what is to be done.

A release is made in this order: it is looked into; what its clients need is made, and layers are rendered for each of
them; its commits are kept from gc; ``site.git`` moves, all of it in one step; boot files follow; the directory tells of
it. Killed before ``site.git`` moves, the channel stands where it was; after that the next run does the rest.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from gitstate.core.errors import GitstateError, HostError, NotFoundError, RefusedError, StorageError
from gitstate.core.monitor import Observer
from gitstate.core.signature import Signature
from gitstate.directory import Channel, open_directory
from gitstate.machine.hardware.reports import Reports
from gitstate.release import archives, messages, publishing, refresh
from gitstate.release import requests as wishes
from gitstate.release.log import ReleaseLog
from gitstate.release.models import PINS, Done, Name, Outcome, Problem, Release, ReleaseRequest
from gitstate.store import MAIN, Repository, hooks
from gitstate.store.lock import wait_for_lock
from gitstate.store.site import Site

Step = Callable[[str], None]

FROM: Final = "Gitstate-From"
_STOPS: Final = frozenset({"environment", "storage", "locked", "bug"})
"""Kinds of errors that are no tag's fault: later tags of the channel would only meet them again."""


class Publisher:
    """Makes releases of one site, one after the other; to be used under ``alone``."""

    def __init__(self, site: Site, book: ReleaseLog, committer: Signature, observer: Observer, step: Step) -> None:
        self.site = site
        self.book = book
        self.directory = open_directory(site)
        self.repositories, self.faults = wishes.open_all(site)
        self._committer = committer
        self._observer = observer
        self._step = step
        self._rendered_at: str | None = None
        """The directory's revision for which the machine archives of a new release were made."""

    # --- one tag ---

    def publish(self, channel: Channel, asked: ReleaseRequest, current: Release | None) -> Done:
        """Make the release that ``asked`` asks for. Raises GitstateError; then the channel stands where it stood."""
        repository = self.repositories[asked.repository]
        wishes.check(self.site, channel, repository, asked, current, self._observer)
        commits = self.commits(channel, asked, current)
        for name in sorted(commits.keys() - (current.commits if current else {}).keys() - {asked.repository}):
            wishes.check_content(self.repositories[name], name, commits[name], current, self._observer)
        message = messages.of_tag(asked, commits, current, repository)
        return self.release(channel, asked.name, commits, current, asked.tag.tagger, message)

    def commits(self, channel: Channel, asked: ReleaseRequest, current: Release | None) -> dict[str, bytes]:
        """What the release will be made of. Raises RefusedError, NotFoundError."""
        origin = source(self.book, asked)
        if origin is not None and asked.repository == channel.prototype:
            if origin.commits.get(asked.repository) != asked.commit:
                raise RefusedError(f"{asked.name} is not what {origin.name} runs", "push it anew with --from")
            return self.there(origin)
        commits = self.there(current) if current else {}
        for name in self.site.layers():
            if name not in commits and name in self.repositories:
                tip = self.repositories[name].ref(MAIN)
                if tip is not None and not channel.signed:  # what enters is signed by nobody
                    commits[name] = tip
        return commits | {asked.repository: asked.commit}

    def there(self, release: Release) -> dict[str, bytes]:
        """The commits of a release, but for layers that were removed.

        Raises NotFoundError, and what is wrong with one.
        """
        for name in release.commits:
            if name in self.faults:
                raise self.faults[name]
        if release.prototype not in self.repositories:
            raise NotFoundError(
                f"there is no prototype {release.prototype} any more", "gitstate channel remove ends it"
            )
        return {name: oid for name, oid in release.commits.items() if name in self.repositories}

    def release(
        self,
        channel: Channel,
        name: Name,
        commits: dict[str, bytes],
        current: Release | None,
        author: Signature,
        message: str,
    ) -> Done:
        """Make a release of ``commits``; nobody is told of it yet."""
        steps = publishing.prepare(self.site, channel.prototype, commits[channel.prototype], self._observer)
        self._step("export")
        self._rendered_at = open_directory(self.site).revision()
        steps += archives.make(self.site, name, channel.prototype, commits, current, self._observer)
        self._step("archives")
        for one, commit in commits.items():
            if current is None or current.commits.get(one) != commit:
                self._pin(self.repositories[one], name, commit)
        self._step("pin")
        self._observer.phase("release")
        who = author, self._committer
        made = self.book.append(name, channel.prototype, commits, current, who, message, self._facts(name.channel))
        self._step("release")
        return Done(made, current, steps)

    def _facts(self, channel: str) -> dict[str, bytes]:
        """What the channel's clients have reported of themselves: layers are rendered by it."""
        reports = Reports(self.site).blobs()
        names = {client.name for client in archives.followers(self.directory, channel)} if reports else ()
        return {host: oid for host, oid in reports.items() if host in names}

    def _pin(self, repository: Repository, name: Name, commit: bytes) -> None:
        """Keep a commit from gc. What an earlier try has left is of no release and moves."""
        ref = f"{PINS}{name}"
        standing = repository.ref(ref)
        if standing != commit:
            repository.move_refs([(ref, commit, standing)], f"release: {name}")

    # --- all that others see ---

    def settle(self, channel: Channel, release: Release) -> list[str]:
        """Let boot files and the directory say what the channel runs; what had to be changed. Raises GitstateError."""
        if self._rendered_at is not None and open_directory(self.site).revision() != self._rendered_at:
            refresh.refresh(self.site, self._observer)  # a client that came meanwhile was given the former release's
        self._rendered_at = None
        changed = publishing.announce(self.site, release, self._observer)
        self._step("boot")
        if (channel.release, channel.commit) != (str(release.name), release.commit.hex()):
            shown = _mirrored(channel, release)
            self.directory.change_channels([shown], [], self._committer, f"{release.name} released", self._committer)
            changed.append(f"directory: {channel.name} runs {release.name}")
        self._step("directory")
        before = self.book.before(release)
        archives.forget(self.site, channel.name, [release, *([before] if before else [])], self._observer)
        return changed


def _mirrored(channel: Channel, release: Release) -> Channel:
    from dataclasses import replace

    return replace(channel, release=str(release.name), commit=release.commit.hex())


def source(book: ReleaseLog, asked: ReleaseRequest) -> Release | None:
    """The release of another channel that a tag says it promotes. Raises NotFoundError."""
    last = asked.tag.message.rstrip().rpartition("\n\n")[2]
    said = [line.removeprefix(f"{FROM}: ") for line in last.splitlines() if line.startswith(f"{FROM}: ")]
    if not said:
        return None
    channel, slash, version = said[-1].partition("/")
    found = book.get(Name(channel, version)) if slash and version else None
    if found is None:
        raise NotFoundError(f"{asked.name} is from {said[-1]}, which is no release", f"gitstate channel show {channel}")
    return found


def alone(book: ReleaseLog, command: str) -> AbstractContextManager[None]:
    """Be the only one who publishes, after whoever does so now. Raises LockedError after ten minutes."""
    return wait_for_lock(lambda: book.lock(command))


def reconcile(
    site: Site,
    committer: Signature,
    observer: Observer,
    *,
    only: str | None = None,
    step: Step = lambda name: None,
) -> Outcome:
    """Publish what tags ask for, in all channels or ``only`` one, and finish what was begun. Raises LockedError."""
    outcome = Outcome()
    book = ReleaseLog(site)
    if open_directory(site).channels():
        with alone(book, "reconcile"):
            publisher = Publisher(site, book, committer, observer, step)
            for repository in publisher.repositories.values():
                hooks.install(repository.path)
            for name, channel in publisher.directory.channels().items():
                if only in (None, name):
                    _one_channel(publisher, channel, outcome)
    return outcome


def foresee(site: Site, committer: Signature, observer: Observer) -> Outcome:
    """What ``reconcile`` would publish, and what it would refuse, as things stand; nothing is written."""
    outcome = Outcome()
    publisher = Publisher(site, ReleaseLog(site), committer, observer, lambda name: None)
    for channel in publisher.directory.channels().values():
        for asked in _in_order(publisher, channel, outcome):
            try:
                current = publisher.book.current(channel.name)
                if _is_wanted(publisher, channel, asked, current, outcome):
                    repository = publisher.repositories[asked.repository]
                    wishes.check(site, channel, repository, asked, current, observer)
                    outcome.foreseen.append(asked)
            except GitstateError as error:
                outcome.problems.append(Problem(channel.name, str(asked.name), error))
    return outcome


def _one_channel(publisher: Publisher, channel: Channel, outcome: Outcome) -> None:
    try:
        running = publisher.book.current(channel.name)
        if running is not None:
            publisher.book.tagged(running)
        for asked in _in_order(publisher, channel, outcome):
            try:
                with told():
                    _one_tag(publisher, channel, asked, outcome)
            except GitstateError as error:
                outcome.problems.append(Problem(channel.name, str(asked.name), error))
                if error.kind in _STOPS:
                    return
        release = publisher.book.current(channel.name)
        if release is not None:
            with told():
                changed = publisher.settle(publisher.directory.channels()[channel.name], release)
            now = [done for done in outcome.published if done.release.oid == release.oid]
            (now[0].steps if now else outcome.mended).extend(changed)
    except GitstateError as error:
        outcome.problems.append(Problem(channel.name, channel.name, error))


@contextmanager
def told() -> Iterator[None]:
    """The system's errors as ours: one channel's trouble doesn't keep the others from their turn."""
    try:
        yield
    except OSError as error:
        where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        kind = StorageError if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else HostError
        raise kind(f"{where}{error.strerror or error}", "fix that, then: gitstate reconcile") from None


def _in_order(publisher: Publisher, channel: Channel, outcome: Outcome) -> list[ReleaseRequest]:
    """The tags to be released, oldest first; of a channel without a release those of its prototype first."""
    found = []
    for wish in wishes.pending(publisher.repositories, publisher.book, channel.name):
        try:
            found.append(wishes.look_into(publisher.repositories[wish.repository], wish))
        except GitstateError as error:
            outcome.problems.append(Problem(channel.name, str(wish.name), error))
    begun = publisher.book.current(channel.name) is not None
    return sorted(found, key=lambda one: (not begun and one.repository != channel.prototype, *one.order))


def _one_tag(publisher: Publisher, channel: Channel, asked: ReleaseRequest, outcome: Outcome) -> None:
    current = publisher.book.current(channel.name)
    if _is_wanted(publisher, channel, asked, current, outcome):
        outcome.published.append(publisher.publish(channel, asked, current))


def _is_wanted(
    publisher: Publisher, channel: Channel, asked: ReleaseRequest, current: Release | None, outcome: Outcome
) -> bool:
    """Whether nothing but the content of ``asked`` remains to be looked into.

    Raises RefusedError, ConflictError, NotFoundError.
    """
    wishes.check_place(channel, asked.repository, publisher.site, current)
    newer = wishes.overtaken_by(publisher.book, publisher.repositories, asked)
    if newer is not None:
        outcome.overtaken.append((asked.wish, newer))
        return False
    wishes.check_name(publisher.book, publisher.repositories, asked.wish)
    return True
