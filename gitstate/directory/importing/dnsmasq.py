"""dnsmasq's leases, and its ``dhcp-host`` options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv6Interface
from typing import Final

from gitstate.directory.importing.hosts import NO_MAC, NO_NAME, HostList, LineNote, quoted

IGNORED: Final = "told to be ignored"
LEASE: Final = re.compile(r"[0-9]{1,20} [^ ]+ [^ ]+ [^ ]+(?: [^ ]+)?|duid [0-9a-fA-F:]+")
HOST_OPTION: Final = re.compile(r"\s*(?:--)?dhcp-host\s*=\s*(.*)")
MAC: Final = re.compile(r"(?:(?P<type>[0-9A-Fa-f]{1,2})-)?(?P<mac>[0-9A-Fa-f*]{1,2}(?::[0-9A-Fa-f*]{1,2}){5})")
_OPTION: Final = re.compile(r"\s*(?:--)?[a-z][a-z0-9-]*\s*(?:=.*)?")
_TIME: Final = re.compile(r"[0-9]+[wdhms]?|infinite", re.ASCII | re.IGNORECASE)
_FIRST_OF_A_NETWORK: Final = 1 << 64
"""What dnsmasq takes for a suffix has no bit in its first half."""
_ETHERNET: Final = (None, "1", "01")
"""Hardware types (RFC 1700) of Ethernet; dnsmasq leaves it out by default."""


def read_leases(text: str) -> HostList:
    """Read ``dnsmasq.leases``: ``EXPIRY MAC IP NAME ID`` in each line; after ``duid``, IPv6 leases without a MAC."""
    found = HostList()
    is_ipv6 = False
    for number, line in _lines(text):
        if not LEASE.fullmatch(line):
            found.bad.append(LineNote(number, f"{quoted(line)} is not a lease of dnsmasq: TIME MAC IP NAME ID"))
        elif line.startswith("duid "):
            is_ipv6 = True
        else:
            _, mac, ip, name, *_ = line.split(" ")
            address = MAC.fullmatch(mac)
            if is_ipv6 or (address is not None and address["type"] not in _ETHERNET):
                found.left_out.append(LineNote(number, NO_MAC))
            elif name == "*":
                found.left_out.append(LineNote(number, NO_NAME))
            else:
                found.add(number, name, [address["mac"] if address else mac], [ip], lease=True)
    return found


def read_hosts(text: str) -> HostList:
    """Read ``dhcp-host=`` options from a configuration, or their values from a ``dhcp-hostsfile``."""
    found = HostList()
    for number, line in _lines(text):
        option = HOST_OPTION.fullmatch(line)
        if option is not None:
            _read_host(found, number, option[1])
        elif not _OPTION.fullmatch(line):
            _read_host(found, number, line)
    return found


def _read_host(found: HostList, number: int, text: str) -> None:
    macs, ips, host, ignored = [], [], "", []
    for word in (word.strip() for word in text.partition("#")[0].split(",")):
        low = word.lower()
        address = MAC.fullmatch(word)
        if low == "ignore":
            found.left_out.append(LineNote(number, IGNORED))
            return
        if low.startswith(("id:", "set:", "tag:", "net:")) or not word or word == "*" or _TIME.fullmatch(word):
            continue
        if address is not None and "*" not in word and address["type"] in _ETHERNET:
            macs.append(address["mac"])
        elif address is not None:
            ignored.append(f"{quoted(word)} is a pattern for several cards, or another type of network")
        elif word.startswith("[") and (why := _no_address(word.strip("[]"))):
            ignored.append(f"{quoted(word)} {why}")
        elif word.startswith("[") or re.fullmatch(r"[0-9.]+", word):
            ips.append(word.strip("[]").partition("/")[0])
        elif host or ":" in word:
            found.bad.append(LineNote(number, f"{quoted(word)} is not valid in dhcp-host"))
            return
        else:
            host = word
    if not host or not macs:
        found.left_out.append(LineNote(number, NO_MAC if host else NO_NAME))
    else:
        found.add(number, host, macs, ips)
        found.ignored += [LineNote(number, why) for why in ignored]


def _no_address(text: str) -> str:
    """Why what stands in brackets isn't the address of the machine, if it isn't."""
    with suppress(ValueError):
        network = IPv6Interface(text)
        if network.network.prefixlen < network.max_prefixlen:
            return "stands for several addresses"
        if int(network.ip) < _FIRST_OF_A_NETWORK:
            return "is a suffix, which dnsmasq joins with the prefix of its network"
    return ""


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers, without empty ones and comments."""
    for number, line in enumerate(text.split("\n"), 1):
        if (line := line.strip()) and not line.startswith("#"):
            yield number, line
