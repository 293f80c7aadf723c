"""What was read from one tree, kept so that it isn't parsed again: private, and never the truth."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from gitstate.core import fs
from gitstate.core.names import Pin
from gitstate.directory.model.clients import Client, Kind

_MAGIC: Final = b"gitstate clients 1"
"""Another number for another shape, and where what is read must be looked at again by stricter rules."""
_KINDS: Final = {str(kind): kind for kind in Kind}


class CachedClients(NamedTuple):
    """The clients of a tree, sorted by name."""

    tree: bytes
    clients: Mapping[str, Client]


def load(path: Path) -> CachedClients | None:
    """What the file holds; None if it isn't there or was spoilt."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        head, _, body = path.read_bytes().partition(b"\n")
        magic, tree, checksum = head.rsplit(b" ", 2)
        if magic == _MAGIC and int(checksum, 16) == zlib.crc32(body):
            found = [_client(*row) for row in json.loads(body)]
            return CachedClients(bytes.fromhex(tree.decode()), {client.name: client for client in found})
    return None


def _client(
    name: str,
    macs: list[str],
    ips: list[str],
    kind: str,
    channel: str | None,
    pin: list[str] | None,
    workload: str | None,
    classes: list[str],
    layers: list[str],
    state: str,
) -> Client:
    return Client(
        name,
        tuple(macs),
        tuple(ips),
        _KINDS[kind],
        channel,
        Pin(pin[0], pin[1]) if pin else None,
        workload,
        tuple(classes),
        tuple(layers),
        state,
    )


def save(path: Path, known: CachedClients) -> None:
    """Write it in one step. Whoever can't does without."""
    rows = [
        (one.name, one.macs, one.ips, one.kind, one.channel, one.pin, one.workload, one.classes, one.layers, one.state)
        for one in known.clients.values()
    ]
    body = json.dumps(rows, separators=(",", ":")).encode()
    head = b"%s %s %08x\n" % (_MAGIC, known.tree.hex().encode(), zlib.crc32(body))
    with suppress(OSError):
        fs.write_file(path, head + body, 0o600)
