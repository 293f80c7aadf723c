"""Lists of machines in the formats of other programs."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from gitstate.core.errors import UsageError
from gitstate.directory.importing import csv_list, dnsmasq, ethers, isc
from gitstate.directory.importing.hosts import HostList


class ListFormat(StrEnum):
    """The format of a list."""

    CSV = "csv"
    DNSMASQ = "dnsmasq"
    LEASES = "dnsmasq-leases"
    ETHERS = "ethers"
    ISC = "isc"


_READERS: Final[Mapping[ListFormat, Callable[[str], HostList]]] = {
    ListFormat.CSV: csv_list.read,
    ListFormat.DNSMASQ: dnsmasq.read_hosts,
    ListFormat.LEASES: dnsmasq.read_leases,
    ListFormat.ETHERS: ethers.read,
    ListFormat.ISC: isc.read,
}


_MARKS: Final = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def decode(data: bytes) -> str:
    """The text of a file: UTF-8, UTF-16 with a byte order mark, or what spreadsheets write on Windows otherwise."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding, "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def read(text: str, form: ListFormat | None = None) -> HostList:
    """Read the machines of a list. Raises UsageError if its format can't be recognised."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.strip():
        return HostList()
    return _READERS[form or detect_format(text)](text)


def detect_format(text: str) -> ListFormat:
    """Return the format that a list is in. Raises UsageError."""
    if isc.BLOCK.search(text):
        return ListFormat.ISC
    lines = text.split("\n")
    first = next((line for one in lines if (line := one.strip()) and not line.startswith("#")), "")
    if dnsmasq.LEASE.fullmatch(first):
        return ListFormat.LEASES
    if ethers.LINE.fullmatch(first):
        return ListFormat.ETHERS
    if {"name", "mac"} & set(csv_list.header(lines).columns):
        return ListFormat.CSV
    if dnsmasq.MAC.match(first) or any(map(dnsmasq.HOST_OPTION.fullmatch, lines)):
        return ListFormat.DNSMASQ
    raise UsageError("the list's format can't be recognised", f"name it: --format {'|'.join(ListFormat)}")
