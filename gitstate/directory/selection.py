"""Which clients a person means: names, ranges, netgroups and filters."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from gitstate.core import names
from gitstate.core.errors import NotFoundError, UsageError
from gitstate.directory.model.clients import Client
from gitstate.directory.model.ranges import expand
from gitstate.directory.netgroups import netgroup_name
from gitstate.directory.protocol import Directory

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_KEYS: Final = {
    "kind": "kind",
    "channel": "channel",
    "pin": "pin",
    "workload": "workload",
    "class": "classes",
    "mac": "macs",
}
"""Filters that the directory itself applies, and its keys for them."""


class ClientNames(NamedTuple):
    """Host names and netgroups: ``lab3-12``, ``lab3-[01-24]``, ``@lab3``."""

    names: tuple[str, ...]
    netgroups: tuple[str, ...]


def parse_names(words: Iterable[str], parse: Callable[[str], str] = names.host_name) -> ClientNames:
    """Parse the words, expanding ranges. Raises UsageError."""
    hosts: dict[str, None] = {}
    groups: dict[str, None] = {}
    for word in words:
        if word.startswith("@"):
            groups[netgroup_name(word[1:])] = None
        else:
            hosts |= dict.fromkeys(parse(name) for name in expand(word))
    return ClientNames(tuple(hosts), tuple(groups))


def parse_network(text: str) -> Network:
    """An address, or a network. Raises UsageError."""
    try:
        return ipaddress.ip_network(text) if "/" in text else ipaddress.ip_network(names.ip_address(text))
    except ValueError:
        raise UsageError(f"{text!r} is not an IP address or network", "10.77.0.12, or 10.77.0.0/24") from None


def all_names(directory: Directory, who: ClientNames) -> list[str]:
    """The names, and those of the netgroups' machines, each once. Raises NotFoundError, UsageError."""
    found = dict.fromkeys(who.names)
    for group in who.netgroups:
        found |= dict.fromkeys(directory.netgroup(group))
    return list(found)


def existing_clients(directory: Directory, who: ClientNames) -> tuple[list[str], dict[str, list[str]]]:
    """As ``all_names`` without machines of netgroups that aren't clients; and these, by netgroup.

    Raises NotFoundError.
    """
    found = dict.fromkeys(who.names)
    strangers = {}
    for group in who.netgroups:
        members, clients = directory.netgroup(group), directory.clients()
        ours = [name for name in members if name in clients]
        if not ours:
            hint = f"to add all of them: gitstate client add @{group}"
            raise NotFoundError(f"no machine of the netgroup {group} is a client", hint)
        found |= dict.fromkeys(ours)
        strangers[group] = [name for name in members if name not in clients]
    return list(found), {group: others for group, others in strangers.items() if others}


def search(directory: Directory, patterns: Iterable[str], filters: Mapping[str, Any]) -> list[Client]:
    """The clients that match one of ``patterns``, if there are any, and all ``filters``, sorted by name.

    Raises NotFoundError, UsageError.
    """
    matches = _name_filter(directory, tuple(patterns))
    wanted = {key: str(filters[word]) for word, key in _KEYS.items() if word in filters}
    found = [one for one in (directory.find(wanted) if wanted else directory.clients()).values() if matches(one)]
    if "prototype" in filters:
        found = [one for one in found if one.pin is not None and one.pin.prototype == filters["prototype"]]
    if "ip" in filters:
        network: Network = filters["ip"]
        found = [one for one in found if any(ipaddress.ip_address(ip) in network for ip in one.ips)]
    return found


def _name_filter(directory: Directory, patterns: tuple[str, ...]) -> Callable[[Client], bool]:
    if not patterns:
        return lambda one: True
    wanted = all_names(directory, parse_names(patterns, str.lower))
    plain = {name for name in wanted if not set("*?") & set(name)}
    others = [name for name in wanted if name not in plain]
    return lambda one: one.name in plain or any(fnmatchcase(one.name, pattern) for pattern in others)
