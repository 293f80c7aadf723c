"""layer remove, rename."""

from __future__ import annotations

import click

from gitstate.cli.base.app import Session, command, completion
from gitstate.cli.base.output import confirm, emit, location, suggest
from gitstate.cli.base.renaming import renamed
from gitstate.core.errors import UsageError
from gitstate.release import layers, renaming

complete_layer = completion(lambda session, parameters: session.opened.site.layers())


@command("gitstate layer remove lab/lab3 --yes", "gitstate layer remove host/lab3-14 -n", writes=True)
@click.argument("name", shell_complete=complete_layer)
@click.option("--yes", is_flag=True, help="Don't ask.")
def remove(session: Session, name: str, yes: bool) -> None:
    """Remove the layer NAME, its live tree and its history.

    Clients that name it (--layer) lose that. Machines lose its files with the
    next boot write or push; a rollback doesn't bring them back.
    """
    plan = layers.plan_removal(session.opened, name)
    if not session.dry_run:
        if not yes:
            refusal = UsageError(f"removing {plan.name} deletes its history", "confirm with --yes")
            confirm(session, f"Delete {', '.join(map(str, plan.paths))} with all history?", refusal)
        layers.remove(session.opened, plan, session.author(None), session.observer)
    value = {
        "repository": plan.name,
        "removed": [location(path) for path in plan.paths],
        "clients": list(plan.clients),
        "channels": list(plan.channels),
        "dry_run": session.dry_run,
    }
    word = "would remove" if session.dry_run else "removed"
    lines = [f"{word} {path}" for path in plan.paths]
    lines += [f"{word} --layer {plan.name} from client {one}" for one in plan.clients]
    emit(session, "layer-remove/1", value, lines)
    if plan.channels:
        suggest(session, f"clients of {', '.join(plan.channels)} have it until: gitstate boot write")


@command("gitstate layer rename lab/lab3 lab/physics", "gitstate layer rename host/a host/b -n", writes=True)
@click.argument("name", shell_complete=complete_layer)
@click.argument("new")
def rename(session: Session, name: str, new: str) -> None:
    """Give the layer NAME the name NEW.

    Repository, live tree, clients that name it (--layer) and releases follow.
    Which machines get a layer follows from its name. If it was interrupted, run
    it again.
    """
    old, new = layers.full_name(name), layers.full_name(new)
    renaming.require_layer(session.opened, old)
    layers.check_name(new)
    renamed(session, "layer-rename/1", renaming.plan(session.opened, old, new))
