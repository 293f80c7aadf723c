"""[secrets] of site.toml, and its schema, agree."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator

from gitstate.core.documents import Source
from gitstate.core.errors import ConfigError
from gitstate.machine.secrets.options import DEFAULT_KEYS, options_of
from tests.support import PROJECT

SCHEMA: Final = json.loads((PROJECT / "schemas" / "site.schema.json").read_text("utf-8"))
UUID: Final = "00000000-0000-0000-0000-000000000000"

GOOD: Final[list[Any]] = [
    {},
    {"host_keys": []},
    {"host_keys": ["rsa"]},
    {"host_keys": ["ecdsa", "ed25519", "rsa"]},
]
BAD: Final[list[Any]] = [
    [],
    "x",
    {"keys": []},
    {"host_keys": "rsa"},
    {"host_keys": ["dsa"]},
    {"host_keys": ["rsa", "rsa"]},
    {"host_keys": [1]},
    {"host_keys": [["rsa"]]},
    {"host_keys": None},
]


def site(table: Any) -> dict[str, Any]:
    return {"version": 1, "uuid": UUID, "secrets": table}


@pytest.mark.parametrize("table", GOOD)
def test_good(table: Any) -> None:
    assert options_of(Source("x", site(table))).uuid == UUID
    assert Draft202012Validator(SCHEMA).is_valid(site(table))


@pytest.mark.parametrize("table", BAD)
def test_bad(table: Any) -> None:
    with pytest.raises(ConfigError, match=r"^x: secrets\b"):
        options_of(Source("x", site(table)))
    assert not Draft202012Validator(SCHEMA).is_valid(site(table))


def test_the_default_is_told() -> None:
    assert options_of(Source("x", {"uuid": UUID})).host_keys == DEFAULT_KEYS
    assert SCHEMA["properties"]["secrets"]["properties"]["host_keys"]["default"] == list(DEFAULT_KEYS)
