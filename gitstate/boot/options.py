"""``[boot]`` of site.toml; schemas/site.schema.json and the table in docs/netboot.md come from here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Interface
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from gitstate.core import network
from gitstate.core.documents import Document, FieldError, Meta, Source, about, parse, replace
from gitstate.core.errors import ConfigError, NotFoundError
from gitstate.store.site import Site

_BYTE: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_WORD: Final = r"[A-Za-z0-9_][A-Za-z0-9_.,:=+/@%~\[\]-]{0,254}"

Address = Annotated[str, about(what="an IPv4 address", pattern=rf"{_BYTE}(?:\.{_BYTE}){{3}}", example="10.77.0.1")]
Network = Annotated[
    str, about("", "an IPv4 network", rf"{_BYTE}(?:\.{_BYTE}){{3}}/(?:[1-9]|[12][0-9]|3[0-2])", "10.77.0.0/24")
]
Interface = Annotated[str, about("", "an interface", "[A-Za-z0-9_][A-Za-z0-9._-]{0,14}", "eth1")]
Arguments = Annotated[
    str,
    Meta(max_length=1000),  # of the 2047 characters that an x86 kernel takes
    about(
        "",
        "words of letters, digits and _ . , : = + / @ % ~ [ ] -, at most 1000 characters",
        rf" *(?:{_WORD}(?: +|(?![\s\S])))*",
        "console=ttyS0,115200n8",
    ),
]
Size = Annotated[str, about("", "a size", "(?:[1-9][0-9]?|100)%|[1-9][0-9]{0,9}[kmgKMG]?", "2g")]
Directory = Annotated[
    str,
    about(
        what="an absolute path of letters, digits and . _ + @ ~ -",
        pattern=r"(?![\s\S]*/\.\.?(?:/|(?![\s\S])))(?:/[A-Za-z0-9._+@~-]{1,100}){1,40}",
    ),
]
Group = Annotated[str, about("", "a group's name", "[a-z_][a-z0-9_-]{0,30}")]
Lookup = Callable[[str], Iterable[IPv4Interface | IPv6Interface]]


class Dhcp(StrEnum):
    """Who gives addresses: another server (and we say only what to boot), we, or nobody that we care for."""

    PROXY = "proxy"
    OWN = "own"
    NONE = "none"


class Nfs(StrEnum):
    """Who serves the exports."""

    KERNEL = "kernel"
    GANESHA = "ganesha"


class Options(Document, frozen=True, kw_only=True):
    """How machines boot here; every value can stand in any boot file as it is, without quotes."""

    interface: Annotated[Interface, about("The network interface on the machines' network.")]
    server: Annotated[Address, about("Our address there. Without it: the interface's first IPv4 address.")] = ""
    network: Annotated[
        Network,
        about("The machines' network: nobody else may mount exports or read boot files. Without it: that of `server`."),
    ] = ""
    dhcp: Annotated[
        Dhcp,
        about(
            "Who gives addresses: another server, and we answer beside it (`proxy`); we (`own`); another server, which"
            " names what to boot as well (`none`)."
        ),
    ] = Dhcp.PROXY
    range: Annotated[
        tuple[Address, Address] | None,
        about('The first and the last address that we give, with `dhcp = "own"` only.', "two IPv4 addresses"),
    ] = None
    http: Annotated[bool, about("Whether larger files come by HTTP, from nginx; TFTP is slower.")] = True
    http_port: Annotated[int, Meta(ge=1, le=65535), about("The port of HTTP.")] = 80
    nfs: Annotated[Nfs, about("Who serves the exports: the kernel, or NFS-Ganesha.")] = Nfs.KERNEL
    nfs_version: Annotated[
        Literal["3", "4.2"],
        about(
            "The version of NFS. With 4.2 on ext4, running machines read again whatever a later export is linked to."
        ),
    ] = "3"
    arguments: Annotated[Arguments, about("Further kernel arguments, separated by spaces; no quotes.")] = ""
    overlay_size: Annotated[Size, about("How much a machine may write: a part of its memory, or a size.")] = "50%"
    etc: Annotated[Directory, about("Where the configuration of dnsmasq, nginx and the NFS server goes.")] = "/etc"
    group: Annotated[Group, about("The system group that may read `tftp/`. nginx's user joins it.")] = "gitstate"

    conditions: ClassVar[Mapping[str, Any]] = {
        "if": {"required": ["dhcp"], "properties": {"dhcp": {"const": "own"}}},
        "then": {"required": ["range"]},
        "else": {"not": {"required": ["range"]}},
    }

    def __post_init__(self) -> None:
        if self.dhcp is not Dhcp.OWN and self.range:
            raise FieldError("range", "is for our own DHCP", 'write: dhcp = "own", or leave range out')
        if self.dhcp is Dhcp.OWN and not self.range:
            hint = 'write: range = ["10.77.0.100", "10.77.0.200"], the first and the last address to give'
            raise FieldError("range", 'is missing, with dhcp = "own"', hint)
        if self.network:
            try:
                IPv4Network(self.network)
            except ValueError:
                hint = "write an address, a slash and a prefix, no bits behind it: 10.77.0.0/24"
                raise FieldError("network", f"is {self.network!a}, not an IPv4 network", hint) from None

    @property
    def words(self) -> tuple[str, ...]:
        """The further kernel arguments, one by one."""
        return tuple(self.arguments.split())

    @property
    def etc_path(self) -> Path:
        """Where the system's configuration goes."""
        return Path(self.etc)


