"""Carry out what ``gitstate live`` plans."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

from gitstate.core import fs
from gitstate.core.errors import ConflictError, GitstateError, HostError
from gitstate.core.failures import of_system
from gitstate.core.monitor import Observer
from gitstate.tree import export, live_root
from gitstate.tree.checkin import LIVE
from gitstate.tree.live.plan import Action, Plan, place_of, plan, require_clean
from gitstate.tree.overlay.layers import SETTING, Layers

Step = Callable[[str], None]


def apply(found: Plan, observer: Observer, step: Step = lambda name: None) -> Plan:
    """Carry out a plan, made once more under the repository's lock; the plan that was carried out.

    Raises ConflictError if the live tree has changed meanwhile, HostError if something uses it, LockedError,
    StorageError, and as ``plan`` does. The live tree is mounted then as it was.
    """
    if found.action is Action.NOTHING:
        return found
    if found.action in (Action.OVERLAY, Action.FOLD):  # which takes long, so before the lock
        _export(found, observer)
        step("exported")
    with found.repository.lock("live"):
        mode = found.action if found.action in (Action.OVERLAY, Action.DIRECTORY) else None
        now = plan(found.repository, found.exports, observer, mode=mode, fold=found.action is Action.FOLD)
        if now.action is Action.MOUNT:
            _mount(now, now.new)
        elif now.action is Action.DIRECTORY:
            _to_directory(now, observer, step)
        elif now.action is not Action.NOTHING:
            _export(now, observer)
            _to_overlay(now, observer, step)
    return now


def _export(found: Plan, observer: Observer) -> None:
    observer.phase("export")
    export.apply(export.plan(found.repository, found.commit, found.exports, None), observer)


def _to_overlay(found: Plan, observer: Observer, step: Step) -> None:
    """Lay a fresh upper directory over the export, in place of the directory or of older layers."""
    _make_layers(found)
    step("layers")
    if found.layers is not None:
        _unmount(found.layers)
        step("unmounted")
    try:
        _require_unchanged(found, observer)
    except GitstateError:
        if found.layers is not None:
            _mount(found, found.layers)
        raise
    live_root.forget(found.repository)  # what is mounted there from now on is another directory
    found.repository.configure(SETTING, str(found.new.place))
    live_root.forget(found.repository)
    step("configured")
    if found.repository.ref(LIVE) != found.commit:
        moves = [(LIVE, found.commit, found.repository.ref(LIVE))]
        found.repository.move_refs(moves, "live: folded")
    step("recorded")
    _mount(found, found.new)
    step("mounted")
    _clear(found.new)


def _to_directory(found: Plan, observer: Observer, step: Step) -> None:
    """Put a directory of its own in place of the overlay. What lay beneath it is kept, under another name."""
    place = place_of(found.live)
    made = place / f"directory-{found.commit.hex()}"
    assert found.layers is not None
    if not fs.has_directory(made):
        observer.phase("export")
        export.apply(export.plan(found.repository, found.commit, found.exports, made), observer)
    step("made")
    _unmount(found.layers)
    step("unmounted")
    try:
        _require_unchanged(found, observer)
    except GitstateError:
        _mount(found, found.layers)
        raise
    if fs.has_directory(found.live):
        numbered = (place / f"beneath-{number}" for number in count(1))
        os.rename(found.live, next(path for path in numbered if fs.is_free(path)))
    step("moved")
    live_root.forget(found.repository)
    os.rename(made, found.live)
    fs.sync_directory(found.live.parent)
    step("placed")
    found.repository.configure(SETTING, "")
    live_root.forget(found.repository)
    step("configured")
    fs.remove_tree(found.layers.place)


def _require_unchanged(found: Plan, observer: Observer) -> None:
    """Raise ConflictError if there are edits since the plan was made: nobody can make any more now."""
    try:
        require_clean(found.repository, found.live, observer)
    except ConflictError as error:
        raise ConflictError(f"somebody edited meanwhile: {error.message}", error.hint) from None


# --- layers -----------------------------------------------------------------------------------------------------------


def _make_layers(found: Plan) -> None:
    """The directories of the new layers, empty; the root of an overlay has the metadata of its upper directory."""
    layers = found.new
    layers.place.parent.mkdir(mode=0o700, exist_ok=True)
    partial = layers.place.with_suffix(".partial")
    for leftover in (partial, layers.place):
        fs.remove_tree(leftover)
    for directory in (partial, partial / layers.upper.name, partial / layers.work.name):
        directory.mkdir(mode=0o700)
    source, target = fs.open_tree(_lower(found, layers)), fs.open_tree(partial / layers.upper.name)
    try:
        fs.copy_metadata(target, source)
        os.fsync(target)
    finally:
        os.close(source)
        os.close(target)
    os.rename(partial, layers.place)
    fs.sync_directory(layers.place.parent)


def _lower(found: Plan, layers: Layers) -> Path:
    return found.exports / layers.base.hex()


def _clear(kept: Layers) -> None:
    """Remove other layers: those that were made and never used, or whose edits are all in a snapshot."""
    for name in fs.list_names(kept.place.parent):
        if name != kept.place.name and not name.startswith("beneath"):
            fs.remove_tree(kept.place.parent / name)


def _mount(found: Plan, layers: Layers) -> None:
    """Mount an overlay's layers on the live tree."""
    lower = _lower(found, layers)
    if not fs.has_directory(lower):
        hint = f"gitstate export {found.repository.name} {layers.base.hex()[:12]} makes it again"
        raise HostError(f"the export {lower}, over which {layers.live} is edited, is missing", hint)
    if not fs.has_directory(layers.live):
        layers.live.mkdir(mode=0o755)
    options = [f"lowerdir={lower}", f"upperdir={layers.upper}", f"workdir={layers.work}"]
    options += ["redirect_dir=on", "metacopy=on", "index=off"]
    target = fs.open_tree(layers.live)
    try:
        name = f"gitstate-{found.repository.name.replace('/', '-')}"
        fs.mount(b"overlay", name.encode(), target, options=os.fsencode(",".join(options)))
    except OSError as error:
        raise of_system(error, layers.live) from None
    finally:
        os.close(target)


def _unmount(layers: Layers) -> None:
    """Unmount the live tree for good: whatever uses it would go on writing. Raises HostError."""
    if not layers.is_mounted:
        return
    parent = fs.open_tree(layers.live.parent)
    try:
        fs.unmount(parent, os.fsencode(layers.live.name), lazily=False)
    except OSError as error:
        hint = f"end what uses it (fuser -vm {layers.live}), NFS exports of it included, and run it again"
        raise HostError(f"{layers.live} can't be unmounted: {error.strerror}", hint) from None
    finally:
        os.close(parent)
