"""Secrets and public keys of machines, as lists show them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from gitstate.core.entry import Meta
from gitstate.core.errors import ConfigError
from gitstate.directory import Client
from gitstate.machine import layers
from gitstate.machine.secrets.change import hosts
from gitstate.machine.secrets.keys import public_keys
from gitstate.machine.secrets.options import load
from gitstate.machine.secrets.tree import machine_secrets
from gitstate.store.site import Site


class Secret(NamedTuple):
    """One file, directory or symlink of a machine's secrets."""

    host: str
    path: bytes
    meta: Meta
    size: int


class KnownHost(NamedTuple):
    """A public ssh host key, and the names and addresses of its machine."""

    host: str
    names: list[str]
    key: str


def listing(site: Site, host: str | None) -> tuple[list[Secret], list[ConfigError]]:
    """The secrets of one machine or of all, and what is wrong with those that can't be listed. Raises HostError."""
    options = load(site)
    found: list[Secret] = []
    errors: list[ConfigError] = []
    for name in [host] if host else hosts(site):
        try:
            entries = machine_secrets(site, name, options).entries
        except ConfigError as error:
            errors.append(error)
        else:
            found += [Secret(name, one.path, one.meta, len(one.content)) for one in entries]
    return found, errors


def known_hosts(site: Site, clients: Iterable[Client]) -> list[KnownHost]:
    """The public keys of machines, in the order of their names. Raises ConfigError."""
    domain = layers.load(site).domain
    names = {one.name: [one.name, *([f"{one.name}.{domain}"] if domain else []), *one.ips] for one in clients}
    return [KnownHost(host, names[host], key) for host, key in public_keys(site, names)]
