"""Entries, as all backends have them, and their errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Entry = Mapping[str, Sequence[bytes]]
"""Values by attribute, each under its first name in the schema."""


class EntryError(ValueError):
    """An invalid entry: the value at index ``place`` of ``attribute``, or the whole entry if that is empty.

    ``line`` is set for errors in the LDIF text.
    """

    def __init__(self, why: str, attribute: str = "", place: int = 0, line: int = 0) -> None:
        super().__init__(why)
        self.why = why
        self.attribute = attribute
        self.place = place
        self.line = line


def quoted(value: bytes) -> str:
    """Return a value, quoted and shortened for a message."""
    return ascii(value[:60].decode("utf-8", "replace"))
