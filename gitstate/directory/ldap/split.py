"""Hosts, their addresses and netgroups from a site's LDAP, which is only read; who runs what in the embedded store."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from gitstate.core import names
from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.signature import Signature
from gitstate.core.wording import did_you_mean, nearest
from gitstate.directory.git.backend import LdifDirectory
from gitstate.directory.ldap import netgroups
from gitstate.directory.ldap.connection import Connection
from gitstate.directory.ldap.entry_mappings import HOST_FILTER, any_of, equals, name_of
from gitstate.directory.ldap.reader import batches, name_filters
from gitstate.directory.model.clients import Client, Kind, matches, no_such_client, normalized
from gitstate.directory.model.entries import Entry
from gitstate.directory.model.record_types import Record, RecordType
from gitstate.directory.options import LdapOptions
from gitstate.directory.protocol import Directory, LastChange
from gitstate.store.site import Site

_ATTRIBUTES: Final = ("cn", "macAddress", "ipHostNumber")
_OF_HOSTS: Final = {"macs": ("macAddress", names.mac_address), "ips": ("ipHostNumber", names.ip_address)}


class SplitDirectory(Directory):
    """A client has the addresses of the host of its name; what else it has stands in ``directory.git``."""

    def __init__(self, site: Site, options: LdapOptions) -> None:
        self._options = options
        self._connection = Connection(options, site.credentials)
        self._assigned = LdifDirectory(site)

    # --- reading ---

    def clients(self) -> Mapping[str, Client]:
        """All clients by name, sorted by name."""
        assigned = self._assigned.clients()
        hosts = self._hosts("") if assigned else {}
        return MappingProxyType({name: _with_addresses(one, hosts.get(name)) for name, one in assigned.items()})

    def client(self, name: str) -> Client:
        """One client. Raises NotFoundError with the nearest names."""
        assigned = self._assigned.clients()
        if name not in assigned:
            raise no_such_client(name, assigned)
        return _with_addresses(assigned[name], self._hosts(any_of(name_filters([name]))).get(name))

    def find(self, wanted: Mapping[str, str]) -> Mapping[str, Client]:
        """Return the clients with the ``wanted`` values; the server searches for addresses."""
        ours = {key: value for key, value in wanted.items() if key not in _OF_HOSTS}
        theirs = [equals(_OF_HOSTS[key][0], value) for key, value in wanted.items() if key in _OF_HOSTS]
        assigned = self._assigned.find(ours)
        hosts = self._hosts("".join(theirs)) if theirs else self._of(list(assigned))
        found = {name: _with_addresses(one, hosts.get(name)) for name, one in assigned.items()}
        return {name: one for name, one in found.items() if matches(one, wanted)}

    def _of(self, wanted: Sequence[str]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for some in batches(wanted):
            found |= self._hosts(any_of(name_filters(some)))
        return {**self._hosts(""), **found} if found.keys() < set(wanted) else found

    def _hosts(self, condition: str) -> dict[str, Entry]:
        """Return hosts by short name; several entries of one host are merged."""
        found: dict[str, dict[str, list[bytes]]] = {}
        for dn, entry in self._connection.search(self._options.clients, f"(&{HOST_FILTER}{condition})", _ATTRIBUTES):
            known = found.setdefault(name_of(dn, entry), {})
            for key, values in entry.items():
                known.setdefault(key, []).extend(values)
        return dict(found)

    def followers(self, channel: str) -> Mapping[Kind, int]:
        """Count the clients of each kind that follow a channel, without asking for hosts."""
        return self._assigned.followers(channel)

    def entries(self, names: Collection[str] | None = None) -> Mapping[str, Entry]:
        """Return the entry of each client's file, with the addresses of its host."""
        from gitstate.directory.model.client_attributes import entry_of

        clients = self.clients()
        return {name: entry_of(clients[name], entry) for name, entry in self._assigned.entries(names).items()}

    def netgroup(self, name: str) -> list[str]:
        """Return the machines of a netgroup of the LDAP server."""
        return netgroups.hosts(self._connection, self._options.netgroups, name)

    def revision(self) -> str:
        """Return the revision of the assignments; changes of hosts don't count."""
        return self._assigned.revision()

    def client_on(self, name: str, when: int) -> None:
        """Return None: an LDAP server keeps no history."""

    def last_change(self, name: str) -> LastChange | None:
        """Return the last commit of the client's file."""
        return self._assigned.last_change(name)

    # --- writing ---

    def change(
        self,
        put: Iterable[Client],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
        extra: Mapping[str, Entry] | None = None,
    ) -> None:
        """One commit; addresses belong to the server and can't be changed here."""
        changed = [normalized(client) for client in put]
        known = self._assigned.clients()
        hosts = self._of([client.name for client in changed])
        for client in changed:
            if client.name not in hosts and client.name not in known:
                raise _no_host(client.name, hosts or self._hosts(""), self._options.clients)
            self._refuse_addresses(client, _with_addresses(client, hosts.get(client.name)))
        bare = [replace(client, macs=(), ips=()) for client in changed]
        self._assigned.change(bare, remove, author, message, committer, _without_addresses(extra))

    def _refuse_addresses(self, client: Client, host: Client) -> None:
        for key, (attribute, _) in _OF_HOSTS.items():
            given, known = getattr(client, key), getattr(host, key)
            if given and given != known:
                raise UsageError(
                    f"{client.name}: its {attribute} is the LDAP server's to say: {' '.join(known) or 'none'}",
                    'with mode = "split" addresses are changed there, with the site\'s own tools',
                )

    def about(self) -> str:
        """Return both places: hosts and assignments."""
        hosts = f"hosts below {self._options.clients} of {self._connection.uri}"
        return f"{hosts}, assignments in {self._assigned.about()}"

    def problems(self) -> list[str]:
        """Return a line for each client whose host is gone."""
        lost = sorted(self._assigned.clients().keys() - self._hosts("").keys())
        return [f"{name}: no host has that name, below {self._options.clients}" for name in lost]

    def finish(self) -> None:
        """Nothing to finish: a commit is atomic."""

    def records(self, record_type: RecordType[Record]) -> Mapping[str, Record]:
        """Return all records by name, sorted."""
        return self._assigned.records(record_type)

    def change_records(
        self,
        record_type: RecordType[Record],
        put: Iterable[Record],
        remove: Iterable[str],
        author: Signature,
        message: str,
        committer: Signature | None = None,
    ) -> None:
        """One commit; see ``Directory.change_records``."""
        self._assigned.change_records(record_type, put, remove, author, message, committer)


def _with_addresses(client: Client, host: Entry | None) -> Client:
    """Return the client with the server's addresses for it; invalid ones are left out."""
    values: dict[str, Any] = {}
    for key, (attribute, read) in _OF_HOSTS.items():
        values[key] = tuple(_valid(read, (host or {}).get(attribute, ())))
    return normalized(replace(client, **values))


def _valid(read: Callable[[str], str], values: Iterable[bytes]) -> Iterable[str]:
    for value in values:
        with suppress(UsageError):
            yield read(value.decode("utf-8", "replace"))


def _without_addresses(extra: Mapping[str, Entry] | None) -> Mapping[str, Entry] | None:
    if extra is None:
        return None
    attributes = {attribute for attribute, _ in _OF_HOSTS.values()}
    return {
        name: {key: values for key, values in entry.items() if key not in attributes} for name, entry in extra.items()
    }


def _no_host(name: str, hosts: Iterable[str], base: str) -> NotFoundError:
    hint = did_you_mean(nearest(name, hosts), 'with mode = "split" hosts are entered in LDAP first')
    return NotFoundError(f"no host {name} below {base}", hint)
