"""A client, and the parsers of its values."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, NamedTuple

from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.names import LAYER_KINDS, Pin, repo_name, word
from gitstate.core.wording import did_you_mean, nearest


class Kind(StrEnum):
    """How a machine runs."""

    DISKLESS = "diskless"
    CACHING = "caching"
    LIVE = "live"
    THICK = "thick"


DEFAULT_STATE: Final = "overlay"
STATES: Final = (DEFAULT_STATE, "local", "tmpfs-root")
"""Where a machine keeps what it writes (docs/howto/clients.md)."""


@dataclass(frozen=True, slots=True)
class Client:
    """A machine's entry. Tuples are sorted and without duplicates.

    ``pin`` takes precedence over ``channel``, ``maintains`` over both: the prototype whose live tree it boots, to
    change it. ``classes`` are its hardware classes as last reported.
    """

    name: str
    macs: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    kind: Kind = Kind.DISKLESS
    channel: str | None = None
    pin: Pin | None = None
    workload: str | None = None
    classes: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()
    state: str = DEFAULT_STATE
    maintains: str | None = None

    @property
    def runs(self) -> str | None:
        """The live tree that it boots, the snapshot that it is pinned to, or the channel that it follows."""
        if self.maintains:
            return f"live tree of {self.maintains}"
        return str(self.pin) if self.pin else self.channel


def normalized(client: Client) -> Client:
    """Return ``client`` with its tuples sorted and without duplicates."""
    changed_values: dict[str, Any] = {}
    for key in ("macs", "ips", "classes", "layers"):
        values = getattr(client, key)
        if len(values) > 1:
            ordered = tuple(sorted(set(values), key=_address_order if key == "ips" else None))
            if ordered != values:
                changed_values[key] = ordered
    return replace(client, **changed_values) if changed_values else client


def _address_order(text: str) -> tuple[int, int, str]:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # reported when values are checked
        return 0, 0, text
    return address.version, int(address), text


# --- parsing values ---------------------------------------------------------------------------------------------------


def channel_name(text: str) -> str:
    """Parse a channel's name. Raises UsageError."""
    return word(text, "a channel's name")


def prototype_name(text: str) -> str:
    """Parse a prototype's name. Raises UsageError."""
    return word(repo_name(text), "a prototype's name")


def workload_name(text: str) -> str:
    """Parse a workload: the NAME of the layer ``workload/NAME``. Raises UsageError."""
    return word(text, "a workload's name")


def class_name(text: str) -> str:
    """Parse a hardware class: the NAME of the layer ``class/NAME``. Raises UsageError."""
    return word(text, "a hardware class's name")


def layer_name(text: str) -> str:
    """Parse a layer's name, ``KIND/NAME``. Raises UsageError."""
    kind, _, rest = text.partition("/")
    try:
        if kind in LAYER_KINDS:
            repo_name(rest.replace("/", "_"))
            return text
    except UsageError:
        pass
    raise UsageError(f"{text!r} is not a layer", f"one of {', '.join(LAYER_KINDS)}, a slash and a name: workload/kiosk")


def client_kind(text: str) -> Kind:
    """Parse a kind. Raises UsageError."""
    try:
        return Kind(text.lower())
    except ValueError:
        raise UsageError(f"{text!r} is not a kind of client", f"one of {', '.join(Kind)}") from None


def state_mode(text: str) -> str:
    """Parse a state mode. Raises UsageError."""
    if text.lower() not in STATES:
        raise UsageError(f"{text!r} is not a state mode", f"one of {', '.join(STATES)}")
    return text.lower()


def matches(client: Client, wanted: Mapping[str, str]) -> bool:
    """Whether a client has the ``wanted`` values, by its keys; of several values one must match."""
    for key, value in wanted.items():
        have = getattr(client, key)
        is_set = isinstance(have, tuple) and not isinstance(have, Pin)
        if value not in map(str, have) if is_set else str(have) != value:
            return False
    return True


# --- all clients together ---------------------------------------------------------------------------------------------


class DuplicateAddress(NamedTuple):
    """An address that two clients have; ``first`` and ``second`` are sorted by name."""

    kind: str
    address: str
    first: str
    second: str


def find_duplicate_address(clients: Iterable[Client]) -> DuplicateAddress | None:
    """Return the first address that two of ``clients``, sorted by name, have."""
    owners: dict[str, str] = {}
    for client in clients:
        for address in client.macs + client.ips:
            owner = owners.setdefault(address, client.name)
            if owner != client.name:
                return DuplicateAddress("MAC" if address in client.macs else "IP", address, owner, client.name)
    return None


def refuse_two_maintainers(clients: Iterable[Client], changed: Collection[str]) -> None:
    """Raise UsageError if two of ``clients`` boot one live tree: they would overwrite each other's files."""
    owners: dict[str, str] = {}
    for client in clients:
        if client.maintains is None:
            continue
        owner = owners.setdefault(client.maintains, client.name)
        if owner != client.name:
            holder, other = (client.name, owner) if owner in changed else (owner, client.name)
            hint = f"gitstate client set {holder} --no-maintains"
            raise UsageError(f"{other} can't maintain {client.maintains}: {holder} does", hint)


def refuse_duplicate_addresses(clients: Iterable[Client], changed: Iterable[str]) -> None:
    """Raise UsageError if two of ``clients`` have the same address; of these, one of ``changed`` is at fault."""
    duplicate = find_duplicate_address(clients)
    if duplicate is not None:
        owner, other = (
            (duplicate.second, duplicate.first) if duplicate.first in changed else (duplicate.first, duplicate.second)
        )
        hint = f"see: gitstate client show {owner}"
        raise UsageError(f"{duplicate.address} can't be assigned to {other}: {owner} has it", hint)


def no_such_client(name: str, clients: Iterable[str]) -> NotFoundError:
    """Return the error for an unknown client, with similar names."""
    hint = did_you_mean(nearest(name, clients), "gitstate client list shows all clients")
    return NotFoundError(f"no client {name}", hint)
