"""init."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import Session, common, pass_session, writes
from gitstate.cli.base.help import Command
from gitstate.cli.base.output import emit, location, talk
from gitstate.core.errors import UsageError
from gitstate.store.site import Site


@click.command(cls=Command, examples=("gitstate init", "gitstate init --interface eth1"))
@click.option("--interface", metavar="IF", help="Network interface on which machines boot.")
@common
@writes
@pass_session
def init(session: Session, interface: str | None) -> None:
    """Create a site, the home of all data on one server.

    It holds prototypes, layers, live trees and exports, in /srv/gitstate or the
    directory that --site or GITSTATE_SITE names. With --interface machines can
    boot from it: a DHCP server that answers there keeps giving addresses.
    """
    path = session.site_path
    _check_room(path)
    boot = None if interface is None else _look(path.absolute(), interface)
    if not session.dry_run:
        Site.create(path, interface)
    line = f"{'would make' if session.dry_run else 'site'} {path.absolute()}"
    if boot:
        line += f"  directory {boot['directory']}  DHCP {boot['dhcp']}{_others(boot['dhcp_servers'])}"
    emit(session, "init/1", {"site": location(path), "boot": boot, "dry_run": session.dry_run}, [line])
    if boot and not boot["dhcp_servers"]:
        talk(session, f'no DHCP server answers on {interface}: dhcp = "own" in site.toml makes gitstate give addresses')


def _look(path: Path, interface: str) -> dict[str, Any]:
    """The network on which machines shall boot. Raises ConfigError, HostError."""
    from gitstate.boot import checks, options
    from gitstate.core import network

    checks.checked("path", str(path), "the site's directory")
    found = options.parse({"interface": interface}, "--interface")
    return {
        "interface": interface,
        "server": found.server,
        "network": found.network,
        "directory": "ldif",
        "dhcp": found.dhcp.value,
        "dhcp_servers": network.dhcp_servers(interface),
    }


def _others(servers: list[str]) -> str:
    if not servers:
        return ""
    return f" ({', '.join(servers)} {'keeps' if len(servers) == 1 else 'keep'} giving addresses)"


def _check_room(path: Path) -> None:
    """What Site.create would refuse."""
    if Site(path).file.exists():
        raise UsageError(f"{path} is a site already", "gitstate prototype list shows what it holds")
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(f"{path} is not an empty directory", "choose a new or empty directory: --site DIR")
