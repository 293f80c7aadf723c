"""``layer.toml`` in a layer's root: what it is for, and which units its files concern. schemas/layer.schema.json."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Final

from gitstate.machine.render.models import GLOB, UNIT, LayerError, LayerSettings, Reload
from gitstate.tree.change.content import check_depth

_LARGEST: Final = 1 << 20
_KEYS: Final = ("description", "reload")
_MEND: Final = "mend it, check it in, and push it; docs/layers.md tells what it may say"


def parse(text: bytes, where: str) -> LayerSettings:
    """The settings of the layer that ``where`` names. Raises LayerError."""
    try:
        if len(text) > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST >> 20} MiB")
        table = tomllib.loads(text.decode())
        check_depth(table)
        if wrong := [key for key in table if key not in _KEYS]:
            raise ValueError(f"{ascii(wrong[0])[1:-1][:60]} is no key of it; there are: {', '.join(_KEYS)}")
        return LayerSettings(_description(table.get("description", "")), _reload(table.get("reload", {})))
    except (ValueError, RecursionError) as error:
        raise LayerError(f"{where}: layer.toml: {error}", _MEND) from None


def _description(value: object) -> str:
    if not isinstance(value, str) or not (value == "" or value.isprintable()) or len(value) > 200:
        raise ValueError("description is not one line of at most 200 characters")
    return value


def _reload(table: object) -> tuple[Reload, ...]:
    if not isinstance(table, Mapping):
        raise ValueError('[reload] is not a table: write "etc/cups/*" = "cups.service" below it')
    return tuple(_one(glob, units) for glob, units in table.items())


def _one(glob: str, units: object) -> Reload:
    named = [units] if isinstance(units, str) else units
    if not GLOB.fullmatch(glob):
        raise ValueError(f"[reload] {ascii(glob)[:60]} can't be a pattern: paths from the root, with * ? and [ ]")
    if (
        not isinstance(named, list)
        or not named
        or not all(isinstance(one, str) and UNIT.fullmatch(one) for one in named)
    ):
        raise ValueError(f"[reload] {ascii(glob)[:60]} names no unit such as cups.service, and no list of them")
    return Reload(glob.removeprefix("/"), tuple(named))
