"""``[boot]`` of site.toml, parsed at the door. schemas/site.schema.json says the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from pathlib import Path
from typing import Any, Final

from gitstate.boot import checks
from gitstate.core import network
from gitstate.core.errors import ConfigError, NotFoundError
from gitstate.store.site import Site

_SEE: Final = "see docs/netboot.md"
_LONGEST_ARGUMENTS: Final = 1000  # of the 2047 characters that an x86 kernel takes


class Dhcp(StrEnum):
    """Who gives addresses: another server (and we say only what to boot), we, or nobody that we care for."""

    PROXY = "proxy"
    OWN = "own"
    NONE = "none"


class Nfs(StrEnum):
    """Who serves the exports."""

    KERNEL = "kernel"
    GANESHA = "ganesha"


@dataclass(frozen=True, slots=True)
class Options:
    """How machines boot here; every value can stand in any boot file as it is."""

    interface: str
    server: str
    """Our IPv4 address on the clients' network."""
    network: str
    """The clients' network, as 10.77.0.0/24."""
    dhcp: Dhcp = Dhcp.PROXY
    range: tuple[str, str] | None = None
    """First and last address that we give; with ``dhcp = "own"``."""
    http: bool = True
    http_port: int = 80
    nfs: Nfs = Nfs.KERNEL
    nfs_version: str = "3"
    arguments: tuple[str, ...] = ()
    """Further words of every kernel line."""
    overlay_size: str = "50%"
    etc: Path = Path("/etc")
    """Where the system's configuration goes."""
    group: str = "gitstate"
    """The system group that may read ``tftp/``."""


Lookup = Callable[[str], Iterable[IPv4Interface | IPv6Interface]]

_KEYS: Final = (
    "interface",
    "server",
    "network",
    "dhcp",
    "range",
    "http",
    "http_port",
    "nfs",
    "nfs_version",
    "arguments",
    "overlay_size",
    "etc",
    "group",
)


class _FieldError(ValueError):
    """What is wrong with which key; ``parse`` adds the file."""

    def __init__(self, key: str, what: str, hint: str = _SEE) -> None:
        super().__init__(f"{key} {what}")
        self.hint = hint


def load(site: Site) -> Options:
    """What ``site.toml`` says. Raises NotFoundError, ConfigError, HostError."""
    settings = site.settings()
    if "boot" not in settings:
        raise ConfigError(
            f"{site.file}: there is no table [boot]",
            'write: [boot] and below it interface = "IF", the clients\' network',
        )
    return parse(settings["boot"], str(site.file))


def parse(table: object, where: str, lookup: Lookup = network.addresses) -> Options:
    """The options that the table ``[boot]`` of the file ``where`` asks for.

    ``lookup`` gives an interface's addresses; it is asked only if the table doesn't say both the server's address
    and the network. Raises ConfigError.
    """
    try:
        options = from_table(table)
        options = _settled(options, lookup)
        _check_dhcp(options)
    except _FieldError as fault:
        raise ConfigError(f"{where}: {fault}", fault.hint) from None
    return options


def from_table(table: object) -> Options:
    """What the table says by itself: server and network may be empty still. Raises ValueError."""
    if not isinstance(table, Mapping):
        raise _FieldError("boot", "is not a table", "write: [boot]")
    for key in table:
        if key not in _KEYS:
            raise _FieldError(f"boot.{ascii(key)[1:-1]}", "is not a key", f"known here: {', '.join(_KEYS)}")
    if "interface" not in table:
        raise _FieldError("boot.interface", "is missing", 'write: interface = "eth1", on the clients\' network')
    dhcp = Dhcp(_choice(table, "dhcp", Dhcp, Dhcp.PROXY))
    return Options(
        interface=_text(table, "interface", "interface"),
        server=_text(table, "server", "IPv4 address", ""),
        network=_text(table, "network", "network", ""),
        dhcp=dhcp,
        range=_range(table, dhcp),
        http=_flag(table, "http", True),
        http_port=_port(table, "http_port", 80),
        nfs=Nfs(_choice(table, "nfs", Nfs, Nfs.KERNEL)),
        nfs_version=_choice(table, "nfs_version", ("3", "4.2"), "3"),
        arguments=_arguments(table),
        overlay_size=_text(table, "overlay_size", "size", "50%"),
        etc=Path(_text(table, "etc", "path", "/etc")),
        group=_text(table, "group", "group", "gitstate"),
    )


