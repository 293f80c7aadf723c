"""How what two machines get differs, or one machine by two releases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gitstate.core.entry import Kind, Meta
from gitstate.machine.render.batch import Batch, Rendered
from gitstate.machine.render.image import Image
from gitstate.machine.render.models import RenderedEntry
from gitstate.tree.change import Added, Modified, Removed, metadata
from gitstate.tree.change.content import ContentChange, content_change

_LARGEST = 8 << 20


@dataclass(frozen=True, slots=True)
class Difference:
    """A path that one side has or hides and the other doesn't, or that both have otherwise. Times are no difference.

    ``metadata`` in words; ``content`` None where it is equal, or only one side has some.
    """

    path: bytes
    old: RenderedEntry | None
    new: RenderedEntry | None
    metadata: tuple[str, ...] = ()
    content: ContentChange | None = None

    @property
    def letter(self) -> str:
        """A, D, M, or T where the type differs; hidden on one side is a type, too."""
        if self.old is None or self.new is None:
            return "A" if self.old is None else "D"
        kinds = {one.meta.kind if one.meta else None for one in (self.old, self.new)}
        return "M" if len(kinds) == 1 else "T"


def differences(old: tuple[Batch, Rendered], new: tuple[Batch, Rendered]) -> Iterator[Difference]:
    """What differs, by path."""
    before, after = ({item.path: item for item in one.items} for _, one in (old, new))
    for path in sorted(before.keys() | after.keys()):
        left, right = before.get(path), after.get(path)
        if left is None or right is None:
            yield Difference(path, left, right, tuple(_metadata_of(left, right, old[0].image, new[0].image)))
        elif left.meta is None or right.meta is None or left.meta.kind is not right.meta.kind:
            if left.meta is not right.meta:
                yield Difference(path, left, right)
        else:
            texts = (old[0].read(left), new[0].read(right)) if left.content != right.content else (b"", b"")
            words = metadata(Modified(path, left.meta, right.meta, content=False))
            is_equal = texts[0] == texts[1] and left.covers == right.covers
            if not is_equal or words:
                content = _content(path, left, texts) if texts[0] != texts[1] else None
                yield Difference(path, left, right, tuple(words), content)


def _directory_of(image: Image, other: RenderedEntry | None) -> Meta | None:
    """A directory as the image has it, where the other side's layers set its owner and mode."""
    if other is None or other.covers or other.meta is None or other.meta.kind is not Kind.DIRECTORY:
        return None
    there = image.at(other.path)
    return there.meta if there is not None and there.meta.kind is Kind.DIRECTORY else None


def _content(path: bytes, item: RenderedEntry, texts: tuple[bytes, bytes]) -> ContentChange:
    if item.meta is not None and item.meta.kind is Kind.SYMLINK:
        return ContentChange(lines=tuple(f"{sign}{_shown(one)}" for sign, one in zip("-+", texts, strict=True)))
    return ContentChange() if max(map(len, texts)) > _LARGEST else content_change(path, *texts)


def _shown(target: bytes) -> str:
    return target.decode("utf-8", "replace")


def _metadata_of(
    left: RenderedEntry | None, right: RenderedEntry | None, old_image: Image, new_image: Image
) -> list[str]:
    """What stands out in an entry that only one side has; of an image's directory how its owner and mode differ."""
    before = _directory_of(old_image, right) if left is None else left.meta
    after = _directory_of(new_image, left) if right is None else right.meta
    if before is not None and after is not None:
        return metadata(Modified(b"", before, after, content=False))
    if left is not None and left.meta is not None:
        return metadata(Removed(left.path, left.meta))
    if right is not None and right.meta is not None:
        return metadata(Added(right.path, right.meta))
    return ["hidden"]
