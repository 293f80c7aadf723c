"""layer create."""

from __future__ import annotations

import click

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit, location, suggest
from gitstate.machine.layers import name_problem
from gitstate.release import layers


@command("gitstate layer create lab/lab3", "gitstate layer create base --shipped", writes=True)
@click.argument("name")
@click.option("--shipped", is_flag=True, help="Fill it with the layer of that name that comes with gitstate.")
def create(session: Session, name: str, shipped: bool) -> None:
    """Create the layer NAME and an empty live tree.

    NAME is base, or KIND/NAME. Edit it, check it in and push it like a
    prototype.
    """
    plan = layers.plan_creation(session.opened.site, name, shipped=shipped)
    if not session.dry_run:
        layers.create(plan)
    word = "would be" if session.dry_run else "live in"
    value = {"repository": plan.name, "git_dir": location(plan.path), "live": location(plan.live)}
    flags = {"shipped": shipped, "dry_run": session.dry_run}
    emit(session, "layer-create/1", value | flags, [f"{plan.name}: {word} {plan.live}"])
    if wanted := name_problem(plan.name):
        session.observer.notice(f"only clients with --layer {plan.name} get it; others need {wanted}")
    if not session.dry_run:
        do = "edit vars.toml" if shipped else "add files"
        suggest(session, f"next: {do}, then gitstate checkin {plan.name} -m 'what they do'")