def _text(table: Mapping[str, Any], key: str, kind: str, default: str | None = None) -> str:
    value = table.get(key, default)
    if key in table and not checks.is_good(kind, value):
        raise _FieldError(f"boot.{key}", f"{_shown(value)} is no {kind}", checks.expected(kind))
    assert isinstance(value, str)
    return value


def _shown(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _choice(table: Mapping[str, Any], key: str, known: Iterable[str], default: str) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or value not in list(known):
        raise _FieldError(f"boot.{key}", f"{_shown(value)} is not known", f"write one of: {', '.join(known)}")
    return value


def _flag(table: Mapping[str, Any], key: str, default: bool) -> bool:
    value = table.get(key, default)
    if not isinstance(value, bool):
        raise _FieldError(f"boot.{key}", "is neither true nor false", f"write: {key} = true")
    return value


def _port(table: Mapping[str, Any], key: str, default: int) -> int:
    value = table.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 65535:
        raise _FieldError(f"boot.{key}", f"{_shown(value)} is no port", "a number from 1 to 65535")
    return value


def _range(table: Mapping[str, Any], dhcp: Dhcp) -> tuple[str, str] | None:
    value = table.get("range")
    if dhcp is not Dhcp.OWN:
        if "range" in table:
            raise _FieldError("boot.range", "is for our own DHCP", 'write: dhcp = "own", or leave range out')
        return None
    hint = 'write: range = ["10.77.0.100", "10.77.0.200"], the first and the last address to give'
    if "range" not in table:
        raise _FieldError("boot.range", 'is missing, with dhcp = "own"', hint)
    if not isinstance(value, list) or len(value) != 2 or not all(checks.is_good("IPv4 address", one) for one in value):
        raise _FieldError("boot.range", "is not two IPv4 addresses", hint)
    return value[0], value[1]


def _arguments(table: Mapping[str, Any]) -> tuple[str, ...]:
    value = table.get("arguments", "")
    if not isinstance(value, str) or len(value) > _LONGEST_ARGUMENTS:
        raise _FieldError("boot.arguments", f"is not a text of at most {_LONGEST_ARGUMENTS} characters")
    for word in filter(None, value.split(" ")):
        if not checks.is_good("kernel argument", word):
            raise _FieldError(
                "boot.arguments", f"{_shown(word)} is no kernel argument", checks.expected("kernel argument")
            )
    return tuple(filter(None, value.split(" ")))


# --- what the machine's own addresses say -----------------------------------------------------------------------------


def _settled(options: Options, lookup: Lookup) -> Options:
    """The options with server and network."""
    if options.server and options.network:
        return options
    try:
        found = [one for one in lookup(options.interface) if isinstance(one, IPv4Interface)]
    except NotFoundError as error:
        raise _FieldError("boot.interface:", error.message, error.hint) from None
    if not found:
        raise _FieldError(
            f"boot.interface: {options.interface}",
            "has no IPv4 address",
            "give it one, or write server and network into [boot]",
        )
    fitting = [one for one in found if _fits(one, options)]
    if not fitting:
        key, value = ("server", options.server) if options.server else ("network", options.network)
        theirs = ", ".join(map(str, found))
        raise _FieldError(f"boot.{key}", f"{value} isn't on {options.interface}", f"it has {theirs}")
    server, net = str(fitting[0].ip), str(fitting[0].network)
    return replace(options, server=options.server or server, network=options.network or net)


def _fits(address: IPv4Interface, options: Options) -> bool:
    if options.server:
        return str(address.ip) == options.server
    return not options.network or address.ip in IPv4Network(options.network)


def _check_dhcp(options: Options) -> None:
    net = IPv4Network(options.network)
    if options.dhcp is not Dhcp.NONE and IPv4Address(options.server) not in net:
        raise _FieldError(
            "boot.server", f"{options.server} is not in the network {net}", "clients find us by broadcasts"
        )
    if options.range is None:
        return
    first, last = map(IPv4Address, options.range)
    if first not in net or last not in net:
        raise _FieldError("boot.range", f"is not in the network {net}")
    if first > last:
        raise _FieldError("boot.range", "ends before it begins", "write the lower address first")
