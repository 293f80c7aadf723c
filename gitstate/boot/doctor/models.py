"""One finding of gitstate doctor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """As it should be, worth knowing, or something that keeps machines from booting or exposes secrets."""

    OK = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, its state, what was found, and how to fix it (a command or a sentence)."""

    area: str
    state: State
    text: str
    fix: str = ""


def ok(area: str, text: str) -> Check:
    """A finding that all is well."""
    return Check(area, State.OK, text)


def note(area: str, text: str, fix: str = "") -> Check:
    """A finding that is worth knowing."""
    return Check(area, State.NOTE, text, fix)


def bad(area: str, text: str, fix: str) -> Check:
    """A finding that must be fixed."""
    return Check(area, State.BAD, text, fix)
