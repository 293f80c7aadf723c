"""Who runs what: clients by name, behind one protocol. The embedded backend keeps them as LDIF in a git repository."""

from __future__ import annotations

from gitstate.core.errors import HostError
from gitstate.directory import options
from gitstate.directory.git.backend import LdifDirectory
from gitstate.directory.model.channels import Channel, no_such_channel
from gitstate.directory.model.classes import HardwareClass, no_such_class
from gitstate.directory.model.clients import DEFAULT_STATE, STATES, Client, Kind
from gitstate.directory.protocol import Directory, LastChange
from gitstate.store.site import Site


def open_directory(site: Site) -> Directory:
    """Open the directory of ``site`` by the backend it has chosen. Raises ConfigError, HostError (no python-ldap)."""
    chosen = options.load(site)
    if chosen is None:
        return LdifDirectory(site)
    try:
        if chosen.mode is options.Mode.SPLIT:
            from gitstate.directory.ldap.split import SplitDirectory  # python-ldap is slow to load

            return SplitDirectory(site, chosen)
        from gitstate.directory.ldap.backend import LdapDirectory
    except ImportError as error:
        hint = "pip install 'gitstate[ldap]'; on Debian it needs gcc, python3-dev, libldap-dev and libsasl2-dev"
        raise HostError(f"{site.file}: the directory is in LDAP, and there is no python-ldap: {error}", hint) from None
    return LdapDirectory(site, chosen)
