"""Who did something, and when."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signature:
    """Who and when: ``name <mail>``, seconds since the epoch, offset as ``+hhmm``."""

    who: str
    when: int
    offset: str = "+0000"

    def __str__(self) -> str:
        return f"{self.who} {self.when} {self.offset}"
