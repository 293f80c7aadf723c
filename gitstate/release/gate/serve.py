"""What somebody's ssh may ask for: git's two services, on one repository that is named and not pathed; and to say what
a machine says: its hardware, and the edits that were made on it."""

from __future__ import annotations

import enum
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core import git
from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.names import display, host_name
from gitstate.release.models import TAGS, Name, PendingTag
from gitstate.release.opened import OpenedSite
from gitstate.release.requests import pending
from gitstate.store.site import Site

_SERVICES: Final = {"receive-pack": True, "upload-pack": False}
_COMMAND: Final = re.compile(r"git[- ](receive-pack|upload-pack) (.+)", re.DOTALL)
_MACHINE: Final = re.compile(r"(report|checkin|checkin-live) (\S+)")
_LONGEST: Final = 400


@dataclass(frozen=True, slots=True)
class Service:
    """git's side of a push or a fetch: which program, on which repository."""

    name: str
    repository: str
    path: Path

    @property
    def writes(self) -> bool:
        return _SERVICES[self.name]

    @property
    def argv(self) -> list[str | bytes]:
        """The command that serves, told nothing that the other side has chosen but the repository."""
        strict = [] if self.writes else ["--strict"]
        return git.command(self.name, *strict, str(self.path), config=git.hooks_of(self.path))


@dataclass(frozen=True, slots=True)
class Report:
    """A report of a machine's hardware, on standard input; which machine, only this word says."""

    host: str


@dataclass(frozen=True, slots=True)
class CheckIn:
    """Edits that were made on a machine, on standard input; which machine, only this word says.

    ``is_live``: they were made in the live tree that it boots, and only who asks is on standard input.
    """

    host: str
    is_live: bool = False


class Accepts(enum.Enum):
    """What a key may ask for; the values are what it is for, in words."""

    ALL = "git push, git fetch, report HOST and checkin HOST"
    MACHINE = "gitstate probe --report and gitstate checkin on machines"
    REPORTS = "gitstate probe --report alone"


def parse(site: Site, command: str | None, accepts: Accepts = Accepts.ALL) -> Service | Report | CheckIn:
    """What ssh was asked to run. Raises UsageError for anything that the key doesn't accept, NotFoundError."""
    if not command:
        raise UsageError("no shell here", "git push and git fetch are served: ssh://SERVER/desktop")
    asked = _MACHINE.fullmatch(command) if len(command) <= _LONGEST else None
    if asked and (asked[1] == "report" or accepts is not Accepts.REPORTS):
        host = host_name(asked[2])
        return Report(host) if asked[1] == "report" else CheckIn(host, asked[1] == "checkin-live")
    if accepts is not Accepts.ALL:
        raise UsageError(f"{_shown(command)} is not served with this key", f"it is for {accepts.value}")
    found = _COMMAND.fullmatch(command) if len(command) <= _LONGEST else None
    words = _words(found[2]) if found else []
    if found is None or len(words) != 1:
        raise UsageError(f"{_shown(command)} is not served here", f"{Accepts.ALL.value} are")
    name = words[0].removeprefix("/").removesuffix("/").removesuffix(".git")
    try:
        path = site.repository_path(name)
        site.repository(name)
    except UsageError:
        raise UsageError(f"{_shown(words[0])} names no repository", "such as desktop or lab/lab3") from None
    except NotFoundError:
        raise NotFoundError(f"there is no repository {name}", "ask who runs this site") from None
    return Service(found[1], name, path)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


def _shown(text: str) -> str:
    return display(text[:60].encode("utf-8", "surrogateescape"))


def tags_of(opened: OpenedSite, repository: str) -> dict[Name, bytes]:
    """The tags ``CHANNEL/VERSION`` of a repository, for existing channels."""
    channels = opened.directory.channels()
    found = {}
    for ref, oid in opened.site.repository(repository).refs(TAGS).items():
        channel, slash, version = ref.removeprefix(TAGS).partition("/")
        if slash and channel in channels:
            found[Name(channel, version)] = oid
    return found


def not_released(opened: OpenedSite, repository: str, tags: dict[Name, bytes]) -> list[PendingTag]:
    """Those of ``tags`` that no release came from. Raises DamagedError."""
    repositories = {repository: opened.site.repository(repository)}
    found: list[PendingTag] = []
    for channel in sorted({name.channel for name in tags}):
        found += [one for one in pending(repositories, opened.releases, channel) if one.name in tags]
    return found
