"""client add, adopt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from gitstate.cli.base.app import Session, command
from gitstate.cli.client.options import (
    assigned_values,
    authorship_options,
    client_values,
    complete_client,
    new_names,
    parsed,
)
from gitstate.cli.client.output import make
from gitstate.core import names
from gitstate.core.errors import NotFoundError, UsageError
from gitstate.directory import Client, Directory, plan, selection
from gitstate.directory.importing.plan import plan_new
from gitstate.directory.selection import ClientNames


@command(
    "gitstate client add lab3-12 --mac 52:54:00:12:34:56 --pin desktop@v12",
    "gitstate client add lab3-13 --mac 525400123457 \\\n    --ip 10.77.0.13 --pin desktop@v12 --workload kiosk",
    "gitstate client add 'lab3-[01-24]' --channel lab3",
    writes=True,
)
@new_names
@client_values
@authorship_options
def add(session: Session, /, who: ClientNames, message: str | None, author: str | None, **values: Any) -> None:
    """Add clients.

    NAME is a host name, a range (lab3-[01-24]) or a netgroup (@lab3). --mac and
    --ip take a single NAME: no two clients have the same address. The snapshot
    or channel must exist. Run boot write afterwards.
    """
    given = {key: value for key, value in values.items() if value}
    directory = session.opened.directory
    make(session, plan_new(session.opened.site, directory, selection.all_names(directory, who), given), message, author)


@command(
    "gitstate client adopt 52:54:00:12:34:56 lab3-12 --channel lab3",
    "gitstate client adopt 52:54:00:12:34:56 lab3-12 --pin desktop@v12 --ip",
    writes=True,
)
@click.argument("mac", callback=parsed(names.mac_address))
@click.argument("name", callback=parsed(names.host_name), shell_complete=complete_client)
@assigned_values
@click.option("--ip", "with_ip", is_flag=True, help="Give it the address from which it asked.")
@click.option("--force", is_flag=True, help="Adopt it although it never asked how to boot.")
@authorship_options
def adopt(
    session: Session,
    /,
    mac: str,
    name: str,
    with_ip: bool,
    force: bool,
    message: str | None,
    author: str | None,
    **values: Any,
) -> None:
    """Make a machine that asked how to boot a client.

    MAC is the machine's address, NAME the client. gitstate client list --new
    lists such machines. A client NAME without a MAC gets this one, and keeps
    its other values.
    """
    given = {key: value for key, value in values.items() if value} | {"macs": (mac,)}
    directory = session.opened.directory
    if with_ip or not force:
        given |= _asked(session, mac, with_ip=with_ip, force=force)
    planned = _adoption(session, directory, name, given)
    make(session, replace(planned, verb="adopt"), message, author)


def _asked(session: Session, mac: str, *, with_ip: bool, force: bool) -> dict[str, Any]:
    """The address of a machine that asked, if it is wanted. Raises NotFoundError."""
    from gitstate.boot import files as publish  # whoever asks for clients needn't wait for it

    found = next((one for one in publish.machines_that_asked(session.opened.site) if one.mac == mac), None)
    if found is None and not force:
        raise NotFoundError(
            f"{mac} never asked how to boot", "gitstate client list --new shows who did; --force adopts it all the same"
        )
    if not with_ip:
        return {}
    if found is None or found.ip is None:
        raise NotFoundError(f"no address of {mac} is known", "set it afterwards: gitstate client set NAME --ip IP")
    return {"ips": (names.ip_address(found.ip),)}


def _adoption(session: Session, directory: Directory, name: str, given: dict[str, Any]) -> plan.Plan:
    old = directory.clients().get(name)
    if old is None:
        return plan.plan_add(session.opened.site, directory, Client(name, **given))
    if old.macs and old.macs != given["macs"]:
        raise UsageError(
            f"{name} has the MAC {' '.join(old.macs)} already",
            f"a new card: gitstate client set {name} --mac {given['macs'][0]}; another machine: choose another name",
        )
    return plan.plan_set(session.opened.site, directory, [name], given)
