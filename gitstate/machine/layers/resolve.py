"""From a machine's facts to the layers that it gets, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_network
from typing import Final, NamedTuple

from gitstate.core.errors import ConfigError, NotFoundError, UsageError
from gitstate.machine.layers.options import Missing, Network, Options
from gitstate.core.names import host_name, layer_word

Interface = IPv4Interface | IPv6Interface

_EXPECTED: Final = {
    "network": "a broadcast address, or CIDR with / written _, without host bits",
    "lab": "what host names have before the first -, in small letters",
    "host": "a short host name in small letters",
    "ip": "an address as gitstate writes it, : of IPv6 written -",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What layers are chosen by. ``name`` is short; ``addresses`` are with their netmasks where these are known.

    ``extra`` are further layers by name, ``KIND/NAME``; each stands with those of its kind.
    """

    name: str
    addresses: tuple[Interface, ...] = ()
    classes: tuple[str, ...] = ()
    workload: str | None = None
    extra: tuple[str, ...] = ()

    @property
    def lab(self) -> str | None:
        """The name up to the first hyphen; None without one."""
        before, hyphen, _ = self.name.partition("-")
        return before if hyphen else None


class ExistingLayers:
    """The layers that there are; those of networks are looked at for every machine."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        found = ((name, _network_of(name)) for name in sorted(self.names))
        self.networks = tuple((name, network) for name, network in found if network is not None)


class ChosenLayer(NamedTuple):
    """A layer that a machine gets, and why: in words, such as ``network 192.168.1.0/24``."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """The layers of a machine, the lowest first, and those that somebody named and that don't exist."""

    layers: tuple[ChosenLayer, ...]
    missing: tuple[ChosenLayer, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The layers' names, the lowest first."""
        return tuple(one.name for one in self.layers)


def resolve(machine: Machine, known: ExistingLayers, options: Options) -> Resolution:
    """The layers of ``machine`` among those that are ``known``. Raises ConfigError, NotFoundError by policy."""
    if machine.name in ("", "localhost"):
        raise ConfigError(f"{machine.name!r} is no machine's name of its own", "give it a name in the directory")
    taken: dict[str, ChosenLayer] = {}
    missing: dict[str, ChosenLayer] = {}
    for kind in options.order:
        for name, why in _automatic(kind, machine, known):
            if name in known.names:
                taken.setdefault(name, ChosenLayer(name, why))
        for name, why in _assigned(kind, machine):
            (taken if name in known.names else missing).setdefault(name, ChosenLayer(name, why))
    if missing and options.missing is Missing.FAIL:
        one = next(iter(missing.values()))
        raise NotFoundError(f"{machine.name}: there is no layer {one.name} ({one.why})", f"gitstate layer create {one.name}")
    return Resolution(tuple(taken.values()), tuple(missing.values()))


def _automatic(kind: str, machine: Machine, known: ExistingLayers) -> Iterator[tuple[str, str]]:
    """The layers of one kind that a machine would get by its name and its addresses, and why."""
    match kind:
        case "base":
            yield "base", "every machine"
        case "network":
            for address in machine.addresses:
                yield from _networks(address, known)
        case "lab" if lab := machine.lab:
            yield _full_name(kind, lab), f"lab {lab}"
        case "host":
            yield _full_name(kind, machine.name), f"host {machine.name}"
        case "ip":
            yield from ((_full_name(kind, str(one.ip)), f"address {one.ip}") for one in machine.addresses)


def _assigned(kind: str, machine: Machine) -> Iterator[tuple[str, str]]:
    """The layers of one kind that the directory names for a machine, and why."""
    if kind == "class":
        yield from ((_full_name(kind, name), f"class {name}") for name in machine.classes)
    if kind == "workload" and machine.workload:
        yield _full_name(kind, machine.workload), f"workload {machine.workload}"
    for name in machine.extra:
        before, _, rest = name.partition("/")
        if before == kind:
            yield _full_name(kind, rest), "named in the directory"


def _full_name(kind: str, name: str) -> str:
    return f"{kind}/{layer_word(name)}"


def _networks(address: Interface, known: ExistingLayers) -> Iterator[tuple[str, str]]:
    """The layers of the networks that hold an address, the widest first; of one network its broadcast name last."""
    ip, mask = address.ip, address.network
    found = [
        (network.prefixlen, 0, name, f"network {network}")
        for name, network in known.networks
        if network.version == ip.version and ip in network
    ]
    if mask.prefixlen < mask.max_prefixlen:
        found.append((mask.prefixlen, 1, *_by_broadcast(mask)))
    yield from (one[2:] for one in sorted(found, key=lambda one: one[:2]))


@lru_cache(maxsize=1024)
def _by_broadcast(network: Network) -> tuple[str, str]:
    """The layer that has a network's broadcast address for its name; machines of one network are many."""
    return _full_name("network", str(network.broadcast_address)), f"network {network}"


def name_problem(name: str) -> str | None:
    """What the NAME of ``KIND/NAME`` has to be if machines are to get it by themselves; None if it is that."""
    kind, _, rest = name.partition("/")
    fits = {
        "network": lambda: _is_address(rest) or _network_of(name) is not None,
        "lab": lambda: "-" not in rest and _is_host(f"{rest}-1"),
        "host": lambda: _is_host(rest),
        "ip": lambda: _is_address(rest),
    }
    return None if kind not in fits or fits[kind]() else _EXPECTED[kind]


def _is_address(word: str) -> bool:
    """Whether a word is an address as ``layer_word`` writes it."""
    text = word if "." in word else word.replace("-", ":")
    try:
        return layer_word(str(ip_address(text))) == word
    except ValueError:
        return False


def _is_host(word: str) -> bool:
    try:
        return host_name(word) == word
    except UsageError:
        return False


def _network_of(name: str) -> Network | None:
    """The network that a layer ``network/ADDRESS_PREFIX`` is for."""
    kind, _, rest = name.partition("/")
    address, separator, prefix = rest.partition("_")
    if kind != "network" or not separator:
        return None
    try:
        return ip_network(f"{address if '.' in address else address.replace('-', ':')}/{prefix}")
    except ValueError:
        return None


def with_netmasks(addresses: Iterable[str], networks: Iterable[Network]) -> tuple[Interface, ...]:
    """Addresses with the netmask of the narrowest of ``networks`` that holds each; a mask of its own without one."""
    known = sorted(networks, key=lambda one: one.prefixlen, reverse=True)
    found = []
    for text in addresses:
        address = ip_address(text)
        home = next((one for one in known if one.version == address.version and address in one), None)
        found.append(_interface(address, home.prefixlen if home else address.max_prefixlen))
    return tuple(found)


def _interface(address: IPv4Address | IPv6Address, prefix: int) -> Interface:
    if isinstance(address, IPv4Address):
        return IPv4Interface((int(address), prefix))  # from text it takes five times as long
    return IPv6Interface((address, prefix))
