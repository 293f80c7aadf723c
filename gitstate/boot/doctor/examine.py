"""All that the doctor looks at, in one list."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Final

from gitstate.boot import files as publish
from gitstate.boot.doctor.models import Check, bad, note, ok
from gitstate.boot.doctor.place import place
from gitstate.boot.doctor.services import services
from gitstate.boot.files import kernel
from gitstate.boot.options import Options, load
from gitstate.core.errors import GitstateError
from gitstate.core.monitor import Observer
from gitstate.directory import Directory
from gitstate.release import refresh
from gitstate.release.publishing import running
from gitstate.store import MAIN
from gitstate.store.site import Site

_NAMED: Final = 3
_PROGRAMS: Final = {"git": "git", "ip": "iproute2", "groupadd": "passwd"}


def examine(site: Site, directory: Directory, observer: Observer) -> list[Check]:
    """Everything, in the order in which a machine meets it. What can't be looked at is a finding, never an error."""
    return list(_examine(site, directory, observer))


def _examine(site: Site, directory: Directory, observer: Observer) -> Iterator[Check]:
    observer.phase("programs")
    yield from _programs()
    options = None
    try:
        options = load(site)
    except GitstateError as error:
        yield bad("boot", error.message, error.hint)
    observer.phase("site")
    yield from place(site, options)
    if options is None:
        return
    observer.phase("services")
    yield from services(site, options)
    observer.phase("snapshots")
    yield from _prototypes(site, options)
    observer.phase("boot files")
    yield from _boot_files(site, directory, observer)
    observer.phase("layers")
    yield from _layers(site)


def _programs() -> Iterator[Check]:
    missing = [package for program, package in _PROGRAMS.items() if shutil.which(program) is None]
    if missing:
        yield bad("programs", f"missing: {', '.join(missing)}", f"apt-get install {' '.join(missing)}")


def _prototypes(site: Site, options: Options) -> Iterator[Check]:
    """The newest snapshot of each prototype: kernel, initrd and what is in it."""
    names = site.prototypes()
    if not names:
        yield note("prototypes", "none yet", "gitstate prototype create NAME")
    for name in names:
        try:
            repository = site.repository(name)
            tip = repository.ref(MAIN)
            if tip is None:
                yield note("prototypes", f"{name} has no snapshot yet", f"gitstate checkin {name} -m MESSAGE")
                continue
            files = kernel.Files(repository, repository.snapshot(tip).tree)
            found = kernel.find(files)
            kernel.check(repository, files, found, options.nfs_version, restores=False)
        except GitstateError as error:
            yield bad("prototypes", f"{name}: {error.message}", error.hint)
        else:
            yield ok("prototypes", f"{name} {tip.hex()[:7]}: kernel {found.version}, its initrd has our hook and NFS")


def _boot_files(site: Site, directory: Directory, observer: Observer) -> Iterator[Check]:
    """Whether clients have what they shall boot, and the files say so."""
    try:
        clients = directory.clients()
        plan = publish.plan(site, directory, observer, running=running(site))
    except GitstateError as error:
        yield bad("clients", error.message, error.hint)
        return
    if clients:
        yield ok("clients", f"{len(clients)}, each with a snapshot")
    else:
        yield note("clients", "none yet", "gitstate client add NAME --mac MAC --pin PROTOTYPE@REV")
    if plan:
        yield bad("boot files", "older than the directory or the settings", "gitstate boot write --reload")
    else:
        yield ok("boot files", "as the directory and the settings want them")


def _layers(site: Site) -> Iterator[Check]:
    """Whether clients have the archives that layers make of them."""
    try:
        found = refresh.look(site)
    except GitstateError as error:
        yield bad("layers", error.message, error.hint)
        return
    wrong = [host for one in found for host in (*one.added, *one.changed, *one.removed)]
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        names = ", ".join(sorted(wrong)[:_NAMED])
        yield bad("layers", f"not what it should be: the archive of {names}{more}", "gitstate boot write")
    elif count := sum(one.kept for one in found):
        yield ok("layers", f"rendered for {count} client{'s' if count > 1 else ''}")
