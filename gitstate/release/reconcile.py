"""Tags become releases. Whatever started a run, only the refs say what is to be done.

A release is made in this order: its tag and content are checked; what its clients need is made, and layers are rendered
for each of them; its commits are protected from gc; ``site.git`` moves, in one step; boot files follow; the directory
shows it. If that is interrupted before ``site.git`` moves, the channel keeps its release; after it, the next run
finishes the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Final

from gitstate.core import failures
from gitstate.core.errors import GitstateError, NotFoundError, PartlyDoneError, RefusedError
from gitstate.core.monitor import Observer
from gitstate.core.signature import Signature
from gitstate.core.wording import some_of
from gitstate.directory import Channel
from gitstate.machine.hardware.reports import Reports
from gitstate.release import archives, publishing, refresh, requests
from gitstate.release.log import ReleaseLog, tag_message
from gitstate.release.models import (
    PINS,
    MadeRelease,
    Name,
    NextRelease,
    Problem,
    ReconcileResult,
    Release,
    ReleaseRequest,
    unfinished,
)
from gitstate.release.opened import OpenedSite
from gitstate.store import MAIN, Repository, stale_locks
from gitstate.store.lock import wait_for_lock

Step = Callable[[str], None]

FROM: Final = "Gitstate-From"
_STOPS: Final = frozenset({"storage", "locked", "bug"})
"""Kinds of errors that are not the tag's fault: the channel's other tags would meet them too."""


class Publisher:
    """Makes releases of one site, one after the other; to be used under ``exclusive``."""

    def __init__(self, opened: OpenedSite, committer: Signature, observer: Observer, step: Step) -> None:
        self.opened = opened
        self.site = opened.site
        self.log = opened.releases
        self.directory = opened.directory
        self.repositories, self.faults = opened.repositories
        self._committer = committer
        self._observer = observer
        self._step = step
        self._rendered_at: str | None = None
        """The directory's revision for which the machine archives of a new release were made."""
        self._is_refreshed = False
        self._left_out: dict[str, Sequence[str]] = {}
        """Why secrets were left out of machine archives, by channel."""

    # --- one tag ---

    def publish(self, channel: Channel, request: ReleaseRequest, current: Release | None) -> MadeRelease:
        """Make the requested release. Raises GitstateError; the channel keeps its current release then."""
        repository = self.repositories[request.repository]
        requests.check(self.site, channel, repository, request, current, self._observer)
        commits = self.commits(channel, request, current)
        for name in sorted(commits.keys() - (current.commits if current else {}).keys() - {request.repository}):
            requests.check_content(self.repositories[name], name, commits[name], current, self._observer)
        message = tag_message(request, commits, current, repository)
        release = NextRelease(request.name, channel.prototype, commits, current)
        return self.release(release, request.tag.tagger, message)

    def commits(self, channel: Channel, request: ReleaseRequest, current: Release | None) -> dict[str, bytes]:
        """The commits that the release will have, by repository. Raises RefusedError, NotFoundError."""
        origin = promoted_release(self.log, request)
        if origin is not None and request.repository == channel.prototype:
            if origin.commits.get(request.repository) != request.commit:
                raise RefusedError(f"{request.name} is not what {origin.name} runs", "push it anew with --from")
            return self.existing_commits(origin)
        commits = self.existing_commits(current) if current else {}
        for name in self.site.layers():
            if name not in commits and name in self.repositories:
                tip = self.repositories[name].ref(MAIN)
                if tip is not None and not channel.signed:  # nobody has signed it
                    commits[name] = tip
        return commits | {request.repository: request.commit}

    def existing_commits(self, release: Release) -> dict[str, bytes]:
        """The commits of a release without those of removed layers.

        Raises NotFoundError if its prototype was removed, and the error of a repository that can't be opened.
        """
        for name in release.commits:
            if name in self.faults:
                raise self.faults[name]
        if release.prototype not in self.repositories:
            raise NotFoundError(
                f"there is no prototype {release.prototype} any more", "gitstate channel remove ends it"
            )
        return {name: oid for name, oid in release.commits.items() if name in self.repositories}

    def release(self, release: NextRelease, author: Signature, message: str) -> MadeRelease:
        """Make a release; boot files and directory don't show it yet."""
        steps = publishing.prepare(self.opened, release.prototype, release.commit, self._observer)
        self._step("export")
        self._rendered_at = self.directory.revision()
        rendered = archives.make(self.opened, release, self._observer)
        steps += rendered.steps
        self._left_out[release.name.channel] = rendered.left_out
        self._step("archives")
        for one, commit in release.commits.items():
            if release.before is None or release.before.commits.get(one) != commit:
                self._pin(self.repositories[one], release.name, commit)
        self._step("pin")
        self._observer.phase("release")
        made = self.log.append(release, (author, self._committer), message, self._facts(release.name.channel))
        self._step("release")
        return MadeRelease(made, release.before, steps)

    def _facts(self, channel: str) -> dict[str, bytes]:
        """The hardware reports of the channel's clients, which layers are rendered with."""
        reports = Reports(self.site).blobs()
        names = {client.name for client in archives.followers(self.directory, channel)} if reports else ()
        return {host: oid for host, oid in reports.items() if host in names}

    def _pin(self, repository: Repository, name: Name, commit: bytes) -> None:
        """Protect a commit from gc. A ref left by an interrupted try belongs to no release, and moves."""
        ref = f"{PINS}{name}"
        old = repository.ref(ref)
        if old != commit:
            repository.move_refs([(ref, commit, old)], f"release: {name}")

    # --- what machines and people see ---

    def finish(self, channel: Channel, release: Release, *, thorough: bool = False) -> list[str]:
        """Make boot files and directory show what the channel runs; return what was changed. Raises GitstateError.

        Its export is made again if it is missing or damaged. ``thorough``: if it looks damaged, too, and whatever else
        was interrupted is finished: archives after a report or a change, the rights of the boot group.
        """
        changed = publishing.make_export(self.opened, release.snapshot, self._observer, looks=thorough)
        is_behind = self._rendered_at is not None and self.directory.revision() != self._rendered_at
        if is_behind or (thorough and not self._is_refreshed):  # for clients that were added meanwhile
            for one in refresh.refresh(self.opened, self._observer):
                changed += [one.line] if one and not one.left_out else []
                self._left_out[one.release.name.channel] = one.left_out
            self._is_refreshed = True
        self._rendered_at = None
        changed += publishing.write_channel(self.opened, release, self._observer, all_rights=thorough)
        self._step("boot")
        before = self.log.before(release)
        archives.remove_old(self.opened, channel.name, [release, *([before] if before else [])], self._observer)
        if not publishing.is_shown(channel, release):  # last: whoever sees it knows that all is done
            shown = replace(channel, release=str(release.name), commit=release.commit.hex())
            self.directory.change_channels([shown], [], self._committer, f"{release.name} released", self._committer)
            changed.append(publishing.shown_line(release))
        self._step("directory")
        return changed

    def check_secrets(self, channel: str) -> None:
        """Raise PartlyDoneError if machines of the channel lack secrets that can't be laid."""
        if left_out := self._left_out.get(channel):
            message = f"machine archives lack secrets: {some_of(left_out, 3, '; ')}"
            raise PartlyDoneError(message, "move those secrets")

    def finish_or_tell(self, release: Release) -> list[str]:
        """``finish`` for a release that is made, whatever happens. Raises PartlyDoneError."""
        name = release.name.channel
        try:
            with translate_errors():
                changed = self.finish(self.directory.channels()[name], release)
                self.check_secrets(name)
                return changed
        except GitstateError as error:
            raise unfinished(release.name, Problem(name, name, error)) from None


