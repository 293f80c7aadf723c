"""What stands between a release and a machine that boots it: exports, boot images, boot files."""

from __future__ import annotations

from gitstate import boot
from gitstate.boot import files as publish
from gitstate.core.monitor import Observer
from gitstate.release import archives
from gitstate.release.log import ReleaseLog
from gitstate.release.models import Release
from gitstate.store.lock import wait_for_lock
from gitstate.store.site import Site
from gitstate.tree import export


def running(site: Site) -> list[boot.BootChannel]:
    """What channels run, for boot files. Raises DamagedError, ConfigError."""
    from gitstate.directory import open_directory

    book = ReleaseLog(site)
    found = (book.current(name) for name in open_directory(site).channels())
    return [of_release(site, release) for release in found if release is not None]


def of_release(site: Site, release: Release) -> boot.BootChannel:
    """A release as boot files tell of it."""
    return boot.BootChannel(
        release.name.channel,
        release.name.version,
        release.prototype,
        release.commit.hex(),
        archives.has_archives(site, release.name),
    )


def prepare(site: Site, prototype: str, commit: bytes, observer: Observer) -> list[str]:
    """Make what clients of a snapshot need, before any is told of it; what was done, in words.

    Raises NotFoundError for a snapshot that can't boot, DamagedError, StorageError.
    """
    plan = export.plan(site.repository(prototype), commit, site.exports_path(prototype), None)
    what = f"export {prototype} {commit.hex()[:7]}"
    if not plan.done:
        observer.phase(what)
        export.apply(plan, observer)
    done = [f"{what}: is there" if plan.done else what]
    if archives.boots_machines(site) and _write(site, (prototype, commit), None, observer):
        done.append(f"boot image {prototype} {commit.hex()[:7]}")
    return done


def announce(site: Site, release: Release, observer: Observer) -> list[str]:
    """Let the channel's boot file name what it runs; what was changed, in words. Raises StorageError, ConfigError."""
    if not archives.boots_machines(site):
        return []
    written = _write(site, (release.prototype, release.commit), of_release(site, release), observer)
    return [f"boot file {path}" for path in written]


def _write(site: Site, snapshot: tuple[str, bytes], channel: boot.BootChannel | None, observer: Observer) -> list[str]:
    with wait_for_lock(lambda: publish.lock(site)):
        plan = publish.plan_release(site, snapshot, channel, observer)
        publish.apply(plan, observer)
    return [str(plan.location(file.path)) for file in plan.texts.files]
