"""docs/design.md tells of the house as it stands: its tables are those of the architecture test."""

from __future__ import annotations

import re
from typing import Final

from tests.support import PROJECT
from tests.test_architecture import DISTRICTS, OWNERS

PAGE: Final = (PROJECT / "docs/design.md").read_text("utf-8")


def table(mark: str) -> list[list[str]]:
    """The rows of the table below ``<!-- mark -->``, without its head."""
    _, _, below = PAGE.partition(f"<!-- {mark} -->\n")
    lines = below.partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_districts_are_those_of_the_architecture_test() -> None:
    rows = {re.sub(r"\[(\w+)\]\(.*\)", r"\1", district): rooms.split() for district, rooms, _ in table("districts")}
    assert list(rows.items()) == list(DISTRICTS.items())


def test_the_powers_have_the_owners_of_the_architecture_test() -> None:
    rows = {power.strip("`"): owners.split(", ") for power, owners in table("powers")}
    assert rows == OWNERS


def test_every_file_named_exists() -> None:
    """Also those named in code, such as ``tree/scan``: below gitstate/, hooks/ or tests/."""
    named = re.findall(r"`((?:core|store|tree|directory|machine|boot|release|cli|hooks)/[\w./-]+)`", PAGE)
    missing = [path for path in named if not any((PROJECT / top / path).exists() for top in ("", "gitstate"))]
    assert named
    assert not missing
