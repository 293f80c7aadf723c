"""Secrets that a disk has changed: content that is other than it was, though size and time say that nobody wrote it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from gitstate.core.names import display
from gitstate.core.state_file import StateFormat
from gitstate.machine.secrets.change import hosts
from gitstate.machine.secrets.options import load
from gitstate.machine.secrets.tree import machine_secrets
from gitstate.store.site import Site

_FORMAT: Final = StateFormat("secrets", 1)
_NAME: Final = "secrets.state"  # root's alone: content of few possible values could be guessed from a digest

_Looks = dict[str, list[str | int | None]]


def damaged(site: Site) -> list[str]:
    """The secrets that have changed since the last call and look as they did, a line each.

    The others are remembered as they are now, in a file that root alone may read. Raises ConfigError, HostError,
    OSError.
    """
    before: _Looks = _FORMAT.read_json(site.path / _NAME) or {}
    now = dict(_looks(site))
    bad = {path for path, look in now.items() if path in before and _has_rotted(before[path], look)}
    kept = now | {path: before[path] for path in bad}
    if kept != before:
        _FORMAT.write_json(site.path / _NAME, kept)
    return [f"secrets/{path} is other than it was, and nobody wrote it" for path in sorted(bad)]


def _has_rotted(before: list[str | int | None], now: list[str | int | None]) -> bool:
    return before[:-1] == now[:-1] and before[-1] != now[-1]


def _looks(site: Site) -> Iterator[tuple[str, list[str | int | None]]]:
    """Size, time and digest of each file, by its path."""
    options = load(site)
    for host in hosts(site):
        for entry in machine_secrets(site, host, options).entries:
            content = hashlib.sha256(options.uuid.encode() + entry.content).hexdigest()
            yield f"{host}/{display(entry.path)}", [len(entry.content), entry.meta.time, content]
