"""client report: what a machine says of its hardware."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from gitstate import settings
from gitstate.cli.app import Session, common, pass_session, writes
from gitstate.cli.client_values import one_name
from gitstate.cli.help import Command
from gitstate.cli.output import emit, talk
from gitstate.errors import GitstateError, NotFound, PartlyDone
from gitstate.layers import probe
from gitstate.layers.hardware import Match
from gitstate.release import hardware
from gitstate.store import Signature

_NAMED: Final = 5
_KEPT: Final = "that is kept, but machine archives stay as they were"


@click.command(
    cls=Command,
    examples=(
        "gitstate client report lab3-12 probe.json",
        "ssh lab3-12 gitstate probe | gitstate client report lab3-12 -",
    ),
)
@one_name
@click.argument("file", type=click.Path(path_type=Path, readable=False, allow_dash=True))
@click.option("--author", metavar="NAME", help="Who says so: 'Name <mail>'.")
@common
@writes
@pass_session
def report(session: Session, name: str, file: Path, author: str | None) -> None:
    """Keep what gitstate probe printed on the machine NAME.

    - reads standard input. The rules of gitstate class say of which hardware
    classes it is. gitstate probe --report does the same from the machine.
    """
    _take(session, name, content(file), settings.author(session.settings, author))


def content(file: Path) -> bytes:
    """What a report may hold of a file, or of standard input. Raises NotFound."""
    try:
        with sys.stdin.buffer if str(file) == "-" else open(file, "rb") as stream:
            return stream.read(probe.LONGEST + 1)
    except FileNotFoundError:
        raise NotFound(f"{file}: no such file", "- is standard input") from None


def receive(session: Session, host: str) -> int:
    """Take a report that came by ssh. Raises NotFound, UsageFault."""
    data = sys.stdin.buffer.read(probe.LONGEST + 1)
    _take(session, host, data, replace(settings.committer(), who=settings.caller()))
    return 0


def _take(session: Session, host: str, data: bytes, author: Signature) -> None:
    planned = hardware.plan_report(session.site, host, data)
    if not session.dry_run:
        hardware.apply_report(planned, author, settings.committer())
    value = {
        "client": planned.host,
        "is_news": planned.is_news,
        "classes_before": list(planned.before),
        "classes": list(planned.classes),
        "why": as_json(planned.why),
        "dry_run": session.dry_run,
    }
    emit(session, "client-report/1", value, _told(planned, dry_run=session.dry_run))
    if not session.dry_run and (planned.is_news or planned.classes != planned.before):
        renew_archives(session, [planned.host])


def renew_archives(session: Session, hosts: Iterable[str] | None) -> None:
    """Machine archives follow what is known of machines: those of ``hosts``, or all. Raises PartlyDone."""
    from gitstate.release import refresh  # most reports say nothing new

    site, observer = session.site, session.observer
    try:
        made = refresh.refresh(site, observer) if hosts is None else refresh.again(site, hosts, observer)
    except GitstateError as error:
        raise PartlyDone(f"{_KEPT}: {error.message}", error.hint) from None
    except OSError as error:
        what = f"{_KEPT}: {error.filename}: {error.strerror}"
        raise PartlyDone(what, "make room, or mend it; then: gitstate boot write") from None
    for one in made:
        names = [*one.added, *one.changed]
        what = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} machines"
        if names:
            talk(session, f"machine archives of {one.release.name} made anew: {what}")


def _told(planned: hardware.ReportPlan, *, dry_run: bool) -> list[str]:
    what = "would keep its report" if dry_run else "kept its report"
    lines = [f"{planned.host}: {what if planned.is_news else 'its hardware is as it was'}"]
    if planned.classes != planned.before:
        word = "would be of class" if dry_run else "class"
        before, after = " ".join(planned.before) or "none", " ".join(planned.classes) or "none"
        lines.append(f"{planned.host}: {word} {after} (before: {before})")
    return lines


def as_json(why: Iterable[Match]) -> list[dict[str, Any]]:
    """Why a machine is of its classes."""
    return [{"class": one.name, "pattern": one.pattern, "modalias": one.modalias} for one in why]
