"""merge-driver."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gitstate.cli.base.app import PATH, Session, command
from gitstate.core.names import display
from gitstate.tree import merge


@command("git merge runs it: gitstate merge-driver %O %A %B", name="merge-driver", hidden=True)
@click.argument("base", type=PATH)
@click.argument("ours", type=PATH)
@click.argument("theirs", type=PATH)
def merge_driver(session: Session, base: Path, ours: Path, theirs: Path) -> int:
    """Merge three .gitstate files into OURS, entry by entry.

    git runs it for merge=gitstate (gitattributes(5)). Exits with 1 if there are
    conflicts.
    """
    parsed = [merge.parse_side(path.read_bytes(), path.name) for path in (base, ours, theirs)]
    result = merge.merge_records(*parsed)
    ours.write_bytes(result.text)
    for name in result.conflicts:
        print(f"both sides changed the record of {display(name)}", file=sys.stderr)
    return 1 if result.conflicts else 0
