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
        return MappingProxyType({name: _joined(one, hosts.get(name)) for name, one in assigned.items()})

    def client(self, name: str) -> Client:
        """One client. Raises NotFoundError with the nearest names."""
        assigned = self._assigned.clients()
        if name not in assigned:
            raise no_such_client(name, assigned)
        return _joined(assigned[name], self._hosts(any_of(name_filters([name]))).get(name))

    def find(self, wanted: Mapping[str, str]) -> Mapping[str, Client]:
        """The clients whose values are those wanted; by an address the server looks."""
        ours = {key: value for key, value in wanted.items() if key not in _OF_HOSTS}
        theirs = [equals(_OF_HOSTS[key][0], value) for key, value in wanted.items() if key in _OF_HOSTS]
        assigned = self._assigned.find(ours)
        hosts = self._hosts("".join(theirs)) if theirs else self._of(list(assigned))
        found = {name: _joined(one, hosts.get(name)) for name, one in assigned.items()}
        return {name: one for name, one in found.items() if matches(one, wanted)}

    def _of(self, wanted: Sequence[str]) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        for some in batches(wanted):
            found |= self._hosts(any_of(name_filters(some)))
        return {**self._hosts(""), **found} if found.keys() < set(wanted) else found

    def _hosts(self, condition: str) -> dict[str, Entry]:
        """Hosts by their short names; of several entries for one what they say together."""
        found: dict[str, dict[str, list[bytes]]] = {}
        for dn, entry in self._connection.search(self._options.clients, f"(&{HOST_FILTER}{condition})", _ATTRIBUTES):
            known = found.setdefault(name_of(dn, entry), {})
            for key, values in entry.items():
                known.setdefault(key, []).extend(values)
        return dict(found)

    def followers(self, channel: str) -> Mapping[Kind, int]:
        """How many clients of each kind follow a channel; no host is asked for."""
        return self._assigned.followers(channel)

    def entries(self, names: Collection[str] | None = None) -> Mapping[str, Entry]:
        """What stands in each client's file, with the addresses of the host."""
        from gitstate.directory.model.client_attributes import entry_of

        clients = self.clients()
        return {name: entry_of(clients[name], entry) for name, entry in self._assigned.entries(names).items()}

    def netgroup(self, name: str) -> list[str]:
        """The machines of a netgroup of the LDAP server."""
        return netgroups.hosts(self._connection, self._options.netgroups, name)

    def revision(self) -> str:
        """Of what is ours; hosts change without us."""
        return self._assigned.revision()

    def client_on(self, name: str, when: int) -> None:
        """A server keeps no history."""

    def last_change(self, name: str) -> LastChange | None:
        """The last commit of the client's file."""
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
        """One commit; addresses are the server's, and can't be changed from here."""
        changed = [normalized(client) for client in put]
        known = self._assigned.clients()
        hosts = self._of([client.name for client in changed])
        for client in changed:
            if client.name not in hosts and client.name not in known:
                raise _no_host(client.name, hosts or self._hosts(""), self._options.clients)
            self._refuse_addresses(client, _joined(client, hosts.get(client.name)))
        bare = [replace(client, macs=(), ips=()) for client in changed]
        self._assigned.change(bare, remove, author, message, committer, _bared(extra))

    def _refuse_addresses(self, client: Client, host: Client) -> None:
        for key, (attribute, _) in _OF_HOSTS.items():
            given, known = getattr(client, key), getattr(host, key)
            if given and given != known:
                raise UsageError(
                    f"{client.name}: its {attribute} is the LDAP server's to say: {' '.join(known) or 'none'}",
                    'with mode = "split" addresses are changed there, with the site\'s own tools',
                )

    def about(self) -> str:
        """Both places."""
        hosts = f"hosts below {self._options.clients} of {self._connection.uri}"
        return f"{hosts}, assignments in {self._assigned.about()}"

    def problems(self) -> list[str]:
        """Clients that no host has the name of any more."""
        lost = sorted(self._assigned.clients().keys() - self._hosts("").keys())
        return [f"{name}: no host has that name, below {self._options.clients}" for name in lost]

    def finish(self) -> None:
        """A commit is done or isn't."""

    def records(self, record_type: RecordType[Record]) -> Mapping[str, Record]:
        """All records by name, in their order."""
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


def _joined(client: Client, host: Entry | None) -> Client:
    """A client with the addresses that the server has for it; what can't be one is passed over."""
    values: dict[str, Any] = {}
    for key, (attribute, read) in _OF_HOSTS.items():
        values[key] = tuple(_readable(read, (host or {}).get(attribute, ())))
    return normalized(replace(client, **values))


def _readable(read: Callable[[str], str], values: Iterable[bytes]) -> Iterable[str]:
    for value in values:
        with suppress(UsageError):
            yield read(value.decode("utf-8", "replace"))


def _bared(extra: Mapping[str, Entry] | None) -> Mapping[str, Entry] | None:
    if extra is None:
        return None
    attributes = {attribute for attribute, _ in _OF_HOSTS.values()}
    return {
        name: {key: values for key, values in entry.items() if key not in attributes} for name, entry in extra.items()
    }


def _no_host(name: str, hosts: Iterable[str], base: str) -> NotFoundError:
    hint = did_you_mean(nearest(name, hosts), 'with mode = "split" hosts are entered in LDAP first')
    return NotFoundError(f"no host {name} below {base}", hint)
