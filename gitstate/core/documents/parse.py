"""TOML and JSON -> documents: parsed within limits, checked by the declaration, or an error that says where."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from gitstate.core.documents.declare import Document
from gitstate.core.errors import ConfigError, GitstateError

T = TypeVar("T", bound=Document)

_MOST_DOTS: Final = 1000  # in a line: tomllib takes quadratic time for dotted keys
_LARGEST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """Plain values that aren't checked yet; ``where`` names their file in errors of the class ``error``."""

    where: str
    values: Any
    text: bytes = b""
    """The TOML that they come from, for the line numbers in errors."""
    error: Callable[[str, str], GitstateError] = ConfigError

    def fault(self, key: str, problem: str, hint: str) -> GitstateError:
        """The error for a value that fits its declaration: the dotted ``key``, what is wrong, and what to do."""
        from gitstate.core.documents.explain import located, steps  # for errors alone

        return self.error(f"{self.where}{located(self.text, steps(key))} {problem}", hint)


def parse(kind: type[T], source: Source, *table: str) -> T:
    """The document in ``source``, or that in its ``table``; an absent table is an empty one. Raises its error."""
    value = source.values
    for key in table:
        value = value.get(key, {})
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as fault:
        from gitstate.core.documents.explain import explain, located

        path, problem, hint = explain(kind, value, fault)
        raise source.error(f"{source.where}{located(source.text, (*table, *path))} {problem}", hint) from None


def read_toml(
    text: bytes, where: str, error: Callable[[str, str], GitstateError] = ConfigError, largest: int = _LARGEST
) -> Source:
    """TOML of at most ``largest`` bytes as plain values. Raises ``error``."""

    def fail(problem: str, hint: str, line: int = 0) -> NoReturn:
        raise error(f"{where}, line {line}: {problem}" if line else f"{where}: {problem}", hint) from None

    if len(text) > largest:
        fail(f"larger than {largest >> 10} KiB", "make it shorter")
    for number, row in enumerate(text.split(b"\n"), 1):
        if row.count(b".") > _MOST_DOTS:
            fail(f"more than {_MOST_DOTS} dots", "write one value to a line", number)
    try:
        return Source(where, tomllib.loads(text.decode()), text, error)
    except UnicodeDecodeError as fault:
        fail("not UTF-8", r"write other bytes of a name in octal, as '\\377'", text.count(b"\n", 0, fault.start) + 1)
    except RecursionError:
        fail("nested too deeply", "no key has so many levels")
    except ValueError as fault:  # TOMLDecodeError, and int's own limit
        fail(f"not TOML: {' '.join(str(fault).split())}", "correct it with an editor")


def read_json(text: bytes, where: str, error: Callable[[str, str], GitstateError], hint: str, largest: int) -> Source:
    """JSON of at most ``largest`` bytes as plain values. Raises ``error``."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key twice")
        return found

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is not JSON")

    if len(text) > largest:
        raise error(f"{where}: larger than {largest >> 10} KiB", hint)
    try:
        return Source(where, json.loads(text.decode(), object_pairs_hook=once, parse_constant=refuse), b"", error)
    except UnicodeDecodeError:
        raise error(f"{where}: not UTF-8", hint) from None
    except RecursionError:
        raise error(f"{where}: nested too deeply", hint) from None
    except ValueError as fault:
        raise error(f"{where}: not JSON: {str(fault)[:100]}", hint) from None
