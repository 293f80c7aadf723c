"""``[layers]`` of site.toml, parsed at the door. schemas/site.schema.json says the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Final

from gitstate.core.errors import ConfigError
from gitstate.core.names import LAYER_KINDS
from gitstate.store.site import Site

ORDER: Final = ("base", *LAYER_KINDS)
"""The kinds of layers, the lowest first: a later one wins file by file."""

_SEE: Final = "see docs/layers.md"
_KEYS: Final = ("order", "missing", "classes", "domain", "networks")
_LABEL: Final = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN: Final = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")

Network = IPv4Network | IPv6Network


class Missing(StrEnum):
    """What becomes of a machine for which somebody named a layer that doesn't exist."""

    WARN = "warn"
    FAIL = "fail"


class Classes(StrEnum):
    """Of the hardware classes that fit a machine: the first alone, or all of them, one over the other."""

    FIRST = "first"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Options:
    """How layers are chosen here. ``networks`` tell the netmasks of addresses."""

    order: tuple[str, ...] = ORDER
    missing: Missing = Missing.WARN
    domain: str | None = None
    networks: tuple[Network, ...] = ()
    classes: Classes = Classes.FIRST


class _FieldError(ValueError):
    """What is wrong with which key; ``load`` adds the file."""

    def __init__(self, key: str, what: str, hint: str = _SEE) -> None:
        super().__init__(f"[layers] {key} {what}".replace("  ", " "))
        self.hint = hint


def load(site: Site) -> Options:
    """What ``site.toml`` says. Raises NotFoundError, ConfigError."""
    return parse(site.settings(), str(site.file))


def parse(settings: Mapping[str, Any], where: str) -> Options:
    """The options of a site's settings; ``where`` names their file. The boot network counts. Raises ConfigError."""
    try:
        return from_table(settings.get("layers", {}), settings.get("boot"))
    except _FieldError as fault:
        raise ConfigError(f"{where}: {fault}", fault.hint) from None


def from_table(table: object, boot: object = None) -> Options:
    """The options of the table ``[layers]``, beside ``[boot]``. Raises ValueError."""
    if not isinstance(table, Mapping):
        raise _FieldError("", "is not a table", "write: [layers], and its keys below")
    for key in table:
        if key not in _KEYS:
            raise _FieldError(ascii(key)[1:-1], "is no key of it", f"there are: {', '.join(_KEYS)}")
    networks = _networks(table.get("networks", []))
    return Options(
        order=_order(table.get("order", list(ORDER))),
        missing=_missing(table.get("missing", Missing.WARN)),
        domain=_domain(table["domain"]) if "domain" in table else None,
        networks=(*networks, *(one for one in _boot_network(boot) if one not in networks)),
        classes=_classes(table.get("classes", Classes.FIRST)),
    )


def _order(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) != len(ORDER) or any(value.count(kind) != 1 for kind in ORDER):
        raise _FieldError("order", "is not each kind of layer once", f"the kinds, the lowest first: {', '.join(ORDER)}")
    return tuple(value)


def _missing(value: object) -> Missing:
    if not isinstance(value, str) or value not in list(Missing):
        raise _FieldError("missing", f"is {ascii(value)[:60]}", 'one of "warn", "fail"')
    return Missing(value)


def _classes(value: object) -> Classes:
    if not isinstance(value, str) or value not in list(Classes):
        raise _FieldError("classes", f"is {ascii(value)[:60]}", 'one of "first", "all"')
    return Classes(value)


def _domain(value: object) -> str:
    if not isinstance(value, str) or not _DOMAIN.fullmatch(value):
        raise _FieldError("domain", f"is {ascii(value)[:60]}, which is no domain", "such as lab.example.org")
    return value


def _networks(value: object) -> tuple[Network, ...]:
    if not isinstance(value, list):
        raise _FieldError("networks", "is not a list", 'such as ["192.168.1.0/24", "fd00:1::/64"]')
    found = []
    for one in value:
        try:
            if not isinstance(one, str) or "/" not in one:
                raise ValueError
            found.append(ip_network(one))
        except ValueError:
            hint = "an address, a slash and a prefix, no bits behind it: 192.168.1.0/24"
            raise _FieldError("networks", f"has {ascii(one)[:60]}, which is no network", hint) from None
    return tuple(found)


def _boot_network(table: object) -> tuple[Network, ...]:
    """The clients' network, where boot files tell of one; whether that is right is the boot files' to say."""
    text = table.get("network") if isinstance(table, Mapping) else None
    try:
        return (ip_network(text),) if isinstance(text, str) else ()
    except ValueError:
        return ()
