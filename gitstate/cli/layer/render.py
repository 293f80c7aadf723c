"""layer render, resolve."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import PATH, Session, command
from gitstate.cli.base.output import emit, letter, location, suggest, write_name
from gitstate.cli.layer.output import directories_json, directory_lines
from gitstate.cli.layer.state import at_option, commits_json, host_argument, source_of, state_json, state_of
from gitstate.core.entry import Kind
from gitstate.core.errors import UsageError
from gitstate.core.names import display, octal
from gitstate.release import layers
from gitstate.release.layers import DirectoryChange, RenderedEntry


@command(
    "gitstate layer render lab3-14",
    "gitstate layer render lab3-14 --to /tmp/lab3-14",
    "gitstate layer render lab3-14 --at lab3/12 --to /tmp/lab3-14 -n",
    "gitstate layer render lab3-14 --to /srv/lab3-14/layers --overlay",
    names=True,
    writes=True,
)
@host_argument
@at_option
@click.option("--to", metavar="DIR", type=PATH, help="A new or empty directory to write to.")
@click.option("--overlay", is_flag=True, help="Make DIR usable as a lower directory of an overlay.")
def render(session: Session, host: str, at: str | None, to: Path | None, overlay: bool) -> None:
    """Render all that HOST gets from its layers, and list it.

    With --to it is written, including owners, modes and times; what the layers
    hide from the machine is written as .wh.NAME, or with --overlay as overlayfs
    hides it: a container can run off an export with DIR over it.
    """
    raw = session.raw
    if overlay and to is None:
        raise UsageError("--overlay needs --to", "gitstate layer render HOST --to DIR --overlay")
    state = state_of(session, host, at)
    found = state.rendered
    if to is not None:
        layers.write(state, to, for_overlay=overlay, dry_run=session.dry_run)
    if raw:
        for item in found.items:
            write_name(item.path)
        return
    directories = layers.directories(state)
    value = state_json(state) | {
        "layers": commits_json(state),
        "key": found.key,
        "directory": location(to) if to else None,
        "directories": directories_json(directories),
        "entries": [_item_json(item) for item in found.items],
        "dry_run": session.dry_run,
    }
    lines = [] if session.json else list(_lines(session, found.items, directories))
    emit(session, "layer-render/1", value, lines)
    image = state.batch.image.name
    for line in directory_lines([one for one in directories if not one.is_applied], image):
        session.observer.notice(line)
    if not found.items:
        suggest(session, f"{state.client.name} gets nothing from layers ({source_of(state)})")


def _lines(session: Session, items: Sequence[RenderedEntry], directories: Sequence[DirectoryChange]) -> Iterator[str]:
    width = max((len(item.layer) for item in items), default=0)
    words = {one.path: f"  ({', '.join(one.words)})" for one in directories if one.is_applied}
    for item in items:
        sign = letter("D" if item.meta is None else "A", colour=session.colour)
        slash = "/" if item.meta is not None and item.meta.kind is Kind.DIRECTORY else ""
        yield f"{sign}  {item.layer:<{width}}  {display(item.path)}{slash}{words.get(item.path, '')}"


def _item_json(item: RenderedEntry) -> dict[str, Any]:
    from gitstate.tree.change import meta_json

    return {
        "path": octal(item.path),
        "meta": meta_json(item.meta) if item.meta else None,
        "hides": item.covers,
        "layer": item.layer,
        "commit": item.commit.hex(),
    }


@command("gitstate layer resolve lab3-14", "gitstate layer resolve lab3-14 --at lab3/12", names=True)
@host_argument
@at_option
def resolve(session: Session, host: str, at: str | None) -> None:
    """Show which layers HOST gets, the lowest first, and why.

    A later layer wins file by file. HOST is a client; its layers are those of
    the release that its channel runs, or else the latest snapshots.
    """
    raw = session.raw
    state = state_of(session, host, at)
    resolution = state.resolution
    if raw:
        for one in resolution.layers:
            write_name(one.name.encode())
        return
    commits = state.context.layers
    missing = [{"repository": one.name, "why": one.why} for one in resolution.missing]
    value = state_json(state) | {"layers": commits_json(state), "missing": missing}
    width = max((len(one.name) for one in resolution.layers), default=0)
    lines = [f"{one.name:<{width}}  {commits[one.name].hex()[:7]}  {one.why}" for one in resolution.layers]
    emit(session, "layer-resolve/1", value, lines)
    if not lines:
        suggest(session, f"{state.client.name} gets no layers from {source_of(state)}")
