"""A root shell, or one program, in a live tree: in a container of systemd-nspawn, or in namespaces."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from gitstate.core import environment, process
from gitstate.core.errors import GitstateError
from gitstate.core.fs import open_descriptor_tree
from gitstate.store import Repository
from gitstate.tree import mounts
from gitstate.tree.mounts import Mount, Scope
from gitstate.tree.prepare.tree_files import ABOUT
from gitstate.tree.shell.requests import INSIDE, WRAPPED, Answer, open_desk

_HERE: Final = f"/{INSIDE}"
_PATH: Final = f"PATH={_HERE}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_passed: Final = re.compile("TERM|COLORTERM|NO_COLOR|TZ|(https?|ftp|all|no)_proxy|(HTTPS?|FTP|ALL|NO)_PROXY").fullmatch
_name: Final = re.compile(rb"[A-Za-z0-9._+/-]{1,100}").fullmatch


class Way(StrEnum):
    """What separates the programs inside from the server."""

    NSPAWN = "nspawn"
    NAMESPACES = "namespaces"


@dataclass(frozen=True, slots=True)
class Plan:
    """``words`` are run with ``variables``; ``packages``: hooks of package managers tell us."""

    live: Path
    way: Way
    words: tuple[str, ...]
    variables: tuple[str, ...]
    mounts: tuple[Mount, ...]
    wrapped: tuple[str, ...]
    packages: bool

    @property
    def argv(self) -> list[str]:
        """The command line that begins when the mounts are made."""
        if self.way is Way.NAMESPACES:
            return mounts.in_chroot(self.live, self.variables, self.words)
        console = "interactive" if sys.stdin.isatty() and sys.stdout.isatty() else "pipe"
        options = (f"--console={console}", f"--hostname={os.uname().nodename}")
        return mounts.in_container(self.live, self.variables, self.words, *options)


def plan(repository: Repository, live: Path, words: Sequence[str], *, packages: bool, nspawn: bool) -> Plan:
    """Plan to run ``words``, by default a shell, in a live tree; in a container only if ``nspawn`` and it runs here.

    Raises HostError, StorageError.
    """
    way = Way.NSPAWN if nspawn and _has_nspawn(live) else Way.NAMESPACES
    mounted = mounts.plan(live, repository.private / "shell", _scope(way)).mounts
    with open_descriptor_tree(live) as tree:
        about = (tree.read(ABOUT) or b"").partition(b"\n")[0]
        wrapped = tuple(name for name in WRAPPED if tree.lstat(f"usr/bin/{name}".encode()))
    name = about.decode() if _name(about) else repository.name
    variables = [
        _PATH,
        "HOME=/root",
        "USER=root",
        "LOGNAME=root",
        "LANG=C.UTF-8",
        "LESSHISTFILE=-",
        "SYSTEMD_OFFLINE=1",
    ]
    variables += [f"GITSTATE_SHELL={name}", f"debian_chroot={name}", f"APT_CONFIG={_HERE}/apt.conf"]
    variables += [f"{key}={value}" for key, value in environment.own().items() if _passed(key)]
    if not sys.stdin.isatty():
        variables.append("DEBIAN_FRONTEND=noninteractive")
    command = tuple(words) or ("/bin/sh", f"{_HERE}/login")
    return Plan(live, way, command, tuple(variables), mounted, wrapped, packages)


def run(repository: Repository, todo: Plan, answer: Answer, *, to_stderr: bool = False) -> int:
    """Run it on our own terminal, answering package managers; its exit code. Raises HostError, StorageError."""
    with repository.scratch() as place:
        mounted = mounts.plan(todo.live, place, _scope(todo.way))
        mounts.furnish(mounted)
        with (
            open_desk(place / "run", packages=todo.packages, wrapped=todo.wrapped) as desk,
            process.attended(todo.argv, mounts.before(mounted), to_stderr=to_stderr) as program,
        ):
            desk.serve(program.descriptor, answer)
            return program.wait()


def _scope(way: Way) -> Scope:
    return Scope.CONTAINER if way is Way.NSPAWN else Scope.PROCESSES


def _has_nspawn(live: Path) -> bool:
    """Whether systemd-nspawn can run a program in this tree: in other containers, or for an odd root, it can't."""
    try:
        process.run(mounts.in_container(live, (), ("/bin/true",), "--console=pipe", "--read-only"))
    except GitstateError:
        return False
    return True
