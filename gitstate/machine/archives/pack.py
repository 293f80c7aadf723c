"""What a machine gets as its archive: items as a layout; what a hardware class would change of it as a variant."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gitstate.core.entry import Kind
from gitstate.directory import Client
from gitstate.machine.archives import content as archive
from gitstate.machine.render.batch import Batch, Rendered
from gitstate.machine.render.image import Image
from gitstate.machine.render.models import Archive, ArchiveEntry, Layout, Reload, RenderedEntry, Variant

VERSION: Final = 1
"""Part of every key: another number makes all archives anew."""

ReadItem = Callable[[RenderedEntry], bytes]


@dataclass(frozen=True, slots=True)
class UnknownClasses:
    """The classes that a machine may turn out to be of: names and patterns of modaliases, in their order.

    ``every``: it is of all that match, not of the first.
    """

    classes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    match_all: bool = False


NO_VARIANTS: Final = UnknownClasses()
"""Of a machine whose classes are known."""


def key(batch: Batch, client: Client, unknown: UnknownClasses, secrets: str = "") -> str:
    """A machine's archive depends on this alone; ``secrets`` are their digest. Raises NotFoundError, ConfigError."""
    variants = [
        (name, patterns, batch.key(_with_class(client, name)) if batch.has_class(name) else "")
        for name, patterns in unknown.classes
    ]
    parts = [VERSION, client.name, batch.key(client), variants, unknown.match_all, secrets]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def pack(batch: Batch, client: Client, unknown: UnknownClasses) -> Archive:
    """The archive of one machine, without its secrets. Raises GitstateError: client, layer, commit and file."""
    rendered = batch.render(client)
    return Archive(
        archive.about(client.name, {name: oid.hex() for name, oid in rendered.composition.commits.items()}),
        layout(rendered.items, batch.read, reload(rendered)),
        tuple(_variants(batch, client, unknown, rendered)),
        unknown.match_all,
    )


def _with_class(client: Client, name: str) -> Client:
    """The machine, if it were of the class ``name``."""
    return replace(client, classes=(name,))


def reload(rendered: Rendered) -> tuple[Reload, ...]:
    """The units that its layers name, the lowest layer's first."""
    return tuple(one for layer in rendered.composition.layers for one in layer.settings.reload)


def layout(items: Sequence[RenderedEntry], read: ReadItem, units: tuple[Reload, ...] = ()) -> Layout:
    """Items as a machine lays them."""
    removed, opaque = [], []
    for item in items:
        if item.meta is None or (item.covers and item.meta.kind is not Kind.DIRECTORY):
            removed.append(item.path)
        elif item.covers:
            opaque.append(item.path)
    return Layout(tuple(_entries(items, read)), tuple(removed), tuple(opaque), units)


def _entries(items: Iterable[RenderedEntry], read: ReadItem) -> Iterator[ArchiveEntry]:
    for item in items:
        if item.meta is not None:
            yield ArchiveEntry(item.path, item.meta, read(item))


def _variants(batch: Batch, client: Client, unknown: UnknownClasses, common: Rendered) -> Iterator[Variant]:
    """What each class changes; of one for which no layer was made the name alone, as ``about`` on the machine."""
    for name, patterns in unknown.classes:
        if batch.has_class(name):
            rendered = batch.render(_with_class(client, name))
            units = tuple(one for one in reload(rendered) if one not in reload(common))
            changed = layout(list(_changed(common.items, rendered.items)), batch.read, units)
            lost = _restored(common.items, rendered.items)
            bare = [one for path in lost for one in _from_image(batch.image, path)]
            laid = {one.path for one in bare}
            removed = (*changed.removed, *(path for path in lost if path not in laid))
            yield Variant(name, patterns, replace(changed, entries=(*changed.entries, *bare), removed=removed))
        else:
            yield Variant(name, patterns, Layout())


def _changed(common: Sequence[RenderedEntry], special: Sequence[RenderedEntry]) -> Iterator[RenderedEntry]:
    """Items that are others than the common ones; and all below a directory that is emptied first."""
    known = {item.path: item for item in common}
    emptied: set[bytes] = set()
    for item in special:
        there = known.get(item.path)
        if there is None or _differ(there, item) or _is_below(item.path, emptied):
            if item.covers:
                emptied.add(item.path)
            yield item


def _differ(one: RenderedEntry, other: RenderedEntry) -> bool:
    return (one.meta, one.content, one.covers) != (other.meta, other.content, other.covers)


def _is_below(path: bytes, above: set[bytes]) -> bool:
    while above and path:
        path = path.rpartition(b"/")[0]
        if path in above:
            return True
    return False


def _restored(common: Sequence[RenderedEntry], special: Sequence[RenderedEntry]) -> list[bytes]:
    """What the common layout lays, and a class has nothing to say of."""
    there = {item.path for item in special}
    gone = {item.path for item in special if item.meta is None or item.covers}
    laid = [item.path for item in common if item.meta is not None and item.path not in there]
    return [path for path in laid if not _is_below(path, gone | set(laid))]


def _from_image(image: Image, path: bytes) -> Iterator[ArchiveEntry]:
    """What a machine has at a path of which its layers have nothing to say."""
    found = image.at(path)
    if found is not None:
        content = image.read(path)
        yield ArchiveEntry(path, found.meta, content[1] if content else found.target)
