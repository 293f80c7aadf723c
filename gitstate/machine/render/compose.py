"""Layers laid over each other and over an image: entry by entry, a later one wins.

What a layer's path means depends on the directory symlinks below it, the image's and those of lower layers, so a
composition is kept for one image and one list of layers; lists that begin alike share what they begin with.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gitstate.core.entry import Entry, Kind
from gitstate.core.errors import ConflictError, RefusedError
from gitstate.core.names import display, join
from gitstate.machine.render.image import Image
from gitstate.machine.render.models import ACCOUNTS, Action, Decision, Folder, Layer, LayerEntry, ReadBlob
from gitstate.machine.render.paths import PathError, resolve_symlinks
from gitstate.machine.render.read import merged_vars

_MOUNTED_AT_BOOT: Final = (b"proc", b"sys", b"run", b"dev")
"""What is mounted over before anybody would see it."""
_KEPT: Final = 256


@dataclass(frozen=True, slots=True)
class Composition:
    """What layers do together: the latest decision of every path, and their variables."""

    layers: tuple[Layer, ...] = ()
    decisions: Mapping[bytes, Decision] = field(default_factory=dict)
    vars: Mapping[str, Any] = field(default_factory=dict)

    @property
    def commits(self) -> dict[str, bytes]:
        """Commits by the layers' names."""
        return {layer.name: layer.commit for layer in self.layers}


EMPTY: Final = Composition()


class Composer:
    """Lays layers over one image; keeps what lists of layers begin with."""

    def __init__(self, image: Image, read: ReadBlob, kept: int = _KEPT) -> None:
        self._image = image
        self._read = read
        self._most = kept
        self._kept: OrderedDict[tuple[tuple[str, bytes], ...], Composition] = OrderedDict()

    def compose(self, layers: Sequence[Layer]) -> Composition:
        """The composition of ``layers``, the lowest first. Raises ConflictError, RefusedError, LayerError."""
        keys = [tuple((one.name, one.commit) for one in layers[: count + 1]) for count in range(len(layers))]
        start = next((count for count in range(len(layers), 0, -1) if keys[count - 1] in self._kept), 0)
        found = EMPTY
        if start:
            self._kept.move_to_end(keys[start - 1])
            found = self._kept[keys[start - 1]]
        for count in range(start, len(layers)):
            found = self._kept[keys[count]] = self.lay(found, layers[count])
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return found

    def lay(self, below: Composition, layer: Layer) -> Composition:
        """``layer`` over ``below``."""
        laying = _LayerApplication(self._image, self._read, dict(below.decisions), layer)
        laying.run()
        return Composition((*below.layers, layer), laying.decisions, merged_vars(below.vars, layer.vars))


