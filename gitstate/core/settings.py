"""The only reader of environment variables, the time zone and the host name."""

from __future__ import annotations

import os
import pwd
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core import process
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
    author: str | None
    ssh_command: str | None = None
    """The command that an ssh client asked for, where its key has a forced command."""
    credentials: Path | None = None
    """systemd's directory of this process's credentials."""


def read() -> Settings:
    """Read the environment, and remove variables that would make git work on another repository."""
    environment = os.environ
    author = None
    if environment.get("GIT_AUTHOR_NAME"):
        author = f"{environment['GIT_AUTHOR_NAME']} <{environment.get('GIT_AUTHOR_EMAIL', '')}>"
    credentials = environment.get("CREDENTIALS_DIRECTORY")
    settings = Settings(
        site=Path(environment.get("GITSTATE_SITE") or DEFAULT_SITE),
        colour="NO_COLOR" not in environment and environment.get("TERM") != "dumb",
        author=author,
        ssh_command=environment.get("SSH_ORIGINAL_COMMAND"),
        credentials=Path(credentials) if credentials else None,
    )
    for name in [name for name in environment if name.startswith("GIT_")]:
        del environment[name]
    return settings


def author(settings: Settings, given: str | None) -> Signature:
    """Who makes a commit: ``--author``, GIT_AUTHOR_*, git's configuration, or who called sudo. Raises UsageError."""
    who = given or settings.author or _configured() or caller()
    if not _PERSON.fullmatch(who):
        raise UsageError(f"{who!r} is not an author", "write it as 'Name <mail@example.org>'")
    return Signature(who, *_now())


def committer() -> Signature:
    """The signature of gitstate on this host."""
    return Signature(f"gitstate <root@{os.uname().nodename}>", *_now())


def _configured() -> str | None:
    try:
        name = process.run(["git", "config", "--global", "user.name"], accept=(0, 1)).decode(errors="replace").strip()
        mail = process.run(["git", "config", "--global", "user.email"], accept=(0, 1)).decode(errors="replace").strip()
    except ProgramError:
        return None
    return f"{name} <{mail}>" if name else None


def caller() -> str:
    """The account that started us; under sudo, the caller's."""
    name = os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    return f"{name} <{name}@{os.uname().nodename}>"


def _now() -> tuple[int, str]:
    now = time.time()
    minutes = time.localtime(now).tm_gmtoff // 60
    sign = "-" if minutes < 0 else "+"
    return int(now), f"{sign}{abs(minutes) // 60:02d}{abs(minutes) % 60:02d}"
