"""One finding of the doctor's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How it stands: as it should be, worth knowing, or something that keeps machines from booting."""

    OK = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, how it stands, what was seen, and how to mend it (a command or a sentence)."""

    area: str
    state: State
    text: str
    mend: str = ""


def ok(area: str, text: str) -> Check:
    """All is well."""
    return Check(area, State.OK, text)


def note(area: str, text: str, mend: str = "") -> Check:
    """Nothing to mend, but to know."""
    return Check(area, State.NOTE, text, mend)


def bad(area: str, text: str, mend: str) -> Check:
    """Machines won't boot, or secrets lie open."""
    return Check(area, State.BAD, text, mend)
