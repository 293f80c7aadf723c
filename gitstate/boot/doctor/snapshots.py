"""Installed programs, and whether the newest snapshots can boot."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Final

from gitstate.boot.doctor.models import Check, bad, note, ok
from gitstate.boot.files import kernel
from gitstate.boot.options import Options
from gitstate.core.errors import GitstateError
from gitstate.store import MAIN
from gitstate.store.site import Site

_PROGRAMS: Final = {"git": "git", "ip": "iproute2", "groupadd": "passwd"}


def programs() -> Iterator[Check]:
    """Programs that the server needs, by package."""
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        yield bad("programs", f"missing: {', '.join(missing)}", f"apt-get install {' '.join(missing)}")


def snapshots(site: Site, options: Options) -> Iterator[Check]:
    """The newest snapshot of each prototype: its kernel, its initrd and what that contains."""
    names = site.prototypes()
    if not names:
        yield note("prototypes", "none yet", "gitstate prototype create NAME")
    for name in names:
        try:
            yield _snapshot(site, name, options)
        except GitstateError as error:
            yield bad("prototypes", f"{name}: {error.message}", error.hint)


def _snapshot(site: Site, name: str, options: Options) -> Check:
    repository = site.repository(name)
    tip = repository.ref(MAIN)
    if tip is None:
        return note("prototypes", f"{name} has no snapshot yet", f"gitstate checkin {name} -m MESSAGE")
    files = kernel.Files(repository, repository.snapshot(tip).tree)
    found = kernel.find(files)
    kernel.check(repository, files, found, options.nfs_version, restores=False)
    return ok("prototypes", f"{name} {tip.hex()[:7]}: kernel {found.version}, its initrd has our hook and NFS")
