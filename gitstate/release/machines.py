"""Two machines compared: the snapshots that they boot, and what their layers lay over them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from gitstate.core.entry import Kind
from gitstate.core.errors import NotFoundError
from gitstate.core.monitor import Observer
from gitstate.machine.render import Rendered, RenderedEntry
from gitstate.machine.render.difference import Difference, differences
from gitstate.release.opened import OpenedSite
from gitstate.release.state_at import MachineState
from gitstate.tree.history import Comparison, Side, open_sides
from gitstate.tree.history.arguments import parse


@dataclass(frozen=True, slots=True)
class MachineDifference:
    """How the snapshots of two machines differ where no layer of both hides it, and how their layers do."""

    snapshots: Comparison
    layers: tuple[Difference, ...]

    def differs(self) -> bool:
        """Whether there are differences, times aside."""
        return bool(self.layers) or self.snapshots.differs()


@contextmanager
def open_difference(
    opened: OpenedSite, old: MachineState, new: MachineState, arguments: Sequence[str], observer: Observer
) -> Iterator[MachineDifference]:
    """How two machines differ; ``arguments`` are the flags and paths of ``diff``.

    Raises NotFoundError, UsageError, ConfigError.
    """
    before, after = (_side(opened, state) for state in (old, new))
    paths = parse(before.repository, arguments).paths
    left, right = (_laid(state) for state in (old, new))
    found = differences((old.batch, left), (new.batch, right))
    laid = tuple(one for one in found if paths.match(one.path))
    hidden = {one.path for one in left.items if _hides(one)} & {one.path for one in right.items if _hides(one)}
    excluded = [f":(exclude,literal){os.fsdecode(path)}" for path in sorted(hidden)]
    words = [*arguments, *([] if "--" in arguments else ["--"]), *excluded]
    with open_sides(before, after, words, observer) as comparison:
        yield MachineDifference(comparison, laid)


def _side(opened: OpenedSite, state: MachineState) -> Side:
    prototype = state.context.prototype
    if prototype is None:
        hint = f"gitstate client set {state.client.name} --channel CHANNEL"
        raise NotFoundError(f"{state.client.name} boots no snapshot", hint)
    return Side(opened.site.repository(prototype[0]), prototype[1].hex())


def _laid(state: MachineState) -> Rendered:
    """What layers lay over the snapshot: nothing where the client is pinned, or boots a live tree."""
    is_bare = state.client.pin is not None or state.client.maintains is not None
    return replace(state.rendered, items=()) if is_bare else state.rendered


def _hides(item: RenderedEntry) -> bool:
    """Whether nothing of the snapshot is seen at its path."""
    return item.meta is None or item.meta.kind is not Kind.DIRECTORY or item.covers
