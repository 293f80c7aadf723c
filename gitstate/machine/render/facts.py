"""What templates know of a machine. docs/layers.md lists it with types; what isn't known isn't defined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from typing import Any

from gitstate.directory import Client
from gitstate.machine.layers import Machine


def facts_of(
    client: Client,
    machine: Machine,
    domain: str | None,
    layers: Sequence[str],
    arch: str | None,
    hardware: Mapping[str, Any] | None,
    entry: Mapping[str, Sequence[bytes]] | None,
) -> dict[str, Any]:
    """The facts of one client; ``hardware`` as it last reported it, ``entry`` its attributes in the directory."""
    facts: dict[str, Any] = {
        "host": client.name,
        "domain": domain,
        "fqdn": f"{client.name}.{domain}" if domain else client.name,
        "lab": machine.lab,
        "ips": list(client.ips),
        "mac": client.macs[0] if client.macs else None,
        "macs": list(client.macs),
        "arch": (hardware or {}).get("architecture") or arch,
        "classes": list(machine.classes),
        "workload": machine.workload,
        "kind": str(client.kind),
        "state": client.state,
        "channel": client.channel,
        "layers": list(layers),
        "hardware": hardware,
        "directory": own_attributes(entry or {}),
    }
    facts |= _address(machine)
    return {name: value for name, value in facts.items() if value is not None}


def _address(machine: Machine) -> dict[str, Any]:
    """The first address, IPv4 before IPv6, and its network where the mask is known."""
    if not machine.addresses:
        return {}
    first = machine.addresses[0]
    network = first.network
    if network.prefixlen == network.max_prefixlen:
        return {"ip": str(first.ip)}
    facts = {"ip": str(first.ip), "network": str(network), "prefix": network.prefixlen}
    if isinstance(first.ip, IPv4Address):
        facts |= {"netmask": str(network.netmask), "broadcast": str(network.broadcast_address)}
    return facts


def own_attributes(entry: Mapping[str, Sequence[bytes]]) -> dict[str, list[str]]:
    """The attributes of an entry that no other fact has."""
    told = {name: values for name, values in sorted(entry.items()) if not _is_other_fact(name.lower())}
    return {name: [value.decode("utf-8", "replace") for value in values] for name, values in told.items()}


def _is_other_fact(name: str) -> bool:
    """Whether another fact has it: what is written twice would change twice."""
    return name.startswith("gitstate") or name in ("cn", "objectclass", "macaddress", "iphostnumber")
