"""layer list, create."""

from __future__ import annotations

from typing import Any

import click

from gitstate.cli.base.app import Session, command, completion
from gitstate.cli.base.output import date, emit, location, moment, shortened, suggest, table
from gitstate.core.errors import UsageError
from gitstate.machine.layers import name_problem, shipped
from gitstate.release import layers, renaming
from gitstate.release.layers import LayerSummary

_complete = completion(lambda session, parameters: session.opened.site.layers())


@command("gitstate layer list", "gitstate layer list lab/lab3", "gitstate layer list --shipped", name="list")
@click.argument("name", required=False, shell_complete=_complete)
@click.option("--shipped", is_flag=True, help="List the layers that come with gitstate instead.")
def list_(session: Session, name: str | None, shipped: bool) -> None:
    """List the layers, their latest snapshots, and who gets them.

    CHANNELS are those whose current release has the layer, if any of their
    clients gets it. DESCRIPTION is that of layer.toml, or the message of the
    latest snapshot. With NAME: the clients that get this layer, and why.
    """
    if shipped and name:
        raise UsageError("NAME and --shipped exclude each other", "gitstate layer list --shipped lists all of them")
    if shipped:
        _list_shipped(session)
    elif name:
        _list_clients(session, name)
    else:
        _list_layers(session)


def _list_layers(session: Session) -> None:
    found = layers.summaries(session.opened)
    rows = []
    for one in found:
        snapshot = one.snapshot
        cells = (snapshot.oid.hex()[:7], date(snapshot.when)) if snapshot else ("-", "-")
        text = one.description or (snapshot.subject if snapshot else "-") or "-"
        rows.append(
            (one.name, *cells, shortened(" ".join(one.channels) or "-", 30), str(len(one.uses)), shortened(text, 50))
        )
    heads = ("NAME", "SNAPSHOT", "CHECKED IN", "CHANNELS", "CLIENTS", "DESCRIPTION")
    value = {"layers": [_as_json(one) for one in found]}
    emit(session, "layer-list/1", value, table(rows, heads, colour=session.colour))
    if not found:
        suggest(session, "no layers yet: gitstate layer create KIND/NAME")


def _as_json(one: LayerSummary) -> dict[str, Any]:
    return {
        "repository": one.name,
        "live": location(one.live) if one.live else None,
        "commit": one.snapshot.oid.hex() if one.snapshot else None,
        "when": moment(one.snapshot.when) if one.snapshot else None,
        "subject": one.snapshot.subject if one.snapshot else None,
        "description": one.description,
        "channels": one.channels,
        "clients": len(one.uses),
    }


def _list_clients(session: Session, name: str) -> None:
    name = layers.full_name(name)
    session.opened.repository(name)
    found = layers.clients_of(session.opened, name)
    value: list[dict[str, Any]] = [
        {"host": one.client, "release": str(one.release.name) if one.release else None, "why": one.why} for one in found
    ]
    rows = [(one["host"], one["release"] or "-", one["why"]) for one in value]
    lines = table(rows, ("CLIENT", "RELEASE", "WHY"), colour=session.colour)
    emit(session, "layer-clients/1", {"repository": name, "clients": value}, lines)
    if not found:
        suggest(session, f"no client gets {name}")


def _list_shipped(session: Session) -> None:
    """List what there is, and which of it the site has a layer of."""
    own = set(session.opened.site.layers())
    found = shipped.shipped()
    value = [{"repository": one.name, "description": one.description, "exists": one.name in own} for one in found]
    rows = [(one.name, "exists" if one.name in own else "-", one.description) for one in found]
    lines = table(rows, ("NAME", "HERE", "DESCRIPTION"), colour=session.colour)
    emit(session, "layer-shipped/1", {"layers": value}, lines)
    suggest(session, "to copy one: gitstate layer create NAME --shipped")


@command("gitstate layer create lab/lab3", "gitstate layer create base --shipped", writes=True)
@click.argument("name")
@click.option("--shipped", is_flag=True, help="Fill it with the layer of that name that comes with gitstate.")
def create(session: Session, name: str, shipped: bool) -> None:
    """Create the layer NAME and an empty live tree.

    NAME is base, or KIND/NAME. Edit it, check it in and push it like a
    prototype.
    """
    plan = layers.plan_creation(session.opened.site, name, shipped=shipped)
    renaming.refuse_taken(session.opened, plan.name)
    if not session.dry_run:
        layers.create(plan)
    word = "would be" if session.dry_run else "live in"
    value = {"repository": plan.name, "git_dir": location(plan.path), "live": location(plan.live)}
    flags = {"shipped": shipped, "dry_run": session.dry_run}
    emit(session, "layer-create/1", value | flags, [f"{plan.name}: {word} {plan.live}"])
    if wanted := name_problem(plan.name):
        session.observer.notice(f"only clients with --layer {plan.name} get it; others need {wanted}")
    elif layers.gets_nobody(session.opened, plan.name):
        session.observer.notice(f"no client gets {plan.name} yet: {layers.who_gets(plan.name)}")
    if not session.dry_run:
        do = "edit vars.toml" if shipped else "add files"
        suggest(session, f"next: {do}, then gitstate checkin {plan.name} -m 'what they do'")
