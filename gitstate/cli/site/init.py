"""init."""

from __future__ import annotations

from dataclasses import asdict

import click

from gitstate.boot import creation
from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit, location, suggest


@command("gitstate init", "gitstate init --interface eth1", writes=True)
@click.option("--interface", metavar="IF", help="Network interface on which machines boot.")
def init(session: Session, interface: str | None) -> None:
    """Create a site, the home of all data on one server.

    It holds prototypes, layers, live trees and exports, in /srv/gitstate or the
    directory that --site or GITSTATE_SITE names. With --interface machines can
    boot from it: a DHCP server that answers there keeps giving addresses.
    """
    plan = creation.plan(session.site_path, interface)
    boot = plan.boot
    if not session.dry_run:
        creation.apply(plan)
    line = f"{'would make' if session.dry_run else 'site'} {plan.path}"
    if boot:
        line += f"  directory ldif  DHCP {boot.dhcp}{_others(boot.dhcp_servers)}"
    network = {**asdict(boot), "directory": "ldif"} if boot else None
    emit(session, "init/1", {"site": location(plan.path), "boot": network, "dry_run": session.dry_run}, [line])
    if boot and not boot.dhcp_servers:
        suggest(
            session, f'no DHCP server answers on {interface}: dhcp = "own" in site.toml makes gitstate give addresses'
        )


def _others(servers: list[str]) -> str:
    if not servers:
        return ""
    return f" ({', '.join(servers)} {'keeps' if len(servers) == 1 else 'keep'} giving addresses)"