def promoted_release(log: ReleaseLog, request: ReleaseRequest) -> Release | None:
    """The release of another channel that a tag promotes; None for most tags. Raises NotFoundError."""
    last = request.tag.message.rstrip().rpartition("\n\n")[2]
    said = [line.removeprefix(f"{FROM}: ") for line in last.splitlines() if line.startswith(f"{FROM}: ")]
    if not said:
        return None
    channel, slash, version = said[-1].partition("/")
    found = log.get(Name(channel, version)) if slash and version else None
    if found is None:
        raise NotFoundError(
            f"{request.name} is from {said[-1]}, which is no release", f"gitstate channel show {channel}"
        )
    return found


def exclusive(log: ReleaseLog, command: str) -> AbstractContextManager[None]:
    """Wait for the lock of releases and hold it. Raises LockedError after ten minutes."""
    return wait_for_lock(lambda: log.lock(command))


def finish(opened: OpenedSite, channel: str, committer: Signature, observer: Observer) -> list[str]:
    """Do what an interrupted command left undone of the release that a channel runs; return what was changed.

    Raises PartlyDoneError, LockedError.
    """
    with exclusive(opened.releases, "push"):
        release = opened.releases.current(channel)
        if release is None:
            return []
        publisher = Publisher(opened, committer, observer, lambda name: None)
        return publisher.finish_or_tell(publisher.log.tagged(release))


