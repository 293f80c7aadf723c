"""gitstate boot write: machine archives and boot files of all clients, brought up to date."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gitstate.boot import files
from gitstate.boot.group import lock
from gitstate.core.monitor import Observer
from gitstate.release import refresh
from gitstate.release.opened import OpenedSite
from gitstate.release.publishing import boot_channels
from gitstate.release.refresh import RefreshResult


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, or would be, and the servers that were reloaded."""

    plan: files.Plan
    archives: Sequence[RefreshResult]
    reloaded: Sequence[files.ReloadResult] = ()

    def __bool__(self) -> bool:
        """Whether there was anything to write."""
        return bool(self.plan or any(self.archives))

    @property
    def failed(self) -> list[files.ReloadResult]:
        """The servers that could not be reloaded."""
        return [one for one in self.reloaded if one.outcome is files.Outcome.FAILED]


def preview(opened: OpenedSite, observer: Observer) -> Written:
    """What ``write`` would do. Raises NotFoundError, ConfigError, RefusedError, HostError."""
    archives = refresh.preview(opened, reads_content=True)
    return Written(plan(opened, observer, reads_content=True), archives)


def write(opened: OpenedSite, observer: Observer, *, reload: bool) -> Written:
    """Refresh machine archives, write boot files, reload the servers whose configuration changed, remove what is
    unused.

    All is read back, and what a disk has changed is written anew. Raises what ``preview`` does, LockedError,
    StorageError.
    """
    archives = refresh.refresh(opened, observer, reads_content=True)
    with lock(opened.site):
        planned = plan(opened, observer, reads_content=True)
        files.apply(planned, observer)
        reloaded = files.reload(planned) if reload else ()
    refresh.remove_unused(opened, observer)
    return Written(planned, archives, reloaded)


def plan(opened: OpenedSite, observer: Observer, *, reads_content: bool = False) -> files.Plan:
    """What boot files are outdated or, if their content is read, damaged.

    Raises NotFoundError, ConfigError, RefusedError, HostError.
    """
    running = boot_channels(opened)
    return files.plan(
        opened.site, opened.options, opened.directory, observer, running=running, reads_content=reads_content
    )
