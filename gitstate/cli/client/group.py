"""client: which machine runs what."""

from __future__ import annotations

import click

from gitstate.cli.base.app import common
from gitstate.cli.base.help import LazyGroup


@click.group(
    cls=LazyGroup,
    examples=("gitstate client list", "gitstate client add --help"),
    modules={
        "add": "client.add",
        "adopt": "client.add",
        "import": "client.importing",
        "list": "client.list",
        "remove": "client.set",
        "report": "client.report",
        "set": "client.set",
        "show": "client.show",
    },
)
@common
def client() -> None:
    """Clients: which machine runs what.

    A client is a machine's entry in the directory: its name, its addresses, and
    the snapshot that it boots.
    """
