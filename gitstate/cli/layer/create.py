"""layer create."""

from __future__ import annotations

import click

from gitstate.cli.base.app import Session, common, pass_session, writes
from gitstate.cli.base.help import Command
from gitstate.cli.base.output import emit, location, talk
from gitstate.cli.layer import (
    shipped as layer_shipped,
)
from gitstate.core.errors import UsageError
from gitstate.core.names import LAYER_KINDS, layer_word
from gitstate.machine.layers import name_problem


@click.command(cls=Command, examples=("gitstate layer create lab/lab3", "gitstate layer create base --shipped"))
@click.argument("name")
@click.option("--shipped", is_flag=True, help="Fill it with the layer of that name that comes with gitstate.")
@common
@writes
@pass_session
def create(session: Session, name: str, shipped: bool) -> None:
    """Create the layer NAME and an empty live tree.

    NAME is base, or KIND/NAME. Edit it, check it in and push it like a
    prototype.
    """
    site = session.opened.site
    kind, slash, rest = name.partition("/")
    if name != "base" and (not slash or kind not in LAYER_KINDS or not rest):
        raise UsageError(f"{name!r} is not a layer", f"base, or KIND/NAME with a KIND of {', '.join(LAYER_KINDS)}")
    name = f"{kind}/{layer_word(rest)}" if slash else name
    path = site.repository_path(name)
    if path.exists():
        raise UsageError(f"there is a layer {name} already", "see gitstate layer list")
    live = site.live_path(name)
    if shipped:
        layer_shipped.find_shipped(name)
    if not session.dry_run:
        site.create_layer(name)
        if shipped:
            layer_shipped.copy_shipped(name, live)
    word = "would be" if session.dry_run else "live in"
    value = {"repository": name, "git_dir": location(path), "live": location(live)}
    flags = {"shipped": shipped, "dry_run": session.dry_run}
    emit(session, "layer-create/1", value | flags, [f"{name}: {word} {live}"])
    if wanted := name_problem(name):
        session.observer.notice(f"only machines whose entry names {name} get it: a layer of {kind}/ needs {wanted}")
    if not session.dry_run:
        do = "edit vars.toml" if shipped else "add files"
        talk(session, f"next: {do}, then gitstate checkin {name} -m 'what they do'")
