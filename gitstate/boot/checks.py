"""What may stand in a boot file: each kind of value by what it is made of, so that none can end a word or a line.

A file for dnsmasq, iPXE, nginx or an NFS server has its own quoting, or none. So nothing is ever quoted: a value that
would need it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from gitstate.core.errors import ConfigError
from gitstate.core.names import is_word

_ADDRESS: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-f:]{2,39}")


def _is_address(text: str) -> bool:
    try:
        return bool(_ADDRESS.fullmatch(text) and ip_address(text))
    except ValueError:
        return False


_KINDS: Final[dict[str, tuple[Callable[[str], object], str]]] = {
    "name": (re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?").fullmatch, "a host name of one label"),
    "MAC address": (re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}").fullmatch, "such as 52:54:00:12:34:56"),
    "IPv4 address": (lambda text: ":" not in text and _is_address(text), "such as 10.77.0.23"),
    "IP address": (_is_address, "such as 10.77.0.23"),
    "prototype": (is_word, "a prototype's name"),
    "channel": (is_word, "a channel's name"),
    "version": (is_word, "a release's version"),
    "commit": (re.compile(r"[0-9a-f]{40}").fullmatch, "40 hex digits"),
    "machine id": (re.compile(r"[0-9a-f]{32}").fullmatch, "32 hex digits"),
    "kernel argument": (
        re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,:=+/@%~\[\]-]{0,254}").fullmatch,
        "letters, digits and _ . , : = + / @ % ~ [ ] -, without quotes",
    ),
    "path": (
        re.compile(r"(?!.*/\.\.?(?:/|$))(?:/[A-Za-z0-9._+@~-]{1,100}){1,40}").fullmatch,
        "an absolute path of letters, digits and . _ + @ ~ -",
    ),
    "time": (re.compile(r"[0-9]{1,12}").fullmatch, "seconds since 1970"),
    "UUID": (re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch, "as uuidgen prints it"),
}


def is_good(kind: str, value: object) -> bool:
    """Whether ``value`` is a ``kind`` that can stand in any boot file."""
    return isinstance(value, str) and bool(_KINDS[kind][0](value))


def checked(kind: str, value: str, where: str) -> str:
    """``value`` if it is a ``kind``. Raises ConfigError, which names ``where`` it stands."""
    if not is_good(kind, value):
        raise ConfigError(f"{where}: {str(value)[:80]!a} is no {kind} for a boot file", expected(kind))
    return value


def expected(kind: str) -> str:
    """What a ``kind`` looks like."""
    return _KINDS[kind][1]
