"""Which machines asked how to boot, by the log of our dnsmasq: in proxy mode it keeps no leases."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from gitstate.boot.checks import is_good
from gitstate.core.failures import of_system
from gitstate.store.site import Site

_STAMP: Final = r"(?P<when>[A-Z][a-z]{2} [ 0-3][0-9] [0-9:]{8}) dnsmasq"
_HEX: Final = r"[0-9a-f]{2}"
_IP: Final = r"[0-9.]{7,15}"
_DHCP = re.compile(rf"{_STAMP}-dhcp\[\d+\]: (?P<transaction>\d+) (?P<said>.*)\n?", re.ASCII)
_VENDOR = re.compile(r"vendor class: (?P<vendor>(?:PXE|HTTP)Client[ -~]{0,60})")
_QUESTION = re.compile(
    rf"(?:PXE|DHCP(?:DISCOVER|REQUEST|ACK))\([^)]*\) (?:(?P<ip>{_IP}) )?(?P<mac>{_HEX}(?::{_HEX}){{5}})(?: .*)?",
    re.ASCII,
)
# The script for one MAC address: iPXE says by the file it wants who it is, and by the address where it is.
_SCRIPT = re.compile(
    rf"{_STAMP}-tftp\[\d+\]: (?:file|sent) /[^ ]*/boot/mac/(?P<mac>{_HEX}(?:-{_HEX}){{5}})\.ipxe"
    rf" (?:not found for|to) (?P<ip>{_IP})\n?",
    re.ASCII,
)
_ARCHITECTURES: Final = {"00000": "BIOS", "00006": "UEFI", "00007": "UEFI", "00009": "UEFI", "00011": "UEFI, ARM"}


@dataclass(frozen=True, slots=True)
class BootRequest:
    """A machine that asked how to boot."""

    mac: str
    when: str
    """The last time, as the log has it: ``Mar 12 14:02:11``."""
    ip: str | None = None
    """The address that it had, if that is known."""
    vendor: str | None = None
    """What its firmware says of itself: ``PXEClient:Arch:00007:UNDI:003016``."""

    @property
    def firmware(self) -> str | None:
        """BIOS or UEFI, if it said so."""
        _, _, rest = (self.vendor or "").partition(":Arch:")
        return _ARCHITECTURES.get(rest[:5])


def log_path(site: Site) -> Path:
    """The directory of the boot services' logs."""
    return site.path / "log"


def machines_that_asked(site: Site) -> list[BootRequest]:
    """Every machine of the log, the one that asked last at the end; none before dnsmasq has run.

    Raises HostError if the log can't be read.
    """
    path = log_path(site) / "dnsmasq.log"
    try:
        with path.open(encoding="utf-8", errors="replace") as lines:
            return asked(lines)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise of_system(error) from None


def asked(lines: Iterable[str]) -> list[BootRequest]:
    """Every machine of a log that asked how to boot, the one that asked last at the end.

    Machines that only want an address aren't in it.
    """
    found: dict[str, BootRequest] = {}
    vendors: dict[str, str] = {}
    for line in lines:
        if "-dhcp[" in line:
            one = _of_dhcp(line, vendors)
        elif "/boot/mac/" in line:
            one = _of_tftp(line)
        else:
            continue
        if one and _is_machine(one):
            before = found.pop(one.mac, one)
            found[one.mac] = replace(one, ip=one.ip or before.ip, vendor=one.vendor or before.vendor)
    return list(found.values())


def _is_machine(one: BootRequest) -> bool:
    """Whether it can be one: over TFTP anybody may ask for any name."""
    return not int(one.mac[1], 16) & 1 and one.mac.strip("0:") != "" and (not one.ip or is_good("IPv4 address", one.ip))


def _of_dhcp(line: str, vendors: dict[str, str]) -> BootRequest | None:
    """A line of DHCP; what a boot loader says of itself stands in a line before that of its question."""
    match = _DHCP.fullmatch(line)
    if match is None:
        return None
    if vendor := _VENDOR.fullmatch(match["said"]):
        vendors[match["transaction"]] = vendor["vendor"]
        return None
    question = _QUESTION.fullmatch(match["said"])
    if question is None or match["transaction"] not in vendors:
        return None
    return BootRequest(question["mac"], match["when"], question["ip"], vendors[match["transaction"]])


def _of_tftp(line: str) -> BootRequest | None:
    match = _SCRIPT.fullmatch(line)
    return BootRequest(match["mac"].replace("-", ":"), match["when"], match["ip"]) if match else None
