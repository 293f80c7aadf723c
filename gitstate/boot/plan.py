"""What shall boot: which machine gets which snapshot, and by which kernel line. Data only."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Image:
    """A snapshot that machines boot: its kernel and initrd stand in ``tftp/PROTOTYPE/COMMIT/``."""

    prototype: str
    commit: str
    """40 hex digits."""
    epoch: int
    """The commit's time, the floor of a client's clock."""
    has_caps: bool = False
    """Whether there is a ``caps.cpio`` beside the initrd."""

    @property
    def path(self) -> str:
        """Its directory, below ``tftp/`` and below ``exports/``."""
        return f"{self.prototype}/{self.commit}"


@dataclass(frozen=True, slots=True)
class BootChannel:
    """What a channel runs: the release ``NAME/VERSION``, and the snapshot that it boots.

    ``has_archives``: for each of its clients there is ``tftp/archives/NAME/VERSION/CLIENT.cpio``.
    """

    name: str
    version: str
    prototype: str
    commit: str
    has_archives: bool = False


@dataclass(frozen=True, slots=True)
class BootClient:
    """One machine and the snapshot that it boots; one that follows a channel has that instead."""

    name: str
    macs: tuple[str, ...]
    prototype: str
    commit: str
    machine_id: str
    ips: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    """Further words of its kernel line."""
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Maintained:
    """A live tree that one client boots, writable: its ``path``, and the addresses from which it may be mounted."""

    prototype: str
    client: str
    path: str
    addresses: tuple[str, ...]


def machine_id(uuid: str, name: str) -> str:
    """The machine-id of the client ``name`` of the site ``uuid``: the same at every boot, and nobody else's."""
    return hashlib.sha256(f"{uuid}\0{name}".encode()).hexdigest()[:32]
