"""Directories of which layers say another owner or mode, as lines and JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gitstate.core.names import display, octal
from gitstate.release.difference import DirectoryChange


def directory_lines(changes: Iterable[DirectoryChange], prototype: str) -> Iterator[str]:
    for one in changes:
        place, words = f"{display(one.path)}/", ", ".join(one.words)
        if one.is_applied:
            yield f"{one.layer} changes {place} of {prototype}: {words}"
        else:
            yield f"{place} stays as in {prototype}: {words} of {one.layer} isn't applied (layer.toml: directories)"


def directories_json(changes: Iterable[DirectoryChange]) -> list[dict[str, Any]]:
    return [
        {"path": octal(one.path), "layer": one.layer, "details": one.words, "applied": one.is_applied}
        for one in changes
    ]
