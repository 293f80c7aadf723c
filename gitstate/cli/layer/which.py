"""layer which."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any, Final

import click

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import date, emit, moment, visible_line, write_name
from gitstate.cli.layer.state import at_option, host_argument, image_json, state_json, state_of
from gitstate.core.names import display, octal, tree_path, visible
from gitstate.release.layers import Action, Line, Origin, Trace, trace
from gitstate.release.state_at import MachineState

_DOES: Final = {
    Action.LAY: "sets it",
    Action.RENDER: "sets it, rendered",
    Action.MERGE: "adds lines",
    Action.DIRECTORY: "has a directory there",
    Action.HIDE: "hides it",
}
_WORDS: Final = {
    Action.LAY: "set",
    Action.RENDER: "rendered",
    Action.MERGE: "merged",
    Action.DIRECTORY: "directory",
    Action.HIDE: "hidden",
}


@command(
    "gitstate layer which lab3-14 /etc/motd",
    "gitstate layer which lab3-14 etc/passwd --all",
    "gitstate layer which lab3-14 /etc/motd --at lab3/12",
    names=True,
)
@host_argument
@click.argument("path")
@at_option
@click.option("--all", "everything", is_flag=True, help="Show all layers that have PATH, not only the one that wins.")
def which(session: Session, host: str, path: str, at: str | None, everything: bool) -> None:
    """Show who set PATH on HOST, line by line.

    With layer, commit, author and date. The lines are those of the layer's
    file; for a template, of the template. What it hides is named, too.
    """
    raw = session.raw
    state = state_of(session, host, at)
    found = trace(state, tree_path(os.fsencode(path)))
    shown = found.origins if everything else found.origins[: found.setters]
    if raw:
        for word in shown:
            write_name(word.layer.encode())
        return
    hidden = found.origins[found.setters :]
    value = state_json(state) | {
        "path": octal(found.path),
        "layers": [_word_json(word) for word in shown],
        "hides": [{"layer": word.layer, "path": octal(word.source)} for word in hidden],
        "image": image_json(state) if found.in_image else None,
    }
    lines = [] if session.json else list(_lines(state, found, shown, everything=everything))
    emit(session, "layer-which/1", value, lines)


def _lines(state: MachineState, found: Trace, shown: tuple[Origin, ...], *, everything: bool) -> Iterator[str]:
    prototype = state.context.prototype
    image = f"{prototype[0]} {prototype[1].hex()[:7]}" if prototype else "the image"
    if not found.origins:
        yield f"/{display(found.path)}: {image}; no layer has it"
        return
    for word in shown:
        yield from _word_lines(found, word)
    below = [] if everything else [word.layer for word in found.origins[found.setters :]]
    if found.in_image:
        below.append(image)
    if below:
        is_added_to = found.origins[0].action in (Action.MERGE, Action.DIRECTORY)
        yield f"{'below it' if is_added_to else 'it hides'}: {', '.join(dict.fromkeys(below))}"


def _word_lines(found: Trace, word: Origin) -> Iterator[str]:
    one = word.snapshot
    yield f"/{display(found.path)}: {word.layer} {_DOES[word.action]} ({display(word.source)})"
    yield f"  {one.oid.hex()[:7]}  {date(one.when)}  {visible(one.author)}  {visible(one.subject)}"
    width = max((len(line.author.partition(" <")[0]) for line in word.lines), default=0)
    yield from (f"  {_line(line, width)}" for line in word.lines)


def _line(line: Line, width: int) -> str:
    author = visible(line.author.partition(" <")[0])
    text = visible_line(line.text)
    return f"{line.commit[:7]}  {date(line.when)}  {author:<{width}}  {line.number:>3}  {text}".rstrip()


def _word_json(word: Origin) -> dict[str, Any]:
    one = word.snapshot
    return {
        "layer": word.layer,
        "path": octal(word.source),
        "action": _WORDS[word.action],
        "commit": one.oid.hex(),
        "author": one.author,
        "when": moment(one.when),
        "subject": one.subject,
        "lines": [asdict(line) | {"when": moment(line.when)} for line in word.lines],
    }