class _LayerApplication:
    """One layer being laid over ``decisions``, which change."""

    def __init__(self, image: Image, read: ReadBlob, decisions: dict[bytes, Decision], layer: Layer) -> None:
        self.decisions = decisions
        self._image = image
        self._read = read
        self._layer = layer
        self._places: dict[bytes, bytes] = {}

    def run(self) -> None:
        for folder in self._layer.folders:
            place = self._places[folder.path] = self._place(folder)
            for name in folder.whiteouts:
                self._hide(join(place, name), join(folder.path, b".wh." + name))
            for entry in folder.entries:
                self._lay(join(place, entry.name), join(folder.path, entry.source), entry)

    # --- directories ---

    def _place(self, folder: Folder) -> bytes:
        """Where a folder of the layer really is, made a directory if need be."""
        if not folder.path:
            place = b""
        else:
            parent, _, name = folder.path.rpartition(b"/")
            place = self._real(self._places[parent], name, folder.path)
            self._refuse_kernels(place, folder.path)
            self._have_directory(place, folder)
        if folder.is_opaque:
            self._refuse_kernels(place + b"/", folder.path)
            self._clear(place, folder.path)
            lower = self.decisions.get(place)
            own = lower.entry if lower and lower.action is Action.DIRECTORY else None
            self.decisions[place] = Decision(
                Action.DIRECTORY, self._layer.name, folder.path, own, covers=True, lower=lower
            )
        return place

    def _have_directory(self, place: bytes, folder: Folder) -> None:
        standing = self.decisions.get(place)
        is_kept = not folder.sets_metadata and self._look(place)[0] is Kind.DIRECTORY
        if is_kept and standing is not None and standing.action is Action.DIRECTORY:
            return
        entry = None if is_kept or folder.own is None else Entry(place.rpartition(b"/")[2], folder.own)
        covers = standing is not None and (standing.covers or standing.action is Action.HIDE)
        self.decisions[place] = Decision(Action.DIRECTORY, self._layer.name, folder.path, entry, covers, lower=standing)
        self._have_parents(place, folder.path)

    def _have_parents(self, place: bytes, source: bytes) -> None:
        """A path that a symlink leads to may have parents that the layer doesn't name."""
        parent = place.rpartition(b"/")[0]
        while parent and (parent not in self.decisions or self.decisions[parent].action is not Action.DIRECTORY):
            lower = self.decisions.get(parent)
            covers = lower is not None and lower.action is Action.HIDE
            self.decisions[parent] = Decision(Action.DIRECTORY, self._layer.name, source, None, covers, lower=lower)
            parent = parent.rpartition(b"/")[0]

    def _real(self, parent: bytes, name: bytes, source: bytes) -> bytes:
        """The directory ``name`` of the real directory ``parent``, symlinks followed inside the root."""

        def target(path: bytes) -> bytes | None:
            kind, target = self._look(path)
            if kind not in (None, Kind.DIRECTORY, Kind.SYMLINK):
                raise self._conflict(f"{display(source)} is a directory, and /{display(path)} is not", path)
            return target if kind is Kind.SYMLINK else None

        try:
            return resolve_symlinks(parent, name, target)
        except PathError as way:
            path = way.args[0]
            what = f"{display(source)} is a directory, and /{display(path)} a symlink to itself"
            raise self._conflict(what, path) from None

    # --- what is there ---

    def _look(self, path: bytes) -> tuple[Kind | None, bytes]:
        """What stands at a path so far, by its kind; a symlink's target."""
        decision = self.decisions.get(path)
        if decision is None:
            found = None if self._is_covered(path) else self._image.at(path)
            return (found.meta.kind, found.target) if found else (None, b"")
        if decision.action is Action.HIDE:
            return None, b""
        if decision.action is Action.DIRECTORY:
            return Kind.DIRECTORY, b""
        assert decision.entry is not None
        kind = decision.entry.meta.kind
        return kind, self._read(decision.layer, decision.entry.oid) if kind is Kind.SYMLINK else b""

    def _is_covered(self, path: bytes) -> bool:
        """Whether a layer has hidden what the image has around ``path``."""
        while path:
            path = path.rpartition(b"/")[0]
            decision = self.decisions.get(path)
            if decision is not None and (decision.covers or decision.action is not Action.DIRECTORY):
                return True
        return False

    # --- whiteouts ---

    def _hide(self, place: bytes, source: bytes) -> None:
        self._refuse_kernels(place + b"/", source)
        self._clear(place, source)
        self._have_parents(place, source)
        self.decisions[place] = Decision(Action.HIDE, self._layer.name, source, lower=self.decisions.get(place))

    def _clear(self, place: bytes, source: bytes) -> None:
        """Hide all that lower layers have below ``place``."""
        before = place + b"/" if place else b""
        if any(one.startswith(before) for one in ACCOUNTS):
            raise RefusedError(f"{self._layer}: {display(source)} would remove accounts", "they are merged: NAME.merge")
        for path in [one for one in self.decisions if one.startswith(before) and one != place]:
            if self.decisions[path].action is not Action.HIDE:
                self.decisions[path] = Decision(Action.HIDE, self._layer.name, source, lower=self.decisions[path])

    # --- files ---

    def _lay(self, place: bytes, source: bytes, entry: LayerEntry) -> None:
        self._refuse_kernels(place, source)
        if place in ACCOUNTS and entry.action is not Action.MERGE:
            hint = f"name it {display(place)}.merge: its lines are joined with those of the image"
            raise RefusedError(f"{self._layer}: no layer may replace /{display(place)}", hint)
        kind, _ = self._look(place)
        if kind is Kind.DIRECTORY or (
            kind is Kind.SYMLINK and entry.entry.meta.kind is not Kind.SYMLINK and self._leads_to_directory(place)
        ):
            raise self._conflict(f"{display(source)} is a file, and /{display(place)} a directory", place)
        lower = self.decisions.get(place)
        if lower is not None and lower.layer == self._layer.name and lower.action is not Action.HIDE:
            both = f"{display(lower.source)} and {display(source)} are both /{display(place)}"
            raise ConflictError(f"{self._layer}: {both}", "remove one of them from the layer")
        self._have_parents(place, source)
        self.decisions[place] = Decision(
            entry.action, self._layer.name, source, entry.entry, is_template=entry.is_template, lower=lower
        )

    def _leads_to_directory(self, place: bytes) -> bool:
        parent, _, name = place.rpartition(b"/")
        try:
            return self._look(self._real(parent, name, place))[0] is Kind.DIRECTORY
        except ConflictError:
            return False

    # --- refusals ---

    def _refuse_kernels(self, place: bytes, source: bytes) -> None:
        top, slash, _ = place.partition(b"/")
        if slash and top in _MOUNTED_AT_BOOT:
            there = display(place.removesuffix(b"/"))
            shown = f"/{there}" if display(source) == there else f"{display(source)}, which is /{there}"
            raise RefusedError(
                f"{self._layer}: {shown}: nobody would see it", f"/{display(top)} is mounted over at boot; remove it"
            )

    def _conflict(self, what: str, path: bytes) -> ConflictError:
        decision = self.decisions.get(path)
        whose = f"{decision.layer}'s" if decision else f"{self._image}'s"
        name = display(path.rpartition(b"/")[2])
        return ConflictError(
            f"{self._layer}: {what} ({whose})", f"hide it first with .wh.{name} beside it, or rename yours"
        )
