"""Carrying out a plan: exports and images first, then the texts that name them, each replaced by a rename.

So a machine that boots meanwhile gets the old or the new, and a run that is killed leaves each file old or new.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping
from dataclasses import replace

from gitstate.boot import group
from gitstate.boot.files import images, services, state
from gitstate.boot.files.planning import Plan
from gitstate.boot.files.state import Copied, State, Unit
from gitstate.boot.files.texts import CHANNELS, FIRST, MACHINES
from gitstate.boot.render import ETC_FILES
from gitstate.boot.request import log_path
from gitstate.core import fs
from gitstate.core.monitor import Observer
from gitstate.core.output import TFTP, OutputRoot, is_temporary
from gitstate.tree import export

Step = Callable[[str], None]


def apply(plan: Plan, observer: Observer, step: Step = lambda name: None) -> None:
    """Carry out a plan. Raises StorageError, DamagedError, HostError, OSError; then the old files stand."""
    if not plan and plan.state_is_current:
        return
    gid = group.make(plan.group)
    if not plan.log_in_order:
        group.make_log(log_path(plan.site), gid)
    _export(plan, observer)
    step("exported")
    with OutputRoot(plan.site.tftp, plan.options.etc_path, gid) as output:
        _clear(plan, output)
        copied = _copy(plan, output, observer)
        step("copied")
        after = _state_after(plan, copied)
        _write(plan, output, after, observer, step)
    state.save(plan.site.path, after)


def _export(plan: Plan, observer: Observer) -> None:
    for prototype, commit in plan.exports:
        observer.phase(f"export {prototype}")
        repository = plan.site.repository(prototype)
        export.apply(export.plan(repository, commit, plan.site.exports_path(prototype), None, looks=True), observer)


def _copy(plan: Plan, output: OutputRoot, observer: Observer) -> Mapping[str, Copied]:
    copied = {}
    for one in plan.images.copies:
        observer.phase(f"kernel and initrd {one.image.prototype}", unit="bytes")
        path = f"{TFTP}/{one.image.path}"
        copied[path] = images.apply(one, plan.options.nfs_version, output, observer)
    return copied


def _clear(plan: Plan, output: OutputRoot) -> None:
    """Put the directories in order, and remove what a killed run left."""
    for path in (TFTP, FIRST, CHANNELS, MACHINES):
        output.make(path)
    for path in plan.directories:
        output.regroup(path)
    tops = _folders(output, TFTP)
    for folder in [TFTP, *tops, *(below for top in tops for below in _folders(output, top))]:
        for name, status in list(output.names(folder).items()):
            if is_temporary(name):
                remove = output.remove_tree if stat.S_ISDIR(status.st_mode) else output.remove
                remove(f"{folder}/{name}")
    for path in ETC_FILES:
        output.discard(path)
    for left in plan.site.path.glob(f".{state.NAME}.*"):
        left.unlink()


def _folders(output: OutputRoot, folder: str) -> list[str]:
    """The directories in ``folder`` that have their final names."""
    found = output.names(folder).items()
    return [f"{folder}/{name}" for name, status in found if stat.S_ISDIR(status.st_mode) and not is_temporary(name)]


def _state_after(plan: Plan, copied: Mapping[str, Copied]) -> State:
    """The state after ``plan``, but for the stamps of texts that it writes.

    Snapshots that stand in ``tftp/`` and that nobody boots now stay known: a client may be pinned back to one.
    """
    units = {key: Unit(unit.digest, dict(unit.files)) for key, unit in plan.texts.units.items()}
    standing = {path: one for path, one in plan.known.copied.items() if fs.has_directory(plan.site.path / path)}
    return State(units, {**standing, **plan.images.copied, **copied}, set(plan.pending))


def _write(plan: Plan, output: OutputRoot, after: State, observer: Observer, step: Step) -> None:
    """Write all texts beside their final names, make them durable, then let each take its place."""
    files, stale, settled = plan.texts.files, plan.texts.stale, 0
    observer.phase("boot files", len(files), "files")
    try:
        for file in files:
            after.units[file.unit].files[file.path] = output.stage(file.path, [file.new])
            observer.advance()
        output.sync()
        step("staged")
        if not plan.pending <= plan.known.pending:  # if we die before the end, it is still known who must be told
            state.save(plan.site.path, replace(plan.known, pending=set(plan.pending)))
        for file in files:
            output.commit(file.path)
            settled += 1
        step("settled")
        for one in stale:
            output.remove(one.path)
        output.sync_directories([*(file.path for file in files), *(one.path for one in stale)])
    finally:
        for file in files[settled:]:
            output.discard(file.path)


def reload(plan: Plan) -> list[services.ReloadResult]:
    """Reload the servers whose configuration changed; the next call tries those again that fail. Raises OSError."""
    found = list(services.reload(plan.pending, plan.options.etc_path))
    failed = {path for path, result in found if result.outcome is services.Outcome.FAILED}
    known = state.load(plan.site.path)
    if known.pending != failed:
        state.save(plan.site.path, replace(known, pending=failed))
    return list({result.server: result for _, result in found}.values())
