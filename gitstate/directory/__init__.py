"""Who runs what: clients by name, behind one protocol. The embedded backend keeps them as LDIF in a git repository."""

from __future__ import annotations

from gitstate.directory.channels import Channel, no_such_channel
from gitstate.directory.ldif import LdifDirectory
from gitstate.directory.model import DEFAULT_STATE, STATES, Client, Kind
from gitstate.directory.protocol import Directory, LastChange
from gitstate.site import Site

__all__ = [
    "DEFAULT_STATE",
    "STATES",
    "Channel",
    "Client",
    "Directory",
    "Kind",
    "LastChange",
    "no_such_channel",
    "open_directory",
]


def open_directory(site: Site) -> Directory:
    """The directory of ``site``. Nothing is read before it is asked for."""
    return LdifDirectory(site)
