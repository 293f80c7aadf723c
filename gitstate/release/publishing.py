"""What a release needs before machines boot it: export, boot image, and the boot file of its channel."""

from __future__ import annotations

from gitstate.boot import files as boot_files
from gitstate.boot.plan import BootChannel
from gitstate.core.monitor import Observer
from gitstate.core.wording import some_of
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
    made = make_export(opened, (prototype, commit), observer, looks=False)
    done = made or [f"{_export_line((prototype, commit))}: is there"]
    if opened.boots and _write(opened, (prototype, commit), None, observer):
        done.append(f"boot image {prototype} {commit.hex()[:7]}")
    return done


def make_export(opened: OpenedSite, snapshot: tuple[str, bytes], observer: Observer, *, looks: bool) -> list[str]:
    """Make the export of a snapshot if it is missing or damaged (``looks``: see export.condition); what was done.

    Raises DamagedError, StorageError.
    """
    prototype, commit = snapshot
    plan = export.plan(
        opened.site.repository(prototype), commit, opened.site.exports_path(prototype), None, looks=looks
    )
    if not plan.done:
        observer.phase(_export_line(snapshot))
    export.apply(plan, observer)
    return [] if plan.done else [_export_line(snapshot)]


def _export_line(snapshot: tuple[str, bytes]) -> str:
    return f"export {snapshot[0]} {snapshot[1].hex()[:7]}"


def export_condition(opened: OpenedSite, snapshot: tuple[str, bytes], *, looks: bool) -> export.Condition:
    """The condition of the export of a snapshot. Raises NotFoundError, HostError."""
    prototype, commit = snapshot
    repository = opened.site.repository(prototype)
    return export.condition(repository, commit, opened.site.exports_path(prototype), looks=looks)


def write_channel(opened: OpenedSite, release: Release, observer: Observer, *, all_rights: bool = False) -> list[str]:
    """Make the channel's boot file name ``release``; return what changed. Raises StorageError, ConfigError.

    With ``all_rights`` the boot group gets whatever it should have: its name or number may have changed.
    """
    if not opened.boots:
        return []
    return _write(opened, release.snapshot, _boot_channel(opened.site, release), observer, all_rights=all_rights)


def is_shown(channel: Channel, release: Release) -> bool:
    """Whether the directory says that ``channel`` runs ``release``."""
    return (channel.release, channel.commit) == (str(release.name), release.commit.hex())


def shown_line(release: Release) -> str:
    """What the directory says of a release, or has to."""
    return f"directory: {release.name.channel} runs {release.name}"


def outstanding(
    opened: OpenedSite, channel: Channel, release: Release, observer: Observer, *, looks: bool = False
) -> list[str]:
    """What is missing or damaged of the release that a channel runs, or not shown yet, as text; nothing is written.

    For ``looks`` see export.condition.
    """
    sound = export_condition(opened, release.snapshot, looks=looks) is export.Condition.SOUND
    found = [] if sound else [_export_line(release.snapshot)]
    if opened.boots:
        boots = _boot_channel(opened.site, release)
        found += _file_lines(_plan(opened, release.snapshot, boots, observer, all_rights=looks))
    return found if is_shown(channel, release) else [*found, shown_line(release)]


def _plan(
    opened: OpenedSite,
    snapshot: tuple[str, bytes],
    channel: BootChannel | None,
    observer: Observer,
    *,
    all_rights: bool,
) -> boot_files.Plan:
    return boot_files.plan_release(opened.site, opened.options, snapshot, channel, observer, all_rights=all_rights)


def _file_lines(plan: boot_files.Plan) -> list[str]:
    lines = [f"boot file {plan.location(file.path)}" for file in plan.texts.files]
    if plan.directories:
        places = [str(plan.location(path)) for path in plan.directories]
        lines += [f"rights of the group {plan.options.group}: {some_of(places, 3)}"]
    return lines


def _write(
    opened: OpenedSite,
    snapshot: tuple[str, bytes],
    channel: BootChannel | None,
    observer: Observer,
    *,
    all_rights: bool = False,
) -> list[str]:
    with archives.exclusive(opened.site):
        plan = _plan(opened, snapshot, channel, observer, all_rights=all_rights)
        boot_files.apply(plan, observer)
    return _file_lines(plan)
