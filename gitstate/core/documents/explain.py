"""Why values don't fit a declaration, in words: file, line, key, what is wrong and what to do."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from gitstate.core.documents.declare import Document, FieldError
from gitstate.core.wording import did_you_mean, nearest

_MISFIT: Final = re.compile(
    r"(?:Object (?:contains unknown|missing required) field `(?P<field>.*?)`|.*?)"
    r"(?: - at `(?:key` in `)?\$(?P<path>[^`]*)`)?",
    re.DOTALL,
)
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+)\]")

Path = tuple[str | int, ...]
_Node = dict[str, Any]


def schema(kind: type[Document]) -> _Node:
    """The JSON Schema of a document."""
    return msgspec.json.schema(kind)


def explain(kind: type[Document], value: object, fault: msgspec.ValidationError) -> tuple[Path, str, str]:
    """The path of what doesn't fit in ``value``, what is wrong with it, and a hint."""
    whole = schema(kind)
    misfit = _MISFIT.fullmatch(str(fault))
    assert misfit
    path: Path = tuple(name or int(place) for name, place in _STEP.findall(misfit["path"] or ""))
    if isinstance(cause := fault.__cause__, FieldError):
        path += steps(cause.key)
        problem, hint = cause.problem, cause.hint
    elif (name := misfit["field"]) is not None:
        known = _node(whole, path).get("properties", {})
        path += (name,)
        problem, hint = ("is missing", "") if name in known else ("is not a key", _known(name, known))
    else:
        problem, hint = _mismatch(_value(value, path), _node(whole, path))
    return path, problem, hint or _meaning(_node(whole, path))


def located(text: bytes, path: Path) -> str:
    """``, line 7: boot.dhcp``, to follow the file's name; without the line if ``text`` doesn't have it."""
    keys = "".join(f"[{step}]" if isinstance(step, int) else f".{ascii(step)[1:-1][:60]}" for step in path)
    line = _line(text, path)
    return f"{f', line {line}' if line else ''}: {keys.removeprefix('.') or 'the file'}"


def steps(key: str) -> Path:
    """The path of a dotted key: ``allow[1].path``."""
    return tuple(name or int(place) for name, place in _STEP.findall(f".{key}" if key else ""))


def _value(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


# --- the declaration, as a schema -------------------------------------------------------------------------------------


def _node(whole: _Node, path: Path) -> _Node:
    """What the schema says of the value at ``path``; empty where it says nothing."""
    node = _resolved(whole, whole)
    for step in path:
        options = [_resolved(whole, one) for one in (node, *node.get("anyOf", ()))]
        node = next((_resolved(whole, found) for one in options if (found := _below(one, step))), {})
    return node


def _resolved(whole: _Node, node: _Node) -> _Node:
    if "$ref" not in node:
        return node
    return {**whole["$defs"][node["$ref"].rpartition("/")[2]], **node}


def _below(node: _Node, step: str | int) -> _Node:
    if isinstance(step, int):
        places = [*node.get("prefixItems", ())]
        return places[step] if step < len(places) else node.get("items") or {}
    found: _Node = node.get("properties", {}).get(step) or node.get("additionalProperties") or {}
    return found


# --- words ------------------------------------------------------------------------------------------------------------


def _known(name: str, known: Iterable[str]) -> str:
    return did_you_mean(nearest(name, known), f"known here: {', '.join(known)}")


def _mismatch(value: object, node: _Node) -> tuple[str, str]:
    latest = node.get("enum", [None])[-1]
    if isinstance(latest, int) and isinstance(value, int) and value > latest:
        return f"{value} is newer than this gitstate knows", "upgrade gitstate"
    return f"is {_shown(value)}, not {expected(node)}", ""


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else f"a list of {len(value)}"
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def expected(node: _Node) -> str:
    """What values a node of a schema takes, in words."""
    if options := [one for one in node.get("anyOf", ()) if one.get("type") != "null"]:
        return " or ".join(expected(one) for one in options)
    if "enum" in node:
        return "one of " * (len(node["enum"]) > 1) + ", ".join(map(str, node["enum"]))
    if "title" in node and node.get("type") != "object":
        return str(node["title"])
    low, high = (node.get(f"m{end}", node.get(f"m{end}Items")) for end in ("inimum", "aximum"))
    words = {"boolean": "true or false", "integer": "a whole number", "array": "a list", "object": "a table"}
    limits = [f"from {low}"] if low is not None else []
    return " ".join([words.get(node.get("type", ""), "text"), *limits, *([f"to {high}"] if high is not None else [])])


def _meaning(node: _Node) -> str:
    """What a key is for, as a hint."""
    examples = [f", such as {json.dumps(one, ensure_ascii=False)}" for one in node.get("examples", ())]
    return phrase(str(node.get("description", "see docs")).split(". ")[0].rstrip(".")) + "".join(examples[:1])


def phrase(sentence: str) -> str:
    """A sentence as part of another one: its first letter is small unless it begins with an abbreviation."""
    return sentence[:1].lower() + sentence[1:] if sentence[1:2].islower() else sentence


# --- lines ------------------------------------------------------------------------------------------------------------


def _line(text: bytes, path: Path) -> int:
    """The line of TOML in which the longest part of ``path`` that is there begins; 0 for none."""
    found, length = 0, 0
    for number, keys in _keys(text.decode("utf-8", "replace").splitlines()):
        common = min(len(keys), len(path))
        if length < common and keys[:common] == path[:common]:
            found, length = number, common
    return found


def _keys(lines: Iterable[str]) -> Iterator[tuple[int, Path]]:
    """Every line that begins a table or a value, with its keys; strings of several lines may look like some."""
    table: Path = ()
    counts: dict[Path, int] = {}
    for number, line in enumerate(lines, 1):
        is_table = line.lstrip().startswith("[")
        try:
            nested: Any = tomllib.loads(line if is_table else f"{line.partition('=')[0]} = 0")
        except ValueError:
            continue
        path = [*(() if is_table else table)]
        while isinstance(nested, dict) and nested:
            [(key, nested)] = nested.items()
            path.append(key)
        if isinstance(nested, list):  # [[allow]]
            counts[(*path,)] = counts.get((*path,), -1) + 1
            path.append(counts[(*path,)])
        table = (*path,) if is_table else table
        yield number, (*path,)
