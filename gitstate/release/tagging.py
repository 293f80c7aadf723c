"""Annotated tags by the user's name: of any snapshot, and those that request a release."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gitstate.core.errors import ConflictError, GitstateError, RefusedError, UsageError
from gitstate.core.failures import ProgramError
from gitstate.core.monitor import Observer
from gitstate.core.signature import Signature
from gitstate.release.models import TAGS
from gitstate.release.opened import OpenedSite
from gitstate.store import Repository
from gitstate.tree.full_manifest import full_manifest

DIGEST = "Manifest-SHA256"
"""Lets anyone verify an export later, even without trust in git's SHA-1."""

CHECKED = "GITSTATE_CHECKED"
"""By this variable the hook knows that whoever makes a tag has checked it: to start once more takes long."""


@dataclass(frozen=True, slots=True)
class NewTag:
    """A tag to be made; ``channel`` would release it."""

    repository: Repository
    name: str
    commit: bytes
    channel: str | None


def plan(opened: OpenedSite, repository: str, name: str, revision: str) -> NewTag:
    """The tag ``name`` of a snapshot. Raises NotFoundError, ConflictError if there is one of that name."""
    source = opened.repository(repository)
    if source.object_at(f"{TAGS}{name}") is not None:
        raise _taken(name)
    channel = name.partition("/")[0] if "/" in name else None
    known = channel if channel in opened.directory.channels() else None
    return NewTag(source, name, source.resolve(revision), known)


def apply(tag: NewTag, text: str, tagger: Signature, observer: Observer, *, sign: bool) -> None:
    """Make it. Raises ConflictError, RefusedError by our own hook, UsageError for no name of a tag."""
    whole = message(tag.repository, tag.commit, text, {}, observer)
    make_tag(tag.repository, tag.name, tag.commit, whole, tagger, sign=sign)


def message(repository: Repository, commit: bytes, text: str, trailers: Mapping[str, str], observer: Observer) -> str:
    """The message of a tag, with the digest of the snapshot's manifest and other trailers. Raises DamagedError."""
    observer.phase("manifest")
    digest = hashlib.sha256()
    for line in full_manifest(repository, commit, observer):
        digest.update(line.encode("ascii"))
    lines = [f"{key}: {value}" for key, value in {DIGEST: digest.hexdigest(), **trailers}.items()]
    return f"{text.strip()}\n\n" + "\n".join(lines) + "\n"


def make_tag(
    repository: Repository,
    name: str,
    commit: bytes,
    text: str,
    tagger: Signature,
    *,
    sign: bool,
    is_checked: bool = False,
) -> None:
    """Make an annotated tag by git; our hook checks it, unless the caller did and will again when it is published.

    Raises ConflictError if it exists, RefusedError.
    """
    repository.renew()
    who, _, mail = tagger.who.rpartition(" <")
    variables = {
        "GIT_COMMITTER_NAME": who,
        "GIT_COMMITTER_EMAIL": mail.rstrip(">"),
        "GIT_COMMITTER_DATE": f"{tagger.when} {tagger.offset}",
        **({CHECKED: "yes"} if is_checked else {}),
    }
    kind = "--sign" if sign else "--no-sign"
    words = ["tag", "--annotate", kind, "--cleanup=verbatim", "--file=-", "--", name, commit.hex()]
    try:
        repository.git(*words, stdin=text.encode(), variables=variables, personal=sign)
    except ProgramError as error:
        if repository.object_at(f"{TAGS}{name}") is not None:
            raise _taken(name) from None
        raise _tag_error(error, name, sign=sign) from None


def _taken(name: str) -> ConflictError:
    return ConflictError(f"there is a tag {name} already", "choose another name")


def _tag_error(error: ProgramError, name: str, *, sign: bool) -> GitstateError:
    """What our own hook printed, or what is wrong with a key."""
    lines = error.said.splitlines()
    ours = [number for number, line in enumerate(lines) if line.startswith("gitstate: ")]
    if ours:
        message, hint = lines[ours[0]].removeprefix("gitstate: "), lines[ours[0] + 1 : ours[0] + 2]
        return RefusedError(message, hint[0].strip() if hint else "git's hook said no")
    if "not a valid tag name" in error.said:
        return UsageError(f"{name!a} can't be the name of a tag", "letters, digits and . _ - as in v1 or lab3/2026-03")
    if sign and re.search("sign|secret key|gpg", error.said):
        return RefusedError(error.message, "see git help tag: user.signingkey, and for ssh gpg.format=ssh")
    return error
