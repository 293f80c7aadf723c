"""``@NETGROUP``: the machines of a netgroup, as this host's name service knows it."""

from __future__ import annotations

import re
from typing import Final

from gitstate.core import process
from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.names import host_name

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,254}")
_TRIPLE: Final = re.compile(r"\(([^(),]*),([^(),]*),([^(),]*)\)")
_HINT: Final = "getent netgroup NAME shows what this host knows of it"
_UNKNOWN: Final = 2
"""getent's exit code for what it doesn't find."""


def netgroup_name(text: str) -> str:
    """A netgroup's name, without ``@``. Raises UsageError."""
    if not _NAME.fullmatch(text):
        raise UsageError(f"{text!r} is not a netgroup's name", "letters, digits and _ . + -: @lab3")
    return text


def hosts(name: str) -> list[str]:
    """The short names of a netgroup's machines, sorted.

    Raises NotFoundError, UsageError for one that holds any machine.
    """
    return hosts_of_triples(name, _asked(netgroup_name(name)))


def _asked(name: str) -> list[str]:
    """What ``nsswitch.conf`` leads to: files, sssd, NIS; included netgroups come expanded. Raises NotFoundError."""
    said = process.run(["getent", "netgroup", name], accept=(0, _UNKNOWN)).decode(errors="replace")
    found = [match[0] for match in _TRIPLE.finditer(said.replace(" ", ""))]
    if not found:
        raise NotFoundError(f"no netgroup {name}", _HINT)
    return found


def hosts_of_triples(name: str, texts: list[str]) -> list[str]:
    """The machines of ``(HOST,USER,DOMAIN)`` triples: their names up to the first point. Raises UsageError."""
    found = set()
    for text in texts:
        match = _TRIPLE.fullmatch(text.replace(" ", ""))
        host = match[1] if match else "-"
        if not host:
            raise UsageError(f"the netgroup {name} holds any machine: {text}", "name the machines, or another netgroup")
        if host != "-":
            found.add(host_name(host.partition(".")[0]))
    return sorted(found)