def load(site: Site) -> Options:
    """What ``site.toml`` says. Raises NotFoundError, ConfigError, HostError."""
    source = site.source()
    if "boot" not in source.values:
        hint = 'write: [boot] and below it interface = "IF", the clients\' network'
        raise ConfigError(f"{site.file}: there is no table [boot]", hint)
    return options_of(source)


def options_of(source: Source, lookup: Lookup = network.addresses) -> Options:
    """The options in a site's settings, with the server's address and the network. Raises ConfigError.

    ``lookup`` gives an interface's addresses; it is asked only if the table doesn't say both.
    """
    options = parse(Options, source, "boot")
    try:
        options = _settled(options, lookup)
        _check_dhcp(options)
    except FieldError as fault:
        raise source.fault(f"boot.{fault.key}", fault.problem, fault.hint) from None
    return options


# --- what the machine's own addresses say -----------------------------------------------------------------------------


def _settled(options: Options, lookup: Lookup) -> Options:
    """The options with server and network."""
    if options.server and options.network:
        return options
    try:
        found = [one for one in lookup(options.interface) if isinstance(one, IPv4Interface)]
    except NotFoundError as error:
        raise FieldError("interface", f"is {options.interface}: {error.message}", error.hint) from None
    if not found:
        hint = "give it one, or write server and network into [boot]"
        raise FieldError("interface", f"{options.interface} has no IPv4 address", hint)
    fitting = [one for one in found if _fits(one, options)]
    if not fitting:
        key, value = ("server", options.server) if options.server else ("network", options.network)
        theirs = ", ".join(map(str, found))
        raise FieldError(key, f"{value} isn't on {options.interface}", f"it has {theirs}")
    server, net = str(fitting[0].ip), str(fitting[0].network)
    return replace(options, server=options.server or server, network=options.network or net)


def _fits(address: IPv4Interface, options: Options) -> bool:
    if options.server:
        return str(address.ip) == options.server
    return not options.network or address.ip in IPv4Network(options.network)


def _check_dhcp(options: Options) -> None:
    net = IPv4Network(options.network)
    if options.dhcp is not Dhcp.NONE and IPv4Address(options.server) not in net:
        raise FieldError("server", f"{options.server} is not in the network {net}", "clients find us by broadcasts")
    if options.range is None:
        return
    first, last = map(IPv4Address, options.range)
    if first not in net or last not in net:
        raise FieldError("range", f"is not in the network {net}", "give addresses of the machines' network")
    if first > last:
        raise FieldError("range", "ends before it begins", "write the lower address first")
