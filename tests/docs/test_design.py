"""docs/design.md tells of the house as it stands."""

from __future__ import annotations

import re

from tests.docs.design import PAGE, current
from tests.support import PROJECT


def test_the_tables_are_those_of_the_architecture_test() -> None:
    text = PAGE.read_text("utf-8")
    assert text == current(text), "run: python -m tests.docs.design"


def test_every_file_named_exists() -> None:
    """Also those named in code, such as ``tree/scan``: below gitstate/, hooks/ or tests/."""
    text = PAGE.read_text("utf-8")
    named = re.findall(r"`((?:core|store|tree|directory|machine|boot|release|cli|hooks)/[\w./-]+)`", text)
    missing = [path for path in named if not any((PROJECT / top / path).exists() for top in ("", "gitstate"))]
    assert len(named) > 20
    assert not missing
