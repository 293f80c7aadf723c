"""What a check-in did, as a line or JSON."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from gitstate.cli.base.app import Session
from gitstate.cli.base.output import LETTERS, emit, seconds
from gitstate.cli.tree.changes import note_skipped, status_json, status_lines
from gitstate.tree.checkin import Result, Status


def report(session: Session, name: str, live: Path, branch: str, found: Status, result: Result | None) -> None:
    """Print what a check-in did; without ``result``, what it would do."""
    value = status_json(name, live, found) | {
        "branch": branch,
        "commit": result.commit.hex() if result and result.commit else None,
        "objects": result.objects if result else 0,
        "blobs": result.blobs if result else 0,
        "seconds": round(result.seconds, 3) if result else None,
        "dry_run": session.dry_run,
    }
    emit(session, "checkin/1", value, [_result(name, result)] if result else status_lines(session, name, found, False))
    note_skipped(session, found)


def _result(name: str, result: Result) -> str:
    if result.commit is None:
        return f"{name}: nothing changed"
    counts = Counter(item.letter for item in result.status.changes if not item.is_time_only)
    parts = [f"{counts[key]} {word}" for key, word in LETTERS.items() if counts[key]]
    counted = f"  {', '.join(parts)}" if parts else ""
    return f"{result.commit.hex()[:7]}  {result.status.findings.entries} entries{counted}  {seconds(result.seconds)}"
