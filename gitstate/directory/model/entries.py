"""An entry as every backend has it, and what may be wrong with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Entry = Mapping[str, Sequence[bytes]]
"""Values by the attribute's first name in the schema."""


class EntryError(ValueError):
    """What is wrong with an entry: the value at ``place`` of ``attribute``; without one the whole of it.

    ``line`` is set where the text itself is to blame.
    """

    def __init__(self, why: str, attribute: str = "", place: int = 0, line: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.attribute = attribute
        self.place = place
        self.line = line


def quoted(value: bytes) -> str:
    """A value as it may stand in a message."""
    return ascii(value[:60].decode("utf-8", "replace"))
