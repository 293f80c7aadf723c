"""``[layers]`` of site.toml: good and bad tables, and the schema that says the same."""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Final

import jsonschema
import pytest

from gitstate.core.documents import Source
from gitstate.core.errors import ConfigError
from gitstate.machine.layers import ORDER, Missing, Options, options_of
from tests.boot.harness import UUID
from tests.support import PROJECT

GOOD: Final[list[dict[str, Any]]] = [
    {},
    {"order": list(reversed(ORDER))},
    {"missing": "fail"},
    {"classes": "first"},
    {"classes": "all"},
    {"domain": "lab.example.org"},
    {"networks": ["192.168.1.0/24", "fd00:1::/64"]},
]
BAD: Final[list[tuple[dict[str, Any], str]]] = [
    ({"order": []}, "order"),
    ({"order": [*ORDER[:-1], "base"]}, "order"),
    ({"order": [*ORDER, "ip"]}, "order"),
    ({"order": "base"}, "order"),
    ({"missing": "ignore"}, "missing"),
    ({"missing": 1}, "missing"),
    ({"classes": "some"}, "classes"),
    ({"classes": ["first"]}, "classes"),
    ({"domain": "-a"}, "domain"),
    ({"domain": "a.example\n"}, "domain"),
    ({"domain": "A"}, "domain"),
    ({"networks": "10.0.0.0/8"}, "networks"),
    ({"networks": ["10.0.0.0"]}, "networks"),
    ({"networks": [1]}, "networks"),
    ({"colour": 1}, "colour"),
]


@cache
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads((PROJECT / "schemas" / "site.schema.json").read_text("utf-8")))


def fits_schema(table: object) -> bool:
    return schema().is_valid({"version": 1, "uuid": UUID, "layers": table})


@pytest.mark.parametrize("table", GOOD)
def test_good_tables(table: dict[str, Any]) -> None:
    options_of(Source("site.toml", {"layers": table}))
    assert fits_schema(table)


@pytest.mark.parametrize(("table", "word"), BAD)
def test_bad_tables(table: dict[str, Any], word: str) -> None:
    with pytest.raises(ConfigError, match=rf"^site\.toml: layers\.{word}\b") as caught:
        options_of(Source("site.toml", {"layers": table}))
    assert caught.value.hint
    assert not fits_schema(table)


@pytest.mark.parametrize("table", [[], 1, "x"])
def test_no_table(table: object) -> None:
    with pytest.raises(ConfigError, match="layers"):
        options_of(Source("site.toml", {"layers": table}))
    assert not fits_schema(table)


def test_bits_behind_the_mask_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"layers\.networks\[0\].*192"):
        options_of(Source("site.toml", {"layers": {"networks": ["192.168.1.1/24"]}}))


def test_defaults_and_the_boot_network() -> None:
    assert options_of(Source("x", {})) == Options(order=ORDER, missing=Missing.WARN, domain=None, networks=())
    both = options_of(Source("x", {"layers": {"networks": ["10.0.0.0/8"]}, "boot": {"network": "10.77.0.0/24"}})).networks
    assert both == ("10.0.0.0/8", "10.77.0.0/24")
    assert options_of(Source("x", {"boot": {"network": "nonsense"}})).networks == ()
