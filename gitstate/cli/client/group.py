"""client: who runs what."""

from __future__ import annotations

import click

from gitstate.cli.base.app import common
from gitstate.cli.base.help import Group
from gitstate.cli.client import (
    changes as client_changes,
)
from gitstate.cli.client import (
    importing as client_import,
)
from gitstate.cli.client import (
    looks as client_looks,
)
from gitstate.cli.client import (
    report as client_report,
)


@click.group(cls=Group, examples=("gitstate client list", "gitstate client add --help"))
@common
def client() -> None:
    """Say which machine runs what.

    A client is a machine's entry in the directory: its name, its addresses, and
    the snapshot that it boots.
    """


for _command in (
    client_changes.add,
    client_changes.set_,
    client_changes.remove,
    client_changes.adopt,
    client_import.import_,
    client_looks.list_,
    client_looks.show,
    client_report.report,
):
    client.add_command(_command)
