"""The clients of one tree, cached because parsing them takes long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, NamedTuple

from gitstate.core.names import Pin
from gitstate.core.state_file import StateFormat
from gitstate.directory.model.clients import Client, Kind

_FORMAT: Final = StateFormat("clients", 2)
_KEYS: Final = tuple(one.name for one in fields(Client))
_KINDS: Final = {str(kind): kind for kind in Kind}


class CachedClients(NamedTuple):
    """The clients of a tree, sorted by name."""

    tree: bytes
    clients: Mapping[str, Client]


def load(path: Path) -> CachedClients | None:
    """Return the clients saved last; None if there are none, or the file is damaged."""
    saved = _FORMAT.read_json(path)
    if saved is None:
        return None
    tree, rows = saved
    return CachedClients(bytes.fromhex(tree), {client.name: client for client in map(_client, rows)})


def _client(row: Sequence[Any]) -> Client:
    name, macs, ips, kind, channel, pin, workload, classes, layers, state, maintains = row
    addresses, layers = (tuple(macs), tuple(ips)), (tuple(classes), tuple(layers))
    pinned = Pin(*pin) if pin else None
    return Client(name, *addresses, _KINDS[kind], channel, pinned, workload, *layers, state, maintains)


def save(path: Path, known: CachedClients) -> None:
    """Save ``known``, if the file can be written."""
    rows = [tuple(getattr(one, key) for key in _KEYS) for one in known.clients.values()]
    with suppress(OSError):
        _FORMAT.write_json(path, (known.tree.hex(), rows))
