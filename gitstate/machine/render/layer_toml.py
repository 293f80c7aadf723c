"""``layer.toml`` in a layer's root: what it is for, and which units its files concern."""

from __future__ import annotations

import os
from typing import Annotated, Any, Final

from gitstate.core.documents import Document, FieldError, Meta, about, field, parse, read_toml
from gitstate.machine.render.models import GLOB, UNIT, LayerError, LayerSettings, Reload

_UNIT_SCHEMA: Final = {"type": "string", "pattern": rf"^{UNIT.pattern}(?![\s\S])"}

LayerPath = Annotated[
    str, about("A directory of the layer.", "a path from the root", r"/?[^/\x00]+(?:/[^/\x00]+)*", "etc/cups")
]


class LayerFile(Document, frozen=True):
    """layer.toml of a layer: what it is for, and which units its files concern."""

    description: Annotated[
        str, Meta(max_length=200), about("What the layer is for.", "one line of at most 200 characters")
    ] = ""
    reload: Annotated[
        dict[str, Any],
        about(
            "Units to reload or restart when a file changes: a pattern for paths, and a unit or a list of units.",
            "a table",
            propertyNames={"pattern": rf"^{GLOB.pattern}(?![\s\S])"},
            additionalProperties={"anyOf": [_UNIT_SCHEMA, {"type": "array", "minItems": 1, "items": _UNIT_SCHEMA}]},
        ),
    ] = field(default_factory=dict)

    directories: Annotated[
        tuple[LayerPath, ...],
        about("Directories whose owner and mode are set also where machines have them already.", "a list of paths"),
    ] = ()

    def __post_init__(self) -> None:
        if not self.description.isprintable():
            raise FieldError("description", f"is {self.description[:60]!a}, not one line of text")
        for glob, units in self.reload.items():
            if not GLOB.fullmatch(glob):
                hint = "a path from the root, with * ? and [ ]"
                raise FieldError("reload", f"{glob[:60]!a} can't be a pattern", hint)
            if not _units(units) or not all(isinstance(one, str) and UNIT.fullmatch(one) for one in _units(units)):
                raise FieldError("reload", f"{glob[:60]!a} names no unit", "such as cups.service, or a list of units")


def _units(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def parse_layer(text: bytes, where: str) -> LayerSettings:
    """The settings of the layer that ``where`` names. Raises LayerError."""
    found = parse(LayerFile, read_toml(text, f"{where}: layer.toml" if where else "layer.toml", LayerError))
    reload = (Reload(glob.removeprefix("/"), tuple(_units(units))) for glob, units in found.reload.items())
    directories = frozenset(os.fsencode(one.removeprefix("/")) for one in found.directories)
    return LayerSettings(found.description, tuple(reload), directories)
