"""client: which machine runs what."""

from __future__ import annotations

from gitstate.cli.base.app import group


@group(
    "gitstate client list",
    "gitstate client add --help",
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
def client() -> None:
    """Clients: which machine runs what.

    A client is a machine's entry in the directory: its name, its addresses, and
    the snapshot that it boots.
    """
