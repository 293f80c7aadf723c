"""How a live tree stands to the branch that others push to."""

from __future__ import annotations

from dataclasses import dataclass

from gitstate.store import MAIN, Repository
from gitstate.tree.checkin import base_of


@dataclass(frozen=True, slots=True)
class Standing:
    """How the commit that a live tree was recorded as stands to main: ``behind`` commits that it lacks, ``ahead`` that
    main lacks.
    """

    main: bytes
    behind: int
    ahead: int


def standing(repository: Repository) -> Standing | None:
    """Where the live tree's commit isn't main's; None where it is, or nothing is recorded."""
    base, tip = base_of(repository), repository.ref(MAIN)
    if base is None or tip is None or base == tip:
        return None
    counted = repository.git("rev-list", "--left-right", "--count", f"{base.hex()}...{tip.hex()}")
    ahead, behind = map(int, counted.split())
    return Standing(tip, behind, ahead)
