"""The command line and the mounts of a program that runs inside a live tree, with processes of its own.

The mounts are made in a namespace of the child alone: the server, and a check-in meanwhile, see the tree as it is on
disk, and the kernel removes them after the last process. Everything in it dies with us.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.data import data_file
from gitstate.tree.mounts.make import apply
from gitstate.tree.mounts.plan import Plan

_DIES_WITH_US: Final = ("setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child=KILL")


def in_chroot(live: Path, variables: Sequence[str], words: Sequence[str]) -> list[str]:
    """The command line for ``words`` in a chroot, with the variables ``NAME=VALUE`` alone."""
    return [*_DIES_WITH_US, "--ipc", "--uts", "--", "sh", _script("enter"), str(live), *variables, *words]


def in_container(live: Path, variables: Sequence[str], words: Sequence[str], *options: str) -> list[str]:
    """The same in a container of systemd-nspawn, which takes more ``options``."""
    settings = (f"--setenv={one}" for one in variables)
    start = ("sh", _script("contain"), f"--directory={live}", *options, *settings)
    return [*_DIES_WITH_US, "--mount", "--propagation=private", "--", *start, "--", *words]


def before(todo: Plan) -> Callable[[], None]:
    """What the child does before it becomes the program: mount, for itself alone."""
    return partial(_mount, todo)


def _mount(todo: Plan) -> None:
    fs.leave_mounts()
    apply(todo)


def _script(name: str) -> str:
    return str(data_file("hooks", name))
