"""What the environment, the time zone and the host name say; who makes a commit."""

from __future__ import annotations

import os
import pwd
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core import environment, git, process
from gitstate.core.errors import UsageError
from gitstate.core.failures import ProgramError
from gitstate.core.signature import Signature

DEFAULT_SITE: Final = Path("/srv/gitstate")
_PERSON = re.compile(r"[^<>\n\0]+ <[^<>\n\0]*>")


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment, read once."""

    site: Path
    colour: bool
    ssh_command: str | None = None
    """The command that an ssh client asked for, where its key has a forced command."""
    credentials: Path | None = None
    """systemd's directory of this process's credentials."""


def read() -> Settings:
    """Read the environment."""
    found = environment.own()
    credentials = found.get("CREDENTIALS_DIRECTORY")
    return Settings(
        site=Path(found.get("GITSTATE_SITE") or DEFAULT_SITE),
        colour="NO_COLOR" not in found and found.get("TERM") != "dumb",
        ssh_command=found.get("SSH_ORIGINAL_COMMAND"),
        credentials=Path(credentials) if credentials else None,
    )


def author(given: str | None, repository: Path) -> Signature:
    """Who makes a commit in ``repository``: ``--author``, what git would say, or who called sudo. Raises UsageError."""
    who = given or _known_to_git(repository) or caller()
    if not _PERSON.fullmatch(who):
        raise UsageError(f"{who!r} is not an author", "write it as 'Name <mail@example.org>'")
    return Signature(who, *_now())


_EDITORS: Final = ("GIT_EDITOR", "VISUAL", "EDITOR")


def committer() -> Signature:
    """The signature of gitstate on this host."""
    return Signature(f"gitstate <root@{os.uname().nodename}>", *_now())


def _known_to_git(repository: Path) -> str | None:
    """Name and mail address from GIT_AUTHOR_*, else from all of git's configuration; None without a name."""
    variables, configured = environment.own(), _configured(repository)
    name = variables.get("GIT_AUTHOR_NAME") or configured.get("author.name") or configured.get("user.name")
    mail = variables.get("GIT_AUTHOR_EMAIL") or configured.get("author.email") or configured.get("user.email")
    return f"{name} <{mail or variables.get('EMAIL', '')}>" if name else None


def _configured(repository: Path) -> Mapping[str, str]:
    """Asked of git itself: the person's file may include others, for this repository alone, too."""
    words = ("config", "--null", "--get-regexp", r"^(author|user)\.(name|email)$")
    try:
        found = process.run(git.on(repository, *words), personal=True, accept=(0, 1))
    except ProgramError:
        return {}
    pairs = (item.partition("\n") for item in found.decode(errors="replace").split("\0") if item)
    return {key: value.strip() for key, _, value in pairs}


def editor(repository: Path) -> str | None:
    """The shell command that git would open an editor with, in ``repository``; None where git knows none."""
    variables = {name: value for name, value in environment.own().items() if name in _EDITORS}
    try:
        found = process.run(git.on(repository, "var", "GIT_EDITOR"), personal=True, variables=variables)
    except ProgramError:
        return None
    return found.decode(errors="surrogateescape").strip()


def caller() -> str:
    """The account that started us; under sudo, the caller's."""
    name = environment.own().get("SUDO_USER") or _account(os.getuid())
    return f"{name} <{name}@{os.uname().nodename}>"


def _account(uid: int) -> str:
    """The name of an account; containers run programs under uids that have none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def _now() -> tuple[int, str]:
    now = time.time()
    minutes = time.localtime(now).tm_gmtoff // 60
    sign = "-" if minutes < 0 else "+"
    return int(now), f"{sign}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