def reconcile(
    opened: OpenedSite,
    committer: Signature,
    observer: Observer,
    *,
    only: str | None = None,
    step: Step = lambda name: None,
) -> ReconcileResult:
    """Publish pending tags, of all channels or ``only`` one, and finish interrupted releases. Raises LockedError.

    Hooks and settings of repositories are renewed, where they are old or the site or gitstate was moved.
    """
    result = ReconcileResult()
    if not opened.directory.channels():
        _renew(opened.repositories[0])
        return result
    with exclusive(opened.releases, "reconcile"):
        publisher = Publisher(opened, committer, observer, step)
        _renew(publisher.repositories)
        if only is None:
            for repository in publisher.repositories.values():
                stale_locks.clear_idle(repository.path)  # a person who tags would meet that of a git that was killed
        for name, channel in publisher.directory.channels().items():
            if only in (None, name):
                _reconcile_channel(publisher, channel, result, thorough=only is None)
    return result


def _renew(repositories: Mapping[str, Repository]) -> None:
    for repository in repositories.values():
        repository.renew(hooked=True)


def preview(opened: OpenedSite, committer: Signature, observer: Observer) -> ReconcileResult:
    """What ``reconcile`` would publish and repair now, and what it would refuse; nothing is written."""
    result = ReconcileResult()
    publisher = Publisher(opened, committer, observer, lambda name: None)
    for channel in publisher.directory.channels().values():
        try:
            if release := publisher.log.current(channel.name):
                result.repaired += publishing.outstanding(opened, channel, release, observer, looks=True)
        except GitstateError as error:
            result.problems.append(Problem(channel.name, channel.name, error))
        for request in _requests(publisher, channel, result):
            try:
                current = publisher.log.current(channel.name)
                if _is_due(publisher, channel, request, current, result):
                    repository = publisher.repositories[request.repository]
                    requests.check(opened.site, channel, repository, request, current, observer)
                    result.pending.append(request)
            except GitstateError as error:
                result.problems.append(Problem(channel.name, str(request.name), error))
    return result


def _reconcile_channel(publisher: Publisher, channel: Channel, result: ReconcileResult, *, thorough: bool) -> None:
    try:
        running = publisher.log.current(channel.name)
        if running is not None:
            publisher.log.tagged(running)
        for request in _requests(publisher, channel, result):
            try:
                with translate_errors():
                    current = publisher.log.current(channel.name)
                    if _is_due(publisher, channel, request, current, result):
                        result.published.append(publisher.publish(channel, request, current))
            except GitstateError as error:
                result.problems.append(Problem(channel.name, str(request.name), error))
                if error.kind in _STOPS:
                    return
        release = publisher.log.current(channel.name)
        if release is not None:
            with translate_errors():
                changed = publisher.finish(publisher.directory.channels()[channel.name], release, thorough=thorough)
            now = [made for made in result.published if made.release.oid == release.oid]
            (now[0].steps if now else result.repaired).extend(changed)
            publisher.check_secrets(channel.name)
    except GitstateError as error:
        result.problems.append(Problem(channel.name, channel.name, error))


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise OSError as GitstateError, so that an error in one channel doesn't stop the others."""
    try:
        yield
    except OSError as error:
        found = failures.of_system(error)
        raise type(found)(found.message, f"{found.hint}; then: gitstate reconcile") from None


def _requests(publisher: Publisher, channel: Channel, result: ReconcileResult) -> list[ReleaseRequest]:
    """The requests of pending tags, oldest first; before a channel's first release those of its prototype first."""
    found = []
    for tag in requests.pending(publisher.repositories, publisher.log, channel.name):
        try:
            found.append(requests.request_of(publisher.repositories[tag.repository], tag))
        except GitstateError as error:
            result.problems.append(Problem(channel.name, str(tag.name), error))
    is_first = publisher.log.current(channel.name) is None
    return sorted(found, key=lambda one: (is_first and one.repository != channel.prototype, *one.order))


def _is_due(
    publisher: Publisher, channel: Channel, request: ReleaseRequest, current: Release | None, result: ReconcileResult
) -> bool:
    """Whether the request isn't superseded. Raises RefusedError, ConflictError, NotFoundError unless it is valid."""
    requests.check_repository(channel, request.repository, publisher.site, current)
    newer = requests.superseded_by(publisher.log, publisher.repositories, request)
    if newer is not None:
        result.superseded.append((request.pending, newer))
        return False
    requests.check_name(publisher.log, publisher.repositories, request.pending)
    return True
