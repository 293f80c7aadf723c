"""A new site, and the network on which its machines boot."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitstate.store.site import Site


@dataclass(frozen=True, slots=True)
class BootNetwork:
    """The interface on which machines boot, and the DHCP servers that answer there."""

    interface: str
    server: str
    network: str
    dhcp: str
    dhcp_servers: list[str]


@dataclass(frozen=True, slots=True)
class Creation:
    """A site to be made."""

    path: Path
    boot: BootNetwork | None


def plan(path: Path, interface: str | None) -> Creation:
    """Plan a site in a new or empty directory. Raises UsageError, ConfigError, HostError."""
    Site(path.absolute()).require_unused()
    return Creation(path.absolute(), _network(path.absolute(), interface) if interface is not None else None)


def apply(creation: Creation) -> None:
    """Make the site. Raises UsageError, OSError."""
    Site.create(creation.path, creation.boot.interface if creation.boot else None)


def _network(path: Path, interface: str) -> BootNetwork:
    from gitstate.boot import checks, options  # most sites are made without an interface
    from gitstate.core import network
    from gitstate.core.documents import Source

    checks.checked("path", str(path), "the site's directory")
    found = options.options_of(Source("--interface", {"boot": {"interface": interface}}))
    servers = network.dhcp_servers(interface)
    return BootNetwork(interface, found.server, found.network, found.dhcp.value, servers)
