"""The output root of a site, opened with the group that boot files belong to."""

from __future__ import annotations

from gitstate.boot.files import group
from gitstate.boot.options import Options
from gitstate.core.monitor import Observer
from gitstate.core.output import OutputRoot
from gitstate.store.site import Site


def open_output(site: Site, options: Options, observer: Observer) -> OutputRoot:
    """Return the output root for writing; its group is created if need be, and reported. Raises HostError."""
    planned = group.plan(options)
    gid = group.make(planned)
    if planned.gid is None:
        observer.notice(f"made the group {planned.name}, which may read {site.tftp}")
    for user in planned.join:
        observer.notice(f"{user} is a member of the group {planned.name} now")
    return OutputRoot(site.tftp, options.etc_path, gid)


def inspect_output(site: Site, options: Options) -> OutputRoot:
    """Return the output root for reading only."""
    return OutputRoot(site.tftp, options.etc_path, group.plan(options).gid)
