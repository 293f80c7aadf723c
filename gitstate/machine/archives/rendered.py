"""Where no machine boots from the site: which archives were rendered without an error. Nothing is kept of them there.

Their keys stand in ``site.git/gitstate/rendered``, as those of archives stand beside them, so that only a machine whose
key is another one is rendered again. The repository is root's alone: what archives are made from may be secret.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core.state_file import StateFormat
from gitstate.machine.archives.files import NOTHING, Inputs, Recorded
from gitstate.store import Repository
from gitstate.store.site import Site

_FORMAT: Final = StateFormat("rendered", 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a channel's record: ``made`` are machines that are to be rendered before it is ``new``."""

    channel: str
    new: Recorded
    made: tuple[str, ...]
    is_recorded: bool

    def __bool__(self) -> bool:
        return not self.is_recorded


def recorded(site: Site, channel: str) -> Recorded:
    """What was rendered for a channel last; nothing if that isn't known."""
    found = _read(site).get(channel)
    return Recorded(Inputs(*found[0]) if found[0] else None, found[1]) if found else NOTHING


def plan(channel: str, known: Recorded, keys: Mapping[str, str], inputs: Inputs | None) -> Plan:
    """What there is to do for a channel whose machines' archives would have ``keys``; something, without inputs."""
    new = Recorded(inputs, keys)
    made = tuple(host for host, key in keys.items() if known.keys.get(host) != key)
    return Plan(channel, new, made, known == new and (inputs is not None or not keys))


def record(site: Site, plan: Plan, channels: Collection[str], is_whole: Callable[[str], bool]) -> None:
    """Note what is rendered and ``is_whole``, and forget channels other than these; under the lock of releases.

    Raises OSError.
    """
    standing = {name: one for name, one in _read(site).items() if name in channels}
    whole = Recorded(plan.new.inputs, {host: key for host, key in plan.new.keys.items() if is_whole(host)})
    _FORMAT.write_json(_path(site), {**standing, plan.channel: whole})


def _read(site: Site) -> Mapping[str, tuple[tuple[str, Mapping[str, str], str] | None, Mapping[str, str]]]:
    return _FORMAT.read_json(_path(site)) or {}


def _path(site: Site) -> Path:
    return Repository(site.releases_path).private / "rendered"
