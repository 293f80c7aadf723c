"""What layers' directories say of those that the image has: owners and modes that differ, applied or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from gitstate.core.entry import Kind, Meta
from gitstate.machine.render.image import Image
from gitstate.machine.render.models import Folder, Layer
from gitstate.tree.change import Modified, metadata
from gitstate.tree.snapshot import PLAIN_DIRECTORY


class DirectoryChange(NamedTuple):
    """A directory of the image of which a layer's record says something else.

    ``is_applied``: machines get the layer's owner and mode; else they keep the image's.
    """

    layer: str
    path: bytes
    image: Meta
    own: Meta
    is_applied: bool

    @property
    def words(self) -> list[str]:
        """How they differ, such as ``mode 0755 -> 0750``."""
        return metadata(Modified(self.path, self.image, self.own, content=False))


def directory_changes(image: Image, layers: Iterable[Layer]) -> Iterator[DirectoryChange]:
    """All of them, layer by layer. Raises DamagedError."""
    for layer in layers:
        for folder in layer.folders:
            if folder.path and folder.own is not None and _says_something(folder):
                place = image.resolve(folder.path)
                there = image.at(place) if place else None
                if place and there is not None and there.meta.kind is Kind.DIRECTORY:
                    found = DirectoryChange(layer.name, place, there.meta, folder.own, folder.sets_metadata)
                    if found.words:
                        yield found


def _says_something(folder: Folder) -> bool:
    """``mkdir`` under the usual umask is what everybody does, and docs/layers.md tells what becomes of it."""
    return folder.sets_metadata or (folder.own is not None and folder.own.mode != PLAIN_DIRECTORY.mode)
