"""What a channel is, what asks for a release of it, and what a release is; names parsed at the door."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from gitstate.core.errors import GitstateError, PartlyDoneError, UsageError
from gitstate.core.names import word
from gitstate.store.tags import Tag

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
    """A tag ``CHANNEL/VERSION`` in a repository that is no release yet; ``oid`` is what the ref stands at."""

    repository: str
    name: Name
    oid: bytes


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A wish that was looked into: its annotated tag names a commit, and itself."""

    wish: PendingTag
    tag: Tag

    @property
    def repository(self) -> str:
        return self.wish.repository

    @property
    def name(self) -> Name:
        return self.wish.name

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

    ``tag`` is the object that asked for it, with the repository it stands in; None for a rollback, which says in
    ``rollback`` to which release it went back.
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
    def layers(self) -> dict[str, bytes]:
        """Commits of layers, by name."""
        return {name: oid for name, oid in self.commits.items() if name != self.prototype}


@dataclass(frozen=True, slots=True)
class Done:
    """A release that was made, the one before it, and in words what was done for it."""

    release: Release
    before: Release | None
    steps: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Problem:
    """``what``, a tag or a channel, wasn't released or put in order, and why."""

    channel: str
    what: str
    error: GitstateError

    @property
    def words(self) -> str:
        """All of it in a line."""
        state = "is not in order yet" if self.what == self.channel else "is not released"
        return f"{self.what} {state}: {self.error.message}"


def unfinished(name: Name, problem: Problem) -> PartlyDoneError:
    """For a release that was made and that not everybody was told of."""
    return PartlyDoneError(f"{name} is released, but {problem.words}", f"{problem.error.hint}; then gitstate reconcile")


@dataclass(slots=True)
class Outcome:
    """What a reconcile did; of one that only looks, what it would do.

    ``overtaken`` are tags that never will be released, as a newer one of the same repository was. ``mended`` tells in
    words what of earlier releases was put in order.
    """

    published: list[Done] = field(default_factory=list)
    foreseen: list[ReleaseRequest] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    overtaken: list[tuple[PendingTag, Name]] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)
