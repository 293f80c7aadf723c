"""``[layers]`` of site.toml: how layers are chosen; schemas/site.schema.json and docs/layers.md come from here."""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Final, Literal

from gitstate.core.documents import Document, FieldError, Meta, Source, about, parse, replace
from gitstate.core.names import LAYER_KINDS
from gitstate.store.site import Site

ORDER: Final = ("base", *LAYER_KINDS)
"""The kinds of layers, the lowest first: a later one wins file by file."""

_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"

Network = IPv4Network | IPv6Network
Domain = Annotated[
    str, about("", "a domain", rf"(?=.{{1,253}}(?![\s\S])){_LABEL}(?:\.{_LABEL})*", "lab.example.org")
]
NetworkText = Annotated[
    str, about("A network, no bits behind the mask.", "a network", "[0-9a-fA-F:.]+/[0-9]{1,3}", "192.168.1.0/24")
]
Kind = Literal["base", "network", "class", "workload", "lab", "host", "ip"]


class Missing(StrEnum):
    """What becomes of a machine for which somebody named a layer that doesn't exist."""

    WARN = "warn"
    FAIL = "fail"


class Classes(StrEnum):
    """Of the hardware classes that fit a machine: the first alone, or all of them, one over the other."""

    FIRST = "first"
    ALL = "all"


class Options(Document, frozen=True):
    """Which configuration layers machines get."""

    order: Annotated[
        tuple[Kind, ...],
        Meta(min_length=7, max_length=7, extra_json_schema={"uniqueItems": True}),
        about("The kinds of layers, the lowest first: a later one wins file by file.", "a list of each kind once"),
    ] = ORDER
    classes: Annotated[
        Classes, about("Of the hardware classes that fit a machine: the first alone, or all, one over the other.")
    ] = Classes.FIRST
    missing: Annotated[
        Missing,
        about("What becomes of a machine for which somebody named a layer that doesn't exist: a warning, or an error."),
    ] = Missing.WARN
    domain: Annotated[Domain | None, about("The domain of the machines, for templates.")] = None
    networks: Annotated[
        tuple[NetworkText, ...],
        about("The machines' networks, which tell the netmasks of their addresses. That of `[boot]` is one of them.", "a list of networks"),
    ] = ()

    def __post_init__(self) -> None:
        if len(set(self.order)) != len(ORDER):
            raise FieldError("order", "has a kind twice", f"the kinds, the lowest first: {', '.join(ORDER)}")
        for index, text in enumerate(self.networks):
            if _network(text) is None:
                hint = "an address, a slash and a prefix, no bits behind it: 192.168.1.0/24"
                raise FieldError(f"networks[{index}]", f"is {text[:60]!a}, not a network", hint)

    def known_networks(self) -> tuple[Network, ...]:
        """The networks, parsed."""
        return tuple(found for text in self.networks if (found := _network(text)))


@lru_cache
def _network(text: str) -> Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


def load(site: Site) -> Options:
    """What ``site.toml`` says. Raises NotFoundError, ConfigError."""
    return options_of(site.source())


def options_of(source: Source) -> Options:
    """The options in a site's settings; the boot network counts, if it is one. Raises ConfigError."""
    options = parse(Options, source, "layers")
    boot = source.values.get("boot")
    text = boot.get("network") if isinstance(boot, dict) else None
    if isinstance(text, str) and _network(text) and text not in options.networks:
        return replace(options, networks=(*options.networks, text))
    return options
