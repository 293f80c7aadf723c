"""layer diff."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit, letter, suggest, visible_line, write_name
from gitstate.cli.client.options import complete_client
from gitstate.cli.layer.state import at_option, source_of, state_json, state_of
from gitstate.core.errors import UsageError
from gitstate.core.names import display, octal, visible
from gitstate.release import layers
from gitstate.release.layers import Difference, RenderedEntry
from gitstate.release.state_at import MachineState, is_moment
from gitstate.tree.change import meta_json
from gitstate.tree.change.content import ContentChange, KeyChange


@command(
    "gitstate layer diff lab3-14 lab3-15",
    "gitstate layer diff lab3-14 --at lab3/11 lab3/12",
    "gitstate layer diff lab3-14 lab3-15 --at lab3/12",
    names=True,
)
@click.argument("host", shell_complete=complete_client)
@click.argument("others", metavar="[HOST | RELEASE]...", nargs=-1, shell_complete=complete_client)
@at_option
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there are differences.")
def diff(session: Session, host: str, others: tuple[str, ...], at: str | None, exit_code: bool) -> int:
    """Compare what two machines get from their layers.

    With one HOST and --at OLD NEW: what it got from two releases. JSON, YAML,
    TOML and INI are compared key by key, other text by lines. Times are
    ignored.
    """
    raw = session.raw
    old, new = _sides(session, host, others, at)
    found = layers.compare(old, new)
    if raw:
        for one in found:
            write_name(one.path)
    else:
        value = {"old": state_json(old), "new": state_json(new), "changes": [difference_json(one) for one in found]}
        lines = [] if session.json else [line for one in found for line in difference_lines(session, one)]
        emit(session, "layer-diff/1", value, lines)
        if not found:
            suggest(session, f"no difference: {_title(old)}, {_title(new)}")
    return 1 if exit_code and found else 0


def _title(state: MachineState) -> str:
    return f"{state.client.name} ({source_of(state)})"


def _sides(session: Session, host: str, others: tuple[str, ...], at: str | None) -> tuple[MachineState, MachineState]:
    """Two hosts at one release, or one host at two. Raises UsageError."""
    if len(others) != 1:
        raise UsageError(
            "two hosts, or one host and two releases, are needed",
            "HOST1 HOST2, or HOST --at OLD NEW; OLD and NEW are releases or days",
        )
    other = others[0]
    if at is not None and ("/" in other or other.isdigit() or is_moment(other)):
        return state_of(session, host, at), state_of(session, host, other)
    return state_of(session, host, at), state_of(session, other, at)


# --- for people -------------------------------------------------------------------------------------------------------


def difference_lines(session: Session, one: Difference) -> Iterator[str]:
    """A difference for people, its content below it."""
    words = f"  ({', '.join(one.metadata)})" if one.metadata else ""
    layers = " -> ".join(dict.fromkeys(item.layer for item in (one.old, one.new) if item))
    yield f"{letter(one.letter, colour=session.colour)}  {display(one.path)}  {layers}{words}"
    if one.content is not None:
        yield from (f"   {line}" for line in _content_lines(one.content))


def _content_lines(content: ContentChange) -> Iterator[str]:
    if content.keys is not None:
        yield from map(_key_line, content.keys)
    elif content.lines is not None:
        yield from (visible_line(line) for line in content.lines)
    else:
        yield "binary content differs"


def _key_line(key: KeyChange) -> str:
    name = visible(key.key or "all of it")
    if key.is_added:
        return f"+{name} = {_value(key.new)}"
    return f"-{name} = {_value(key.old)}" if key.is_removed else f"{name}: {_value(key.old)} -> {_value(key.new)}"


def _value(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# --- for programs -----------------------------------------------------------------------------------------------------


def difference_json(one: Difference) -> dict[str, Any]:
    """A difference for JSON."""
    return {
        "status": one.letter,
        "path": octal(one.path),
        "old": _side_json(one.old),
        "new": _side_json(one.new),
        "details": list(one.metadata),
        "keys": _keys_json(one.content),
        "lines": list(one.content.lines) if one.content and one.content.lines is not None else None,
        "content": one.content is not None,
    }


def _side_json(item: RenderedEntry | None) -> dict[str, Any] | None:
    if item is None:
        return None
    return {
        "layer": item.layer,
        "commit": item.commit.hex(),
        "meta": meta_json(item.meta) if item.meta else None,
        "hides": item.covers,
    }


def _keys_json(content: ContentChange | None) -> list[dict[str, Any]] | None:
    if content is None or content.keys is None:
        return None
    letters = ["A" if key.is_added else "D" if key.is_removed else "M" for key in content.keys]
    return [
        {"key": key.key, "status": letter, "old": key.old, "new": key.new}
        for letter, key in zip(letters, content.keys, strict=True)
    ]
