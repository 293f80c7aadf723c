"""What a release needs before machines boot it: export, boot image, and the boot file of its channel."""

from __future__ import annotations

from gitstate.boot import files as boot_files
from gitstate.boot.plan import BootChannel
from gitstate.core.monitor import Observer
from gitstate.directory import Channel
from gitstate.release import archives
from gitstate.release.models import Release
from gitstate.release.opened import OpenedSite
from gitstate.store.site import Site
from gitstate.tree import export


def boot_channels(opened: OpenedSite) -> list[BootChannel]:
    """What channels run, for boot files. Raises DamagedError, ConfigError."""
    found = (opened.releases.current(name) for name in opened.directory.channels())
    return [_boot_channel(opened.site, release) for release in found if release is not None]


def _boot_channel(site: Site, release: Release) -> BootChannel:
    return BootChannel(
        release.name.channel,
        release.name.version,
        release.prototype,
        release.commit.hex(),
        archives.has_archives(site, release.name),
    )


def prepare(opened: OpenedSite, prototype: str, commit: bytes, observer: Observer) -> list[str]:
    """Make export and boot image of a snapshot, which no machine boots yet; return what was done, as text.

    Raises NotFoundError for a snapshot that can't boot, DamagedError, StorageError.
    """
    site = opened.site
    plan = export.plan(site.repository(prototype), commit, site.exports_path(prototype), None)
    what = f"export {prototype} {commit.hex()[:7]}"
    if not plan.done:
        observer.phase(what)
        export.apply(plan, observer)
    done = [f"{what}: is there" if plan.done else what]
    if opened.boots and _write(opened, (prototype, commit), None, observer):
        done.append(f"boot image {prototype} {commit.hex()[:7]}")
    return done


def write_channel(opened: OpenedSite, release: Release, observer: Observer) -> list[str]:
    """Make the channel's boot file name ``release``; return what changed. Raises StorageError, ConfigError."""
    if not opened.boots:
        return []
    channel = _boot_channel(opened.site, release)
    return _write(opened, (release.prototype, release.commit), channel, observer)


def is_shown(channel: Channel, release: Release) -> bool:
    """Whether the directory says that ``channel`` runs ``release``."""
    return (channel.release, channel.commit) == (str(release.name), release.commit.hex())


def shown_line(release: Release) -> str:
    """What the directory says of a release, or has to."""
    return f"directory: {release.name.channel} runs {release.name}"


def outstanding(opened: OpenedSite, channel: Channel, release: Release, observer: Observer) -> list[str]:
    """What boot files and directory don't show yet of the release that a channel runs, as text. Nothing is written."""
    found = []
    if opened.boots:
        boots = _boot_channel(opened.site, release)
        found = _file_lines(_plan(opened, (release.prototype, release.commit), boots, observer))
    return found if is_shown(channel, release) else [*found, shown_line(release)]


def _plan(
    opened: OpenedSite, snapshot: tuple[str, bytes], channel: BootChannel | None, observer: Observer
) -> boot_files.Plan:
    return boot_files.plan_release(opened.site, opened.options, snapshot, channel, observer)


def _file_lines(plan: boot_files.Plan) -> list[str]:
    return [f"boot file {plan.location(file.path)}" for file in plan.texts.files]


def _write(
    opened: OpenedSite, snapshot: tuple[str, bytes], channel: BootChannel | None, observer: Observer
) -> list[str]:
    with archives.exclusive(opened.site):
        plan = _plan(opened, snapshot, channel, observer)
        boot_files.apply(plan, observer)
    return _file_lines(plan)
