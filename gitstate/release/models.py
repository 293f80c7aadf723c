"""Releases, the tags that request them, and what became of those; names are parsed here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gitstate.core.errors import GitstateError, PartlyDoneError, UsageError
from gitstate.core.names import word
from gitstate.store.objects import Tag

TAGS: Final = "refs/tags/"
PINS: Final = "refs/gitstate/released/"
"""Where a repository keeps the commits of releases from gc, as ``CHANNEL/VERSION``."""

_NUMBER: Final = re.compile("[1-9][0-9]{0,8}")
_CHUNK: Final = re.compile("[0-9]+|[^0-9]+")


def version_name(text: str) -> str:
    """A release's version: the part of a tag's name after the channel. Raises UsageError."""
    return word(text, "a version")


def number(version: str) -> int | None:
    """The number that ``gitstate push`` gave; None for a version that a person chose."""
    return int(version) if _NUMBER.fullmatch(version) else None


def natural(version: str) -> list[tuple[int, int, str]]:
    """A key that sorts versions as people read them: 2 before 10, 2025-03 before 2025-11."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _CHUNK.findall(version)]


class Name(NamedTuple):
    """One release's name."""

    channel: str
    version: str

    def __str__(self) -> str:
        return f"{self.channel}/{self.version}"


def release_name(text: str, channel: str) -> Name:
    """``CHANNEL/VERSION``, or the version alone, of ``channel``. Raises UsageError."""
    before, slash, version = text.rpartition("/")
    if slash and before != channel:
        raise UsageError(f"{text} is no release of {channel}", f"write {channel}/VERSION")
    return Name(channel, version_name(version))


@dataclass(frozen=True, slots=True)
class PendingTag:
    """A tag ``CHANNEL/VERSION`` in a repository that is no release yet; ``oid`` is what the ref points at."""

    repository: str
    name: Name
    oid: bytes


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A pending tag that is annotated, names a commit, and carries its own name."""

    pending: PendingTag
    tag: Tag

    @property
    def repository(self) -> str:
        return self.pending.repository

    @property
    def name(self) -> Name:
        return self.pending.name

    @property
    def commit(self) -> bytes:
        return self.tag.target

    @property
    def order(self) -> tuple[bool, int, list[tuple[int, int, str]]]:
        """Oldest first: by number where there is one, else by the tagger's clock."""
        numbered = number(self.name.version)
        return numbered is None, numbered or self.tag.tagger.when, natural(self.name.version)


@dataclass(frozen=True, slots=True)
class Release:
    """What a channel ran or runs: a commit in ``site.git`` that names a commit of each repository.

    ``tag`` is the tag object that requested it, with its repository; None for a rollback, whose ``rollback`` is the
    release that it went back to.
    """

    name: Name
    oid: bytes
    previous: bytes | None
    prototype: str
    commits: Mapping[str, bytes]
    author: str
    when: int
    message: str
    tag: tuple[str, bytes] | None = None
    rollback: Name | None = None

    @property
    def commit(self) -> bytes:
        """The prototype's commit."""
        return self.commits[self.prototype]

    @property
    def snapshot(self) -> tuple[str, bytes]:
        """The prototype and its commit."""
        return self.prototype, self.commit

    @property
    def layers(self) -> dict[str, bytes]:
        """Commits of layers, by name."""
        return {name: oid for name, oid in self.commits.items() if name != self.prototype}


@dataclass(frozen=True, slots=True)
class NextRelease:
    """A release to be made: its commits by repository; ``before`` is what its channel runs until then."""

    name: Name
    prototype: str
    commits: Mapping[str, bytes]
    before: Release | None

    @property
    def commit(self) -> bytes:
        """The prototype's commit."""
        return self.commits[self.prototype]


@dataclass(frozen=True, slots=True)
class MadeRelease:
    """A new release, the one before it, and what was done for it, as text."""

    release: Release
    before: Release | None
    steps: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why ``what``, a tag or a channel, wasn't released or repaired."""

    channel: str
    what: str
    error: GitstateError

    @property
    def message(self) -> str:
        """All of it in one line."""
        state = "is not finished yet" if self.what == self.channel else "is not released"
        return f"{self.what} {state}: {self.error.message}"


def unfinished(name: Name, problem: Problem) -> PartlyDoneError:
    """The error for a release that was made and that boot files or directory don't show yet."""
    return PartlyDoneError(
        f"{name} is released, but {problem.message}", f"{problem.error.hint}; then gitstate reconcile"
    )


@dataclass(slots=True)
class ReconcileResult:
    """What a reconcile did; ``pending`` is what a preview would publish.

    ``superseded`` are tags that never will be released, each with the newer release of the same repository.
    ``repaired`` is what was finished of earlier releases, as text, or would be.
    """

    published: list[MadeRelease] = field(default_factory=list)
    pending: list[ReleaseRequest] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    superseded: list[tuple[PendingTag, Name]] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
