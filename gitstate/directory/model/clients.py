"""A client as everything inside sees it, and its values parsed at the door."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
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
    """A machine's entry. What it has several of is a set: sorted, each once.

    ``pin`` wins over ``channel``; ``classes`` are its hardware classes as it last reported them.
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

    @property
    def runs(self) -> str | None:
        """The snapshot that it is pinned to, else the channel that it follows."""
        return str(self.pin) if self.pin else self.channel


def normalized(client: Client) -> Client:
    """``client`` with its sets as sets."""
    unlike: dict[str, Any] = {}
    for key in ("macs", "ips", "classes", "layers"):
        values = getattr(client, key)
        if len(values) > 1:
            ordered = tuple(sorted(set(values), key=_by_number if key == "ips" else None))
            if ordered != values:
                unlike[key] = ordered
    return replace(client, **unlike) if unlike else client


def _by_number(text: str) -> tuple[int, int, str]:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:  # whoever checks values says so
        return 0, 0, text
    return address.version, int(address), text


# --- at the door ------------------------------------------------------------------------------------------------------


def channel_name(text: str) -> str:
    """A channel's name. Raises UsageError."""
    return word(text, "a channel's name")


def workload_name(text: str) -> str:
    """A workload: the NAME of the layer ``workload/NAME``. Raises UsageError."""
    return word(text, "a workload's name")


def class_name(text: str) -> str:
    """A hardware class: the NAME of the layer ``class/NAME``. Raises UsageError."""
    return word(text, "a hardware class's name")


def layer_name(text: str) -> str:
    """A layer by its repository's name, ``KIND/NAME``. Raises UsageError."""
    kind, _, rest = text.partition("/")
    try:
        if kind in LAYER_KINDS:
            repo_name(rest.replace("/", "_"))
            return text
    except UsageError:
        pass
    raise UsageError(f"{text!r} is not a layer", f"one of {', '.join(LAYER_KINDS)}, a slash and a name: workload/kiosk")


def client_kind(text: str) -> Kind:
    """How a machine runs. Raises UsageError."""
    try:
        return Kind(text.lower())
    except ValueError:
        raise UsageError(f"{text!r} is not a kind of client", f"one of {', '.join(Kind)}") from None


def state_mode(text: str) -> str:
    """Where a machine keeps what it writes. Raises UsageError."""
    if text.lower() not in STATES:
        raise UsageError(f"{text!r} is not a state mode", f"one of {', '.join(STATES)}")
    return text.lower()


def matches(client: Client, wanted: Mapping[str, str]) -> bool:
    """Whether a client's values, by its keys, are those wanted; where it has several, whether one of them is."""
    for key, value in wanted.items():
        have = getattr(client, key)
        is_set = isinstance(have, tuple) and not isinstance(have, Pin)
        if value not in map(str, have) if is_set else str(have) != value:
            return False
    return True


# --- all clients together ---------------------------------------------------------------------------------------------


class DuplicateAddress(NamedTuple):
    """An address that two clients have, in the order of their names."""

    kind: str
    address: str
    first: str
    second: str


def find_duplicate_address(clients: Iterable[Client]) -> DuplicateAddress | None:
    """The first address that two of ``clients``, sorted by name, have."""
    owners: dict[str, str] = {}
    for client in clients:
        for address in client.macs + client.ips:
            owner = owners.setdefault(address, client.name)
            if owner != client.name:
                return DuplicateAddress("MAC" if address in client.macs else "IP", address, owner, client.name)
    return None


def refuse_duplicate_addresses(clients: Iterable[Client], changed: Iterable[str]) -> None:
    """Raise UsageError, naming who has it, if two of ``clients`` have one address; ``changed`` are those to blame."""
    clash = find_duplicate_address(clients)
    if clash is not None:
        owner, other = (clash.second, clash.first) if clash.first in changed else (clash.first, clash.second)
        raise UsageError(
            f"{clash.address} can't be {other}'s: {owner} has it",
            f"gitstate client show {owner} tells about it",
        )


def no_such_client(name: str, clients: Iterable[str]) -> NotFoundError:
    """The error for a name that no client has, with the nearest that one has."""
    return NotFoundError(
        f"no client {name}", did_you_mean(nearest(name, clients), "gitstate client list shows whom there is")
    )
