"""The policy file: TOML parsed at the door, every fault in one line. schemas/policy.schema.json says the same."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from typing import Any, Final

from gitstate.core.entry import Kind
from gitstate.core.errors import ConfigError
from gitstate.core.names import display
from gitstate.tree.policy.globs import literal_parents, translate
from gitstate.tree.policy.rules import Policy, Rules, Treatment

POLICY_PATH: Final = b"etc/gitstate/policy.toml"
LAYER_POLICY_PATH: Final = b"policy.toml"
"""Never laid down; a layer's ``etc/gitstate/policy.toml`` is a file for machines."""

VERSION: Final = 1
_LONGEST_FILE: Final = 32 << 10
_MOST_POINTS: Final = 1000  # in a line: tomllib takes quadratic time for dotted keys
_LONGEST_PATTERN: Final = 1024
_MOST_PATTERNS: Final = 256
_ONE_LINE = re.compile(r"[^\x00-\x1f\x7f]+")
_SEE: Final = "see docs/policy.md"

_Table = dict[str, Any]


def policy_path(*, is_layer: bool) -> bytes:
    """Where the policy stands in the tree of a layer, or of a prototype."""
    return LAYER_POLICY_PATH if is_layer else POLICY_PATH


class _FieldError(ValueError):
    """What is wrong with which key; ``parse`` adds the file."""

    def __init__(self, key: str, what: str, hint: str = _SEE) -> None:
        super().__init__(f"{key} {what}")
        self.hint = hint


def parse(text: bytes | None, where: str, own: bytes = POLICY_PATH) -> Policy:
    """The policy that ``text`` asks for, None for the default one. Raises ConfigError.

    ``where`` names the file in errors, ``own`` in the tree.
    """
    if text is None:
        return _default()
    try:
        rules = _rules(_load(text))
        policy = Policy(rules)
        _check_reach(policy, rules, own)
    except _FieldError as fault:
        raise ConfigError(f"{where}: {fault}", fault.hint) from None
    return policy


@cache
def _default() -> Policy:
    return Policy(Rules())


def _load(text: bytes) -> _Table:
    if len(text) > _LONGEST_FILE:
        raise _FieldError(
            "the file", f"is longer than {_LONGEST_FILE >> 10} KiB", "patterns with ** and * make it shorter"
        )
    for number, row in enumerate(text.split(b"\n"), 1):
        if row.count(b".") > _MOST_POINTS:
            raise _FieldError(f"line {number}", f"has more than {_MOST_POINTS} points", "write a pattern to a line")
    try:
        return tomllib.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise _FieldError(
            f"line {line}", "is not UTF-8", r"write unusual bytes of a name in octal, as '\\377'"
        ) from None
    except RecursionError:
        raise _FieldError("the file", "is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, and int's own limit
        raise _FieldError("not TOML:", " ".join(str(error).split())) from None


def _rules(document: _Table) -> Rules:
    _version(document)
    _only(document, "", "version", "selinux", "record", "refuse", "allow")
    record = _table(document, "record", "skip", "hollow", "keep")
    refuse = _table(document, "refuse", "paths")
    return Rules(
        skip=_patterns(record, "record", "skip"),
        hollow=_patterns(record, "record", "hollow"),
        keep=_patterns(record, "record", "keep"),
        refuse=_patterns(refuse, "refuse", "paths"),
        allow=_allowances(document),
        selinux=_flag(document, "selinux"),
    )


def _version(document: _Table) -> None:
    if "version" not in document:
        raise _FieldError("version", "is missing", f"begin the file with: version = {VERSION}")
    version = document["version"]
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise _FieldError("version", f"{version} is newer than this gitstate knows", "upgrade gitstate")
    if isinstance(version, bool) or version != VERSION:
        raise _FieldError("version", f"is not {VERSION}", f"write: version = {VERSION}")


def _only(table: _Table, prefix: str, *known: str) -> None:
    for key in table:
        if key not in known:
            raise _FieldError(ascii(prefix + key)[1:-1], "is not a key", f"known here: {', '.join(known)}")


def _table(document: _Table, key: str, *known: str) -> _Table:
    table = document.get(key, {})
    if not isinstance(table, dict):
        raise _FieldError(key, "is not a table", f"write: [{key}]")
    _only(table, f"{key}.", *known)
    return table


def _flag(document: _Table, key: str) -> bool:
    value = document.get(key, False)
    if not isinstance(value, bool):
        raise _FieldError(key, "is neither true nor false", f"write: {key} = true")
    return value


def _patterns(table: _Table, prefix: str, key: str) -> tuple[bytes, ...]:
    values = table.get(key, [])
    name = f"{prefix}.{key}"
    if not isinstance(values, list):
        raise _FieldError(name, "is not a list of patterns", f'write: {key} = ["var/lib/example"]')
    if len(values) > _MOST_PATTERNS:
        raise _FieldError(name, f"has more than {_MOST_PATTERNS} patterns", "patterns with ** and * need fewer")
    return tuple(_pattern(value, f"{name}[{index}]") for index, value in enumerate(values))


def _pattern(value: object, key: str) -> bytes:
    if not isinstance(value, str):
        raise _FieldError(key, "is not a string")
    if len(value) > _LONGEST_PATTERN:
        raise _FieldError(key, f"is longer than {_LONGEST_PATTERN} characters")
    try:
        pattern = value.encode("utf-8")
        translate(pattern)
    except ValueError as error:
        raise _FieldError(f"{key} {value[:80]!a}", str(error)) from None
    return pattern


def _allowances(document: _Table) -> tuple[tuple[bytes, str], ...]:
    tables = document.get("allow", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise _FieldError("allow", "is not a list of tables", 'write: [[allow]], then path = "…" and because = "…"')
    if len(tables) > _MOST_PATTERNS:
        raise _FieldError("allow", f"has more than {_MOST_PATTERNS} tables", "patterns with ** and * need fewer")
    return tuple(_allowance(table, f"allow[{index}]") for index, table in enumerate(tables))


def _allowance(table: _Table, key: str) -> tuple[bytes, str]:
    _only(table, f"{key}.", "path", "because")
    for needed in ("path", "because"):
        if needed not in table:
            raise _FieldError(f"{key}.{needed}", "is missing", "because = why it may stand in history")
    because = table["because"]
    if not isinstance(because, str) or not _ONE_LINE.fullmatch(because) or not because.strip(" "):
        raise _FieldError(f"{key}.because", "is not one line of text", "say why this may stand in history")
    return _pattern(table["path"], f"{key}.path"), because


def _check_reach(policy: Policy, rules: Rules, own: bytes) -> None:
    """Two things that would be silently without effect."""
    directories = literal_parents(own)
    kinds = [*((path, Kind.DIRECTORY) for path in directories), (own, Kind.FILE)]
    for path, kind in kinds:
        if policy.treatment(path, kind) is not Treatment.RECORD:
            raise _FieldError(
                "record", f"leaves out {display(path)}, and the policy file with it", f"keep {display(path)}"
            )
    for index, pattern in enumerate(rules.keep):
        for parent in literal_parents(pattern):
            if policy.treatment(parent, Kind.DIRECTORY) is not Treatment.RECORD:
                hint = f"keep {display(parent)} too, and skip what shall stay out"
                raise _FieldError(f"record.keep[{index}]", f"lies in {display(parent)}, which is not looked into", hint)
