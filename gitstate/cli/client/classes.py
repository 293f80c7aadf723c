"""class: rules that say of which hardware class a machine is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import Session, command, completion, group
from gitstate.cli.base.output import emit, suggest, table
from gitstate.cli.client.options import authorship_options, content, one_name, parsed
from gitstate.cli.client.output import refresh_archives
from gitstate.cli.client.report import as_json as why_as_json
from gitstate.core import settings
from gitstate.core.errors import NotFoundError, UsageError
from gitstate.directory import HardwareClass
from gitstate.directory.model import classes
from gitstate.directory.model import clients as model
from gitstate.machine.hardware import lspci, probe
from gitstate.machine.hardware import rules as hardware
from gitstate.machine.hardware.match import SHIPPED, Match, matches_of
from gitstate.machine.hardware.reports import Reports
from gitstate.machine.layers import Classes, load

_SHOWN = 20

_complete = completion(lambda session, parameters: session.opened.directory.classes())


@group("gitstate class list", "gitstate class set nvidia '10de:*:03'", name="class")
def class_() -> None:
    """Hardware classes: which devices put a machine into which class.

    A machine of class NAME gets the layer class/NAME. [layers] classes in
    site.toml says whether the first class that matches counts, or all of them.
    """


@command(
    "gitstate class set --shipped",
    "gitstate class set nvidia '10de:*:03' --order 10",
    "gitstate class set fpga '10ee:*' 'pci:v00001172d*bc12*'",
    name="set",
    group=class_,
    writes=True,
)
@click.argument("name", required=False, callback=parsed(model.class_name), shell_complete=_complete)
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1, callback=parsed(classes.pattern))
@click.option(
    "--order",
    metavar="N",
    callback=parsed(classes.order_number),
    help=f"Its place among the classes, 0 is first [{classes.DEFAULT_ORDER}].",
)
@click.option("--shipped", is_flag=True, help="Create the classes nvidia, intel and virtual, unless they exist.")
@authorship_options
def set_(
    session: Session,
    name: str | None,
    patterns: tuple[str, ...],
    order: int | None,
    shipped: bool,
    message: str | None,
    author: str | None,
) -> None:
    """Create or change the hardware class NAME.

    A machine belongs to it if one of its PCI devices matches one of the
    PATTERNs: VENDOR:DEVICE or VENDOR:DEVICE:CLASS in hex with * and ?, as lspci
    -nn shows them (10de:*:03 is any display controller of vendor 10de), or a
    pattern for modaliases. Clients that have reported their hardware change
    class at once.
    """
    if shipped and (name is not None or order is not None):
        raise UsageError("--shipped excludes NAME, PATTERN and --order", "gitstate class set --shipped")
    if not shipped and name is None:
        raise UsageError("NAME and PATTERN are missing", "gitstate class set nvidia '10de:*:03'")
    existing = session.opened.directory.classes()
    if name is None:
        wanted = [one for one in SHIPPED if one.name not in existing]
    else:
        old = existing.get(name, HardwareClass(name, ()))
        wanted = [HardwareClass(name, patterns or old.patterns, old.order if order is None else order)]
    plan = hardware.plan_rules(session.opened.site, session.opened.directory, wanted, ())
    said = ", ".join(f"{one.name}: {' '.join(one.patterns)}" for one in plan.put)
    _apply(session, "class-set", plan, message or f"class set {said}", author)
    if name is None and plan.put and not session.dry_run:
        suggest(session, "next: gitstate layer create class/nvidia --shipped, and so on")


@command("gitstate class remove fpga", group=class_, writes=True)
@click.argument("name", nargs=-1, required=True, shell_complete=_complete)
@authorship_options
def remove(session: Session, name: tuple[str, ...], message: str | None, author: str | None) -> None:
    """Remove hardware classes. Clients keep their other classes."""
    plan = hardware.plan_rules(session.opened.site, session.opened.directory, (), name)
    _apply(session, "class-remove", plan, message or f"class remove {', '.join(plan.removed)}", author)


def _apply(session: Session, shape: str, plan: hardware.RulesPlan, message: str, author: str | None) -> None:
    who = session.author(author)
    if not session.dry_run:
        hardware.apply_rules(plan, who, settings.committer(), message)
    value = {
        "classes": [_as_json(one) for one in plan.put],
        "removed": list(plan.removed),
        "clients": [
            {"name": new.name, "before": list(old.classes), "classes": list(new.classes)} for old, new in plan.clients
        ],
        "dry_run": session.dry_run,
    }
    would = "would " if session.dry_run else ""
    lines = [
        *(f"{would}set {one.name}: {' '.join(one.patterns)}, order {one.order}" for one in plan.put),
        *(f"{would}remove{'' if would else 'd'} {name}" for name in plan.removed),
        *_client_lines(plan),
    ]
    emit(session, f"{shape}/1", value, lines or ["nothing to change"])
    if not session.dry_run:  # if nothing changed, too: an earlier run may have been interrupted here
        refresh_archives(session, None)


def _client_lines(plan: hardware.RulesPlan) -> list[str]:
    lines = [
        f"{new.name}: class {' '.join(new.classes) or 'none'} (before: {' '.join(old.classes) or 'none'})"
        for old, new in plan.clients
    ]
    more = len(lines) - _SHOWN
    return [*lines[:_SHOWN], f"and {more} more clients"] if more > 1 else lines


@command("gitstate class list", name="list", group=class_)
def list_(session: Session) -> None:
    """List the hardware classes in order."""
    directory = session.opened.directory
    found, layers = directory.classes(), set(session.opened.site.layers())
    counts = Counter(name for one in directory.clients().values() for name in one.classes)
    rows = [
        (
            str(one.order),
            one.name,
            "yes" if f"class/{one.name}" in layers else "no",
            str(counts[one.name]),
            " ".join(one.patterns),
        )
        for one in found.values()
    ]
    value = {
        "match_all": load(session.opened.site).classes is Classes.ALL,
        "classes": [
            {**_as_json(one), "layer": f"class/{one.name}" in layers, "clients": counts[one.name]}
            for one in found.values()
        ],
    }
    heads = ("ORDER", "NAME", "LAYER", "CLIENTS", "PATTERNS")
    emit(session, "class-list/1", value, table(rows, heads, colour=session.colour))
    if not found:
        suggest(session, "no hardware classes yet: gitstate class set --shipped")


@command("gitstate class of lab3-12", group=class_)
@one_name
def of(session: Session, name: str) -> None:
    """Show the hardware classes of the client NAME.

    They follow from its last report; the rules and devices that match are
    shown.
    """
    client = session.opened.directory.client(name)
    rules = session.opened.directory.classes().values()
    report = Reports(session.opened.site).get(client.name)
    if report is None:
        raise NotFoundError(
            f"{client.name} has not reported its hardware", "gitstate probe --report does, on the machine"
        )
    _print_matches(session, "class-of", hardware.matches(session.opened.site, rules, report))


@command("gitstate class test probe.json", "lspci -n | gitstate class test -", group=class_)
@click.argument("file", type=click.Path(path_type=Path, readable=False, allow_dash=True))
def test(session: Session, file: Path) -> None:
    """Show the hardware classes of any machine.

    The rules and devices that match are shown. FILE is the output of gitstate
    probe, of lspci -n, -nn or -nm, or a list of modaliases; - is standard
    input.
    """
    data = content(file, probe.LONGEST)
    rules = session.opened.directory.classes()
    every = load(session.opened.site).classes is Classes.ALL
    _print_matches(session, "class-test", matches_of(rules.values(), lspci.modaliases(data), every))


def _print_matches(session: Session, shape: str, why: Sequence[Match]) -> None:
    rows = [(one.name, one.pattern, one.modalias) for one in why]
    value = {"classes": why_as_json(why)}
    lines = table(rows, ("CLASS", "PATTERN", "DEVICE"), colour=session.colour)
    emit(session, f"{shape}/1", value, lines or ["no class fits"])


def _as_json(one: HardwareClass) -> dict[str, Any]:
    return {"name": one.name, "order": one.order, "patterns": list(one.patterns)}
