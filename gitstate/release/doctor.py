"""gitstate doctor: whether this server can boot machines, checked in the order in which a machine meets it."""

from __future__ import annotations

from collections.abc import Iterator

from gitstate.boot.doctor.models import Check, bad, note, ok
from gitstate.boot.doctor.permissions import permissions
from gitstate.boot.doctor.services import services
from gitstate.boot.doctor.snapshots import programs, snapshots
from gitstate.core.errors import GitstateError
from gitstate.core.failures import of_system
from gitstate.core.monitor import Observer
from gitstate.core.wording import some_of
from gitstate.release import boot_files, integrity, publishing, refresh
from gitstate.release.opened import OpenedSite
from gitstate.tree.export import Condition, set_aside


def examine(opened: OpenedSite, observer: Observer) -> Iterator[Check]:
    """Run all checks. What can't be checked is a finding, never an error."""
    site, options = opened.site, None
    observer.phase("programs")
    yield from programs()
    try:
        options = opened.options
    except GitstateError as error:
        yield bad("boot", error.message, error.hint)
    observer.phase("site")
    yield from _told("site", permissions(site, options))
    yield from _told("repositories", _own_repositories(opened, observer))
    yield from _told("repositories", _pushed_repositories(opened))
    observer.phase("exports")
    yield from _told("exports", _exports(opened))
    if options is None:
        return
    observer.phase("services")
    yield from _told("services", services(site, options))
    observer.phase("snapshots")
    yield from _told("prototypes", snapshots(site, options))
    observer.phase("boot files")
    yield from _told("boot files", _boot_files(opened, observer))
    observer.phase("layers")
    yield from _told("layers", _layers(opened))


def _told(area: str, checks: Iterator[Check]) -> Iterator[Check]:
    """``checks``, and as one more what keeps them from their end."""
    try:
        yield from checks
    except GitstateError as error:
        yield bad(area, error.message, error.hint)
    except OSError as error:
        found = of_system(error)
        yield bad(area, found.message, found.hint)


def _own_repositories(opened: OpenedSite, observer: Observer) -> Iterator[Check]:
    """Whether releases and directory can be read, whatever a cache still knows."""
    for name in integrity.own_repositories(opened.site):
        try:
            problems = integrity.fsck_own(opened, name, observer)
        except GitstateError as error:
            yield bad("repositories", error.message, error.hint)
            continue
        if problems:
            yield bad("repositories", f"{name}: {some_of(problems, 3)}", f"restore {name} from a backup; gitstate fsck")
        else:
            yield ok("repositories", f"{name} is sound")


def _pushed_repositories(opened: OpenedSite) -> Iterator[Check]:
    """Whether git's hooks stand and call this gitstate, and nobody's own configuration counts for a push."""
    repositories, faults = opened.repositories
    for error in faults.values():
        yield bad("repositories", error.message, error.hint)
    for name, repository in repositories.items():
        if outdated := repository.outdated():
            yield bad("repositories", f"{name}: outdated hooks or settings: {some_of(outdated)}", "gitstate reconcile")


def _exports(opened: OpenedSite) -> Iterator[Check]:
    """Whether what channels run is exported, and looks as it was written."""
    sound = 0
    for channel in opened.directory.channels():
        release = opened.releases.current(channel)
        if release is None:
            continue
        found = publishing.export_condition(opened, release.snapshot, looks=True)
        what = f"the export of {release.name}, {release.prototype} {release.commit.hex()[:7]},"
        sound += found is Condition.SOUND
        if found is not Condition.SOUND:
            yield bad("exports", f"{what} is {found.value}", "gitstate reconcile")
    if sound:
        yield ok("exports", f"of {sound} channel{'s' if sound > 1 else ''}, as they were written")
    for name in opened.site.prototypes():
        for path in set_aside(opened.site.exports_path(name)):
            yield note("exports", f"{path} was damaged, and replaced", "remove it when its machines were rebooted")


def _boot_files(opened: OpenedSite, observer: Observer) -> Iterator[Check]:
    """Whether each client has a snapshot to boot, and the boot files are current."""
    try:
        clients = opened.directory.clients()
        plan = boot_files.plan(opened, observer, reads_content=True)
    except GitstateError as error:
        yield bad("clients", error.message, error.hint)
        return
    if clients:
        yield ok("clients", f"{len(clients)}, each with a snapshot")
    else:
        yield note("clients", "none yet", "gitstate client add NAME --mac MAC --pin PROTOTYPE@REV")
    if plan.directories:
        where = some_of([str(plan.location(path)) for path in plan.directories], 3)
        yield bad("boot files", f"not the group {opened.options.group}'s to read: {where}", "gitstate boot write")
    elif plan:
        yield bad("boot files", "damaged, or older than the directory or the settings", "gitstate boot write --reload")
    else:
        yield ok("boot files", "match the directory and the settings")


def _layers(opened: OpenedSite) -> Iterator[Check]:
    """Whether the machine archives are current."""
    try:
        found = refresh.preview(opened, reads_content=True)
    except GitstateError as error:
        yield bad("layers", error.message, error.hint)
        return
    outdated = sorted(host for one in found for host in (*one.added, *one.changed, *one.removed))
    if outdated:
        yield bad("layers", f"outdated or damaged machine archives: {some_of(outdated, 3)}", "gitstate boot write")
    elif count := sum(one.kept for one in found):
        yield ok("layers", f"rendered for {count} client{'s' if count > 1 else ''}")
