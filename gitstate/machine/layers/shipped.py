"""The layers that gitstate brings: listed, and copied to be a site's own.

They stand in ``layers/`` as in a layer's root; ``links.toml`` has their symlinks, which a wheel can't hold.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from gitstate.core.data import data_file
from gitstate.core.errors import NotFoundError

_LINKS: Final = "links.toml"
_SETTINGS: Final = "layer.toml"


class Shipped(NamedTuple):
    """A layer that gitstate brings, and where it stands."""

    name: str
    description: str
    place: Path


def shipped() -> list[Shipped]:
    """All of them, by name."""
    place = data_file("layers")
    found = []
    for settings in sorted(place.glob(f"**/{_SETTINGS}")):
        name = settings.parent.relative_to(place).as_posix()
        found.append(Shipped(name, tomllib.loads(settings.read_text())["description"], settings.parent))
    return found


def find(name: str) -> Shipped:
    """The shipped layer of that name. Raises NotFoundError."""
    one = next((one for one in shipped() if one.name == name), None)
    if one is None:
        raise NotFoundError(f"no layer {name} comes with gitstate", "gitstate layer list --shipped shows those that do")
    return one


def copy(one: Shipped, live: Path) -> None:
    """Put it into an empty live tree, root's, as ``cp -r`` would under the usual umask. Raises OSError."""
    for directory, target in _directories(one.place, live):
        for name in sorted(os.listdir(directory)):
            source = directory / name
            if source.is_file():
                _write(target / name, source.read_bytes(), 0o755 if os.access(source, os.X_OK) else 0o644)
    for path, leads_to in _links(one).items():
        place = live / path
        _make_directories(live, place.parent)
        place.symlink_to(leads_to)


def _links(one: Shipped) -> dict[str, str]:
    found: dict[str, str] = tomllib.loads((data_file("layers") / _LINKS).read_text()).get(one.name, {})
    return found


def _directories(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """Each directory below ``source``, parents first, and its counterpart, made."""
    for directory, _, _ in os.walk(source):
        there = target / Path(directory).relative_to(source)
        _make_directories(target, there)
        yield Path(directory), there


def _make_directories(root: Path, place: Path) -> None:
    if place != root and not place.is_dir():
        _make_directories(root, place.parent)
        place.mkdir()
        place.chmod(0o755)


def _write(place: Path, content: bytes, mode: int) -> None:
    with place.open("xb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
