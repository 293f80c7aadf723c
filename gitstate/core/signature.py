"""Who did something, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

LAST_MOMENT: Final = 253_402_300_799
"""The end of the year 9999 in seconds since the epoch. git's commits may be dated later, calendars end here."""


@dataclass(frozen=True, slots=True)
class Signature:
    """Who and when: ``name <mail>``, seconds since the epoch, offset as ``+hhmm``."""

    who: str
    when: int
    offset: str = "+0000"

    def __str__(self) -> str:
        return f"{self.who} {self.when} {self.offset}"


def iso_time(seconds: int) -> str:
    """Seconds since the epoch as ISO 8601 in UTC; the end of the year 9999 for what is later."""
    return datetime.fromtimestamp(min(seconds, LAST_MOMENT), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
