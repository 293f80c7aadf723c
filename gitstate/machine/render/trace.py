"""Who set a path: every layer that says something of it, with the commits and the lines' authors by git's blame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from gitstate.core.entry import Kind
from gitstate.core.errors import NotFoundError
from gitstate.core.names import OPAQUE, display, join, stored_name
from gitstate.machine.render.batch import Batch, Rendered
from gitstate.machine.render.models import Action, Decision
from gitstate.store import Snapshot
from gitstate.tree.history import blame
from gitstate.tree.history.blame import Line

_BINARY: Final = 8000


@dataclass(frozen=True, slots=True)
class Origin:
    """What one layer says of a path: ``commit`` is the last one that changed it there."""

    layer: str
    source: bytes
    action: Action
    snapshot: Snapshot
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """Who set ``path``, the latest layer first; whether the image has something there."""

    path: bytes
    origins: tuple[Origin, ...]
    in_image: bool

    @property
    def setters(self) -> int:
        """How many of the words make what the machine gets; the others are hidden."""
        count = 1
        while count < len(self.origins) and all(one.action is Action.MERGE for one in self.origins[: count + 1]):
            count += 1
        return min(count, len(self.origins))


def trace(batch: Batch, rendered: Rendered, path: bytes) -> Trace:
    """Who set ``path`` on a machine. Raises NotFoundError if neither a layer nor the image has it."""
    decisions = rendered.composition.decisions
    place = _real(batch, rendered, path)
    there = batch.image.at(place)
    latest = decisions.get(place)
    words = [_origin(batch, rendered, decision) for decision in _effective(rendered, place, latest)]
    if not words and there is None:
        host = rendered.client.name
        hint = f"gitstate layer render {host} lists what layers set, gitstate secret list {host} what it alone has"
        raise NotFoundError(f"{host} has no /{display(path)}, by its snapshot and layers", hint)
    return Trace(place, tuple(words), there is not None)


def _effective(rendered: Rendered, place: bytes, latest: Decision | None) -> Iterator[Decision]:
    """The decisions of a path, the latest first, without those whose template skipped the file."""
    item = next((one for one in rendered.items if one.path == place), None)
    is_said = False
    for decision in latest.chain() if latest else ():
        is_said = is_said or decision.action is not Action.RENDER or (item is not None and item.layer == decision.layer)
        if is_said:
            yield decision


def _real(batch: Batch, rendered: Rendered, path: bytes) -> bytes:
    """``path`` without symlinks in its directories."""
    *parents, name = path.split(b"/")
    here = b""
    for part in parents:
        here = join(here, part)
        if here not in rendered.composition.decisions:
            here = batch.image.resolve(here) or here
    return join(here, name)


def _origin(batch: Batch, rendered: Rendered, decision: Decision) -> Origin:
    repository = batch.repository(decision.layer)
    commit = rendered.composition.commits[decision.layer]
    source = (
        join(decision.source, OPAQUE) if decision.action is Action.DIRECTORY and decision.covers else decision.source
    )
    stored = b"/".join(map(stored_name, source.split(b"/")))
    asked = ("log", "-1", "--no-show-signature", "--format=%H", commit.hex(), "--", b":(literal)" + stored)
    found = repository.git(*asked).decode().strip()
    snapshot = repository.snapshot(bytes.fromhex(found) if found else commit)
    is_file = (
        decision.entry is not None and decision.entry.meta.kind is Kind.FILE and decision.action is not Action.HIDE
    )
    is_text = is_file and decision.entry is not None and b"\0" not in repository.read(decision.entry.oid)[:_BINARY]
    lines = tuple(blame.lines(repository, [commit.hex()], stored)) if is_text else ()
    return Origin(decision.layer, decision.source, decision.action, snapshot, lines)
