"""Compare two contents of a file: by key if its name tells the format (JSON, YAML, TOML, INI), else by line."""

from __future__ import annotations

import configparser
import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

_LARGEST: Final = 1 << 20
"""Larger files are compared as text."""
_DEEPEST: Final = 50
_BINARY: Final = 8000


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key that was added, removed or changed, such as ``servers[0].name``; None on the side that lacks it."""

    key: str
    old: Any = None
    new: Any = None
    is_added: bool = False
    is_removed: bool = False


@dataclass(frozen=True, slots=True)
class ContentChange:
    """The changes by key if both sides could be parsed, else by line; neither for binary files."""

    keys: tuple[KeyChange, ...] | None = None
    lines: tuple[str, ...] | None = None


def content_change(path: bytes, old: bytes, new: bytes) -> ContentChange:
    """The change from ``old`` to ``new``, contents of a file at ``path``."""
    _, dot, suffix = path.rpartition(b"/")[2].rpartition(b".")
    parse = _PARSERS.get(suffix.lower()) if dot else None
    if parse is not None and max(len(old), len(new)) <= _LARGEST:
        try:
            return ContentChange(keys=_by_key(parse(old.decode()), parse(new.decode())))
        except (ValueError, RecursionError, configparser.Error):
            pass  # what can't be parsed is compared as text
    if b"\0" in old[:_BINARY] or b"\0" in new[:_BINARY]:
        return ContentChange()
    return ContentChange(lines=_by_line(old, new))


def _by_key(old: Any, new: Any) -> tuple[KeyChange, ...]:
    from deepdiff import DeepDiff  # slow to load

    check_depth(old)
    check_depth(new)
    tree = DeepDiff(old, new, view="tree", verbose_level=2)
    if not tree and _plain_text(old) != _plain_text(new):  # 1 and true in lists, unless by index
        tree = DeepDiff(old, new, view="tree", verbose_level=2, zip_ordered_iterables=True)
    found = []
    for what, levels in tree.items():
        for level in levels:
            is_added, is_removed = what.endswith("_item_added"), what.endswith("_item_removed")
            before, after = None if is_added else level.t1, None if is_removed else level.t2
            key = _key_text(level.path(output_format="list"))
            found.append(KeyChange(key, _plain(before), _plain(after), is_added, is_removed))
    return tuple(sorted(found, key=lambda one: one.key))


def _key_text(parts: list[Any]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _plain(value: Any) -> Any:
    """A value that JSON can hold: dates and the like as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(one) for one in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _plain_text(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True)


def check_depth(value: Any, depth: int = 0) -> None:
    """Raise ValueError for nesting deeper than any configuration has."""
    if depth > _DEEPEST:
        raise ValueError(f"it is nested deeper than {_DEEPEST}")
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_depth(one, depth + 1)


def _by_line(old: bytes, new: bytes) -> tuple[str, ...]:
    import difflib

    before, after = (data.decode("utf-8", "replace").splitlines() for data in (old, new))
    return tuple(difflib.unified_diff(before, after, lineterm=""))[2:]


# --- formats ----------------------------------------------------------------------------------------------------------


def _yaml(text: str) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):
        """Without aliases: a few lines of them can expand to gigabytes."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.events.AliasEvent):
                raise ValueError("an alias")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            found = super().construct_mapping(node, deep=deep)
            if len(found) != len(node.value):
                raise ValueError("a key stands twice")
            return found

    try:
        return list(yaml.load_all(text, Loader))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _yaml_one(text: str) -> Any:
    found = _yaml(text)
    return found[0] if len(found) == 1 else found


def _json(text: str) -> Any:
    def refuse(word: str) -> Any:
        raise ValueError(word)

    return json.loads(text, parse_constant=refuse, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping; where a key stands twice, one of its lines would be lost, and text shows both. Raises ValueError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _ini(text: str) -> Any:
    parser = configparser.ConfigParser(interpolation=None, allow_no_value=True, default_section="")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


_PARSERS: Final[Mapping[bytes, Callable[[str], Any]]] = {
    b"json": _json,
    b"yaml": _yaml_one,
    b"yml": _yaml_one,
    b"toml": tomllib.loads,
    b"ini": _ini,
}
