"""client report: what a machine says of its hardware."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit
from gitstate.cli.client.options import content, one_name
from gitstate.cli.client.output import refresh_archives, running_as_json
from gitstate.core import settings
from gitstate.core.errors import GitstateError
from gitstate.core.signature import Signature
from gitstate.machine.hardware import probe
from gitstate.machine.hardware import rules as hardware
from gitstate.machine.hardware.match import Match


@command(
    "gitstate client report lab3-12 probe.json",
    "ssh lab3-12 gitstate probe | gitstate client report lab3-12 -",
    writes=True,
)
@one_name
@click.argument("file", type=click.Path(path_type=Path, readable=False, allow_dash=True))
@click.option("--author", metavar="NAME", help="Author of the report: 'Name <mail>'.")
def report(session: Session, name: str, file: Path, author: str | None) -> None:
    """Record a hardware report of the machine NAME.

    FILE is the output of gitstate probe on that machine; - is standard input.
    The rules of gitstate class decide which hardware classes it has. gitstate
    probe --report does the same on the machine itself.
    """
    _record(session, name, content(file, probe.LONGEST), session.author(author))


def receive_report(session: Session, host: str) -> int:
    """Take a report that came by ssh. Raises NotFoundError, UsageError."""
    data = sys.stdin.buffer.read(probe.LONGEST + 1)
    _record(session, host, data, replace(settings.committer(), who=settings.caller()))
    return 0


def _record(session: Session, host: str, data: bytes, author: Signature) -> None:
    planned = hardware.plan_report(session.opened.site, session.opened.directory, host, data)
    if not session.dry_run:
        hardware.apply_report(planned, lambda: session.opened.reopened().directory, author, settings.committer())
    value = {
        "client": planned.host,
        "is_news": planned.is_news,
        "running": running_as_json(planned.running),
        "classes_before": list(planned.before),
        "classes": list(planned.classes),
        "why": as_json(planned.why),
        "dry_run": session.dry_run,
    }
    emit(session, "client-report/1", value, _lines(planned, dry_run=session.dry_run))
    if not session.dry_run and (planned.is_news or planned.classes != planned.before or _is_outdated(session, host)):
        refresh_archives(session, [planned.host])


def _is_outdated(session: Session, host: str) -> bool:
    """Whether an earlier report was kept, and interrupted before the machine had its archive."""
    from gitstate.release import refresh  # all that makes archives takes long to load

    try:
        return refresh.is_outdated(session.opened, host)
    except GitstateError:  # so will be the update, which says what it is that is saved
        return True


def _lines(planned: hardware.ReportPlan, *, dry_run: bool) -> list[str]:
    what = "would keep its report" if dry_run else "kept its report"
    lines = [f"{planned.host}: {what if planned.is_news else 'its hardware is as it was'}"]
    if planned.running is not None:
        lines.append(f"{planned.host}: runs {planned.running}")
    if planned.classes != planned.before:
        word = "would be of class" if dry_run else "class"
        before, after = " ".join(planned.before) or "none", " ".join(planned.classes) or "none"
        lines.append(f"{planned.host}: {word} {after} (before: {before})")
    return lines


def as_json(why: Iterable[Match]) -> list[dict[str, Any]]:
    """Why a machine is of its classes."""
    return [{"class": one.name, "pattern": one.pattern, "modalias": one.modalias} for one in why]
