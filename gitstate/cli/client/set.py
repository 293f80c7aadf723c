"""client set, remove."""

from __future__ import annotations

from typing import Any

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import suggest
from gitstate.cli.client.options import (
    authorship_options,
    changed_values,
    client_values,
    existing_clients,
    many_names,
    removals,
)
from gitstate.cli.client.output import make
from gitstate.core import fs
from gitstate.core.errors import UsageError
from gitstate.directory import plan
from gitstate.directory.selection import ClientNames


@command(
    "gitstate client set lab3-12 --pin desktop@v13",
    "gitstate client set 'lab3-[01-24]' @kiosks --kind diskless --no-pin",
    "gitstate client set lab3-12 --mac 52:54:00:aa:bb:cc -m 'new network card'",
    name="set",
    writes=True,
)
@many_names
@client_values
@removals
@authorship_options
def set_(session: Session, /, who: ClientNames, message: str | None, author: str | None, **options: Any) -> None:
    """Change clients.

    NAME is a client, a range (lab3-[01-24]) or a netgroup (@lab3). Only the
    values given are changed, for all of them. --mac, --ip and --layer replace
    all previous values.
    """
    values = changed_values(options)
    directory = session.opened.directory
    hosts = existing_clients(session, who)
    if len(hosts) > 1 and (values.get("macs") or values.get("ips")):
        raise UsageError("--mac and --ip take a single client", "run it once for each client")
    make(session, plan.plan_set(session.opened.site, directory, hosts, values), message, author)


@command("gitstate client remove lab3-12", "gitstate client remove 'lab3-[01-24]' -m 'sold'", writes=True)
@many_names
@authorship_options
def remove(session: Session, who: ClientNames, message: str | None, author: str | None) -> None:
    """Remove clients. History keeps their entries.

    NAME is a client, a range (lab3-[01-24]) or a netgroup (@lab3). Their
    secrets are kept for a later machine of the same name; gitstate secret list
    shows them.
    """
    directory = session.opened.directory
    hosts = existing_clients(session, who)
    make(session, plan.plan_remove(directory, hosts), message, author)
    secrets = session.opened.site.path / "secrets"
    kept = [] if session.dry_run else [host for host in hosts if fs.has_directory(secrets / host)]
    if kept:
        more = f", and for {len(kept) - 1} more" if len(kept) > 1 else ""
        suggest(session, f"secrets are kept: gitstate secret remove {kept[0]} --all{more}")


# --- adopt ------------------------------------------------------------------------------------------------------------
