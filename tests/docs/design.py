"""The tables of docs/design.md that repeat the architecture test: ``python -m tests.docs.design`` writes them anew."""

from __future__ import annotations

import re
from typing import Final

from tests.support import PROJECT
from tests.test_architecture import DISTRICTS, OWNERS

PAGE: Final = PROJECT / "docs/design.md"


def current(text: str) -> str:
    """The page with its tables as the architecture test has them."""
    for district, rooms in DISTRICTS.items():
        row = rf"(\| \[{district}\]\(\.\./gitstate/{district}\) \| )[^|]*( \|)"
        text, count = re.subn(row, rf"\g<1>{' '.join(rooms)}\g<2>", text)
        assert count == 1, f"{district} has no row"
    powers = "\n".join(f"| `{power}` | {', '.join(owners)} |" for power, owners in OWNERS.items())
    head = "<!-- powers -->\n| power | only in |\n|---|---|\n"
    before, found, after = text.partition(head)
    _, end, rest = after.partition("\n\n")
    assert found
    assert end
    return f"{before}{found}{powers}{end}{rest}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(current(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
