"""Tags that request releases: found in the refs, and checked before anything is done."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from gitstate.core import fs, git, process
from gitstate.core.errors import ConflictError, DamagedError, NotFoundError, RefusedError, UsageError
from gitstate.core.failures import ProgramError
from gitstate.core.monitor import Observer
from gitstate.directory import Channel
from gitstate.release.content import Inspector, allowances
from gitstate.release.log import ReleaseLog
from gitstate.release.models import TAGS, Name, PendingTag, Release, ReleaseRequest, number, version_name
from gitstate.store import Repository, Type
from gitstate.store.site import Site


def pending(repositories: Mapping[str, Repository], log: ReleaseLog, channel: str) -> Iterator[PendingTag]:
    """The tags under a channel's name that no release came from, valid or not. Raises DamagedError."""
    for repository, opened in repositories.items():
        for ref, oid in opened.refs(f"{TAGS}{channel}/").items():
            name = Name(channel, ref.removeprefix(f"{TAGS}{channel}/"))
            if "/" in name.version or log.origin(name) != (repository, oid):
                yield PendingTag(repository, name, oid)


def request_of(repository: Repository, pending: PendingTag) -> ReleaseRequest:
    """What the tag requests. Raises RefusedError if no release can come from it."""
    tag = repository.tag(pending.oid)
    if tag is None:
        raise RefusedError(f"{pending.name} is no annotated tag", f"git tag -a {pending.name} makes one")
    try:
        version_name(pending.name.version)
    except UsageError as error:
        raise RefusedError(f"{pending.name}: {error.message}", error.hint) from None
    if tag.name != str(pending.name):
        raise RefusedError(
            f"the tag at {pending.name} calls itself {tag.name}", "a signed tag counts under its own name only"
        )
    if tag.kind is not Type.COMMIT:
        raise RefusedError(f"{pending.name} names no commit but a {tag.kind.name.lower()}", "tag a commit")
    return ReleaseRequest(pending, tag)


def check_repository(channel: Channel, repository: str, site: Site, current: Release | None) -> None:
    """Raise RefusedError for another prototype, NotFoundError for a layer before the channel's first release."""
    if repository == channel.prototype:
        return
    if repository in site.prototypes():
        hint = f"its prototype is {channel.prototype}: gitstate channel show {channel.name}"
        raise RefusedError(f"{repository} can't release {channel.name}", hint)
    if current is None:
        hint = f"first its prototype: gitstate push {channel.prototype} {channel.name}"
        raise NotFoundError(f"{channel.name} has no release that {repository} could join", hint)


def check_name(log: ReleaseLog, repositories: Mapping[str, Repository], pending: PendingTag) -> None:
    """Raise ConflictError if the version is taken: a release's name is never reused."""
    release = log.get(pending.name)
    if release is not None and release.tag != (pending.repository, pending.oid):
        raise ConflictError(f"there is a release {pending.name} already", "tags aren't reused: take the next number")
    for name, repository in repositories.items():
        if name != pending.repository and repository.object_at(f"{TAGS}{pending.name}") is not None:
            raise ConflictError(f"{name} has a tag {pending.name} already", "one of them must go: take the next number")


def superseded_by(log: ReleaseLog, repositories: Mapping[str, Repository], request: ReleaseRequest) -> Name | None:
    """The latest release from the same repository if that is the newer of the two, else None."""
    for release in log.of(request.name.channel):
        if release.tag is not None and release.tag[0] == request.repository:
            tag = repositories[request.repository].tag(release.tag[1])
            if tag is None:
                return None
            before = ReleaseRequest(PendingTag(request.repository, release.name, release.tag[1]), tag)
            return release.name if _is_newer(before, request) else None
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
    request: ReleaseRequest,
    current: Release | None,
    observer: Observer,
) -> None:
    """Check signature and content of what is requested. Raises RefusedError, DamagedError, ConfigError."""
    if channel.signed:
        verify_signature(site, repository, request.pending.oid, str(request.name))
    check_content(repository, request.repository, request.commit, current, observer)


def check_content(
    repository: Repository, name: str, commit: bytes, current: Release | None, observer: Observer
) -> None:
    """Check what ``commit`` adds to the current release. Raises RefusedError, DamagedError, ConfigError."""
    running = current.commits.get(name) if current else None
    if commit == running:
        return
    observer.phase(f"check {name}")
    Inspector(repository, observer).inspect(commit, [running] if running else [], allowances(repository, commit))


# --- signatures -------------------------------------------------------------------------------------------------------


def signers(site: Site) -> Path:
    """Who may sign by ssh: the form of ssh-keygen(1), ALLOWED SIGNERS."""
    return site.path / "allowed_signers"


def revoked(site: Site) -> Path:
    """Keys that no longer count, whatever the list of signers says; needn't exist."""
    return site.path / "revoked_signers"


def keyring(site: Site) -> Path:
    """GnuPG's directory with the keys of those who may sign by gpg, and no others."""
    return site.path / "gnupg"


def verify_signature(site: Site, repository: Repository, tag: bytes, name: str) -> None:
    """Raise RefusedError unless the tag object ``tag`` is signed by somebody whom the site allows to."""
    settings = {
        "gpg.program": "gpg",
        "gpg.minTrustLevel": "undefined",
        "gpg.ssh.program": "ssh-keygen",
        "gpg.ssh.allowedSignersFile": str(signers(site)),
    }
    if not fs.is_free(revoked(site)):
        settings["gpg.ssh.revocationFile"] = str(revoked(site))
    argv = git.on(repository.path, "verify-tag", tag.hex(), config=settings)
    try:
        process.run(argv, variables={"GNUPGHOME": str(keyring(site))})
    except ProgramError as error:
        if isinstance(error, DamagedError):
            raise
        hint = f"sign it (git tag -s) with a key of {signers(site)}, or of the key ring in {keyring(site)}"
        raise RefusedError(f"{name} is signed by nobody who may: {_last_line(error.said)}", hint) from None


def _last_line(said: str) -> str:
    """git's or its helper's last word; of gpg, which ends with fingerprints, its warning."""
    lines = [line.removeprefix("error: ").strip() for line in said.splitlines() if line.strip()]
    warnings = [line for line in lines if re.match("gpg: (WARNING|Note): (?!.* not certified)", line)]
    return [*lines, *warnings][-1] if lines else "no reason given"
