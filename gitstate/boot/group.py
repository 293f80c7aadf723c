"""The system group that may read ``tftp/``, the directory of logs, and the lock of both."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.boot.options import Options
from gitstate.core import fs, process
from gitstate.core.monitor import Observer
from gitstate.core.output import OutputRoot
from gitstate.store.lock import exclusive
from gitstate.store.site import Site

_WEB_USERS: Final = ("www-data", "nginx")
"""As whom nginx reads: Debian's name, and the others'."""
_LOG_MODE: Final = 0o750


@dataclass(frozen=True, slots=True)
class Group:
    """The group as it is, None if it isn't there yet, and who is to join it."""

    name: str
    gid: int | None
    join: tuple[str, ...]


def plan(options: Options) -> Group:
    """What there is of the group that ``options`` name."""
    try:
        found = grp.getgrnam(options.group)
    except KeyError:
        gid, members = None, []
    else:
        gid, members = found.gr_gid, found.gr_mem
    join = [user for user in _web_users(gid) if user not in members] if options.http else []
    return Group(options.group, gid, tuple(join))


def _web_users(gid: int | None) -> list[str]:
    """Those of nginx who aren't in the group by birth; none for root's own group, which nobody may join."""
    found = []
    for name in _WEB_USERS if gid != 0 else ():
        try:
            if pwd.getpwnam(name).pw_gid != gid:
                found.append(name)
        except KeyError:
            continue
    return found


def make(group: Group) -> int:
    """Make the group if need be, let users join; its number. Raises HostError, StorageError."""
    if group.gid is None:
        process.run(["groupadd", "--system", group.name])
    for user in group.join:
        process.run(["usermod", "--append", "--groups", group.name, user])
    return grp.getgrnam(group.name).gr_gid if group.gid is None else group.gid


def log_in_order(path: Path, gid: int | None) -> bool:
    """Whether the directory of logs is there with its rights; one that is a link is somebody else's care."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode):
        return fs.has_directory(path)
    return (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (_LOG_MODE, 0, gid)


def make_log(path: Path, gid: int) -> None:
    """Make the directory of logs, for the boot services to write."""
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, 0, gid)
        os.fchmod(descriptor, _LOG_MODE)
    finally:
        os.close(descriptor)


def open_output(site: Site, options: Options, observer: Observer) -> OutputRoot:
    """Return the output root for writing; its group is created if need be, and reported. Raises HostError."""
    planned = plan(options)
    gid = make(planned)
    if planned.gid is None:
        observer.notice(f"made the group {planned.name}, which may read {site.tftp}")
    for user in planned.join:
        observer.notice(f"{user} is a member of the group {planned.name} now")
    return OutputRoot(site.tftp, options.etc_path, gid)


def inspect_output(site: Site, options: Options, *, reads_content: bool = False) -> OutputRoot:
    """Return the output root for reading only."""
    return OutputRoot(site.tftp, options.etc_path, plan(options).gid, reads_content=reads_content)


def lock(site: Site) -> AbstractContextManager[None]:
    """Be the only one who writes boot files; a plan is made and carried out under it. Raises LockedError."""
    site.tftp.mkdir(mode=0o750, exist_ok=True)
    return exclusive(site.tftp, f"the boot files of {site.path} are being written")
