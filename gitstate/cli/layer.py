"""layer: repositories of files laid over the root."""

from __future__ import annotations

import click

from gitstate.cli import layer_diff, layer_looks, layer_which
from gitstate.cli.app import Session, common, pass_session, writes
from gitstate.cli.help import Group
from gitstate.cli.output import date, emit, location, moment, shortened, table, talk
from gitstate.errors import UsageFault
from gitstate.names import LAYER_KINDS, layer_word
from gitstate.store import MAIN


@click.group(cls=Group, examples=("gitstate layer list", "gitstate layer create lab/lab3"))
@common
def layer() -> None:
    """Make layers, list them, and tell what machines get from them.

    A layer is a repository of files that are laid over the root of some
    clients: base, or KIND/NAME such as lab/lab3.
    """


@layer.command(examples=("gitstate layer create lab/lab3", "gitstate layer create base"))
@click.argument("name")
@common
@writes
@pass_session
def create(session: Session, name: str) -> None:
    """Make the layer NAME and its live tree, empty.

    NAME is base, or KIND/NAME. It is edited, checked in and pushed as a
    prototype is.
    """
    site = session.site
    kind, slash, rest = name.partition("/")
    if name != "base" and (not slash or kind not in LAYER_KINDS or not rest):
        raise UsageFault(f"{name!r} is not a layer", f"base, or KIND/NAME with a KIND of {', '.join(LAYER_KINDS)}")
    name = f"{kind}/{layer_word(rest)}" if slash else name
    path = site.repository_path(name)
    if path.exists():
        raise UsageFault(f"there is a layer {name} already", "gitstate layer list shows what there is")
    if not session.dry_run:
        site.create_layer(name)
    live = site.live_path(name)
    word = "would be" if session.dry_run else "live in"
    value = {"repository": name, "git_dir": location(path), "live": location(live), "dry_run": session.dry_run}
    emit(session, "layer-create/1", value, [f"{name}: {word} {live}"])
    if not session.dry_run:
        talk(session, f"next: put files there, then gitstate checkin {name} -m 'what they do'")


@layer.command("list", examples=("gitstate layer list",))
@common
@pass_session
def list_(session: Session) -> None:
    """List the layers and their latest snapshots."""
    found, rows = [], []
    for name in session.site.layers():
        repository = session.site.repository(name)
        commit = repository.ref(MAIN)
        snapshot = repository.snapshot(commit) if commit else None
        subject = snapshot.message.partition("\n")[0] if snapshot else None
        found.append(
            {
                "repository": name,
                "live": location(repository.live) if repository.live else None,
                "commit": commit.hex() if commit else None,
                "when": moment(snapshot.when) if snapshot else None,
                "subject": subject,
            }
        )
        cells = (commit.hex()[:7], date(snapshot.when)) if commit and snapshot else ("-", "-")
        rows.append((name, *cells, shortened(subject or "-", 50), str(repository.live or "-")))
    heads = ("NAME", "SNAPSHOT", "CHECKED IN", "MESSAGE", "LIVE TREE")
    emit(session, "layer-list/1", {"layers": found}, table(rows, heads, colour=session.colour))
    if not found:
        talk(session, "no layers yet: gitstate layer create KIND/NAME")


for _command in (layer_looks.resolve, layer_looks.render, layer_which.which, layer_diff.diff):
    layer.add_command(_command)
