"""Lists of machines that other programs keep, read line by line: CSV, and dnsmasq's leases and hosts. Pure.

Nothing in them is trusted: what can't be is named with its line, and whoever asked decides what becomes of the rest.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import zip_longest
from typing import Any, Final

from gitstate.core import names
from gitstate.core.errors import UsageError
from gitstate.directory.model import clients as model


class ListFormat(StrEnum):
    """How a list is written."""

    CSV = "csv"
    DNSMASQ = "dnsmasq"
    LEASES = "dnsmasq-leases"
    ISC = "isc"


@dataclass(frozen=True, slots=True)
class Row:
    """One machine, with whatever of a client's values the list says.

    ``said`` is its name as it stands there, perhaps with a domain. A ``lease`` is no promise: its address may be
    another's tomorrow.
    """

    line: int
    name: str
    said: str
    values: dict[str, Any]
    lease: bool = False


@dataclass(frozen=True, slots=True)
class LineNote:
    """What is wrong with a line, or why it is left out."""

    line: int
    why: str


@dataclass(slots=True)
class HostList:
    """What a list says: machines, what is wrong, and what no client can be made of."""

    rows: list[Row] = field(default_factory=list)
    bad: list[LineNote] = field(default_factory=list)
    left_out: list[LineNote] = field(default_factory=list)


NAMELESS: Final = "no host name"
WITHOUT_MAC: Final = "no Ethernet address"
IGNORED: Final = "told to be ignored"

_SHOWN: Final = 40
_BLOCK = re.compile(r"^[ \t]*(?:host|lease|group|subnet6?|shared-network|failover)\b[^{};=\n]*\{", re.MULTILINE)
_LEASE = re.compile(r"[0-9]{1,20} [^ ]+ [^ ]+ [^ ]+(?: [^ ]+)?|duid [0-9a-fA-F:]+")
_HOST_OPTION = re.compile(r"\s*(?:--)?dhcp-host\s*=\s*(.*)")
_OPTION = re.compile(r"\s*(?:--)?[a-z][a-z0-9-]*\s*(?:=.*)?")
_MAC = re.compile(r"(?:(?P<type>[0-9A-Fa-f]{1,2})-)?(?P<mac>[0-9A-Fa-f*]{1,2}(?::[0-9A-Fa-f*]{1,2}){5})")
_TIME = re.compile(r"[0-9]+[wdhms]?|infinite", re.ASCII | re.IGNORECASE)
_ETHERNET: Final = (None, "1", "01")


def detect_format(text: str) -> ListFormat:
    """How a list is written, by its looks. Raises UsageError."""
    if _BLOCK.search(text):
        return ListFormat.ISC
    for line in text.split("\n"):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if _LEASE.fullmatch(line):
            return ListFormat.LEASES
        if "name" in _columns(line)[1]:
            return ListFormat.CSV
        if _MAC.match(line):
            return ListFormat.DNSMASQ
        break
    if any(_HOST_OPTION.fullmatch(line) for line in text.split("\n")):
        return ListFormat.DNSMASQ
    raise UsageError("what kind of list is that?", f"say it: --format {'|'.join(ListFormat)}")


def read(text: str, form: ListFormat | None = None) -> HostList:
    """The machines of a list. Raises UsageError if it can't be told how it is written."""
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if not text.strip():
        return HostList()
    form = form or detect_format(text)
    if form is ListFormat.ISC:
        from gitstate.directory.importing import isc  # it builds on what stands here

        return isc.read(text)
    if form is ListFormat.CSV:
        return _read_csv(text)
    lines = [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    return _read_leases(lines) if form is ListFormat.LEASES else _read_hosts(lines)


def row(line: int, said: str, values: dict[str, Any], *, lease: bool = False) -> Row:
    """A row whose name loses its domain. Raises UsageError."""
    said = said.rstrip(".")
    return Row(line, names.host_name(said.partition(".")[0]), said.lower(), values, lease)


def quoted(text: str) -> str:
    """A piece of a list as it may stand in a message."""
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


# --- CSV --------------------------------------------------------------------------------------------------------------

_PARSERS: Final[dict[str, tuple[str, Callable[[str], object], bool]]] = {
    "mac": ("macs", names.mac_address, True),
    "ip": ("ips", names.ip_address, True),
    "kind": ("kind", model.client_kind, False),
    "channel": ("channel", model.channel_name, False),
    "pin": ("pin", names.pin, False),
    "workload": ("workload", model.workload_name, False),
    "layer": ("layers", model.layer_name, True),
    "state": ("state", model.state_mode, False),
}
COLUMNS: Final = ("name", *_PARSERS)
_MEANT: Final = {
    **dict.fromkeys(("host", "hostname", "client"), "name"),
    **dict.fromkeys(("macs", "hwaddr", "ethernet"), "mac"),
    **dict.fromkeys(("ips", "address"), "ip"),
    "layers": "layer",
}


def _columns(line: str) -> tuple[str, list[str]]:
    """The delimiter of a header, and its columns by our names for them."""
    delimiter = next((one for one in ",;\t" if one in line), ",")
    words = [word.strip().strip('"').strip().lower() for word in line.split(delimiter)]
    return delimiter, [_MEANT.get(word, word) for word in words]


def _read_csv(text: str) -> HostList:
    found = HostList()
    lines = text.split("\n")
    above = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if above is None:
        return found
    delimiter, columns = _columns(lines[above])
    if why := _wrong_header(columns):
        found.bad.append(LineNote(above + 1, f"{why}; columns are {', '.join(COLUMNS)}"))
        return found
    for line, cells in _records(lines[above + 1 :], above + 1, delimiter, found):
        if not any(cells) or cells[0].startswith("#"):
            continue
        said = {column: cell for column, cell in zip_longest(columns, cells, fillvalue="") if cell}
        try:
            if "" in said:
                raise UsageError(f"{quoted(said[''])} stands below no column")
            found.rows.append(row(line, said.pop("name", ""), _values(said)))
        except UsageError as fault:
            found.bad.append(LineNote(line, fault.message))
    return found


def _wrong_header(columns: list[str]) -> str:
    named = [column for column in columns if column]
    for place, column in enumerate(named):
        if column not in COLUMNS:
            return f"there is no column {quoted(column)}"
        if column in named[:place]:
            return f"two columns are called {column}"
    return "" if "name" in named else "no column is called name"


def _records(lines: list[str], above: int, delimiter: str, found: HostList) -> Iterator[tuple[int, list[str]]]:
    """Each record's cells and the line that it begins in."""
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        line = above + reader.line_num + 1
        try:
            yield line, [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            found.bad.append(LineNote(line, f"not CSV: {error}"))


def _values(said: dict[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for column, text in said.items():
        key, parse, many = _PARSERS[column]
        values[key] = tuple(parse(one) for one in re.split(r"[\s,;]+", text) if one) if many else parse(text)
    return values


# --- dnsmasq ----------------------------------------------------------------------------------------------------------


def _read_leases(lines: Iterable[tuple[int, str]]) -> HostList:
    """``dnsmasq.leases``: ``EXPIRY MAC IP NAME ID`` in each line; after ``duid`` those of IPv6, which have no MAC."""
    found = HostList()
    is_ipv6 = False
    for number, line in lines:
        if not _LEASE.fullmatch(line):
            found.bad.append(LineNote(number, f"{quoted(line)} is not a lease of dnsmasq: TIME MAC IP NAME ID"))
        elif line.startswith("duid "):
            is_ipv6 = True
        else:
            _, mac, ip, name, *_ = line.split(" ")
            address = _MAC.fullmatch(mac)
            if is_ipv6 or (address is not None and address["type"] not in _ETHERNET):
                found.left_out.append(LineNote(number, WITHOUT_MAC))
            elif name == "*":
                found.left_out.append(LineNote(number, NAMELESS))
            else:
                _enter(found, number, name, [address["mac"] if address else mac], [ip], lease=True)
    return found


def _read_hosts(lines: Iterable[tuple[int, str]]) -> HostList:
    """``dhcp-host=`` of dnsmasq's configuration, or the same without that word in a file of hosts."""
    found = HostList()
    for number, line in lines:
        option = _HOST_OPTION.fullmatch(line)
        if option is not None:
            _enter_host(found, number, option[1])
        elif not _OPTION.fullmatch(line):
            _enter_host(found, number, line)
    return found


def _enter_host(found: HostList, number: int, text: str) -> None:
    macs, ips, host = [], [], ""
    for word in (word.strip() for word in text.partition("#")[0].split(",")):
        low = word.lower()
        address = _MAC.fullmatch(word)
        if low == "ignore":
            found.left_out.append(LineNote(number, IGNORED))
            return
        if low.startswith(("id:", "set:", "tag:", "net:")) or not word or word == "*" or _TIME.fullmatch(word):
            continue
        if address is not None and "*" not in word and address["type"] in _ETHERNET:
            macs.append(address["mac"])
        elif address is not None:
            continue  # any machine of a maker, or another kind of network
        elif word.startswith("[") or re.fullmatch(r"[0-9.]+", word):
            ips.append(word.strip("[]").partition("/")[0])
        elif host or ":" in word:
            found.bad.append(LineNote(number, f"{quoted(word)} is nothing that dhcp-host takes"))
            return
        else:
            host = word
    if not host or not macs:
        found.left_out.append(LineNote(number, WITHOUT_MAC if host else NAMELESS))
    else:
        _enter(found, number, host, macs, ips)


def _enter(
    found: HostList, line: int, name: str, macs: Iterable[str], ips: Iterable[str], *, lease: bool = False
) -> None:
    """A machine, or what is wrong with it."""
    try:
        found.rows.append(row(line, name, addresses(macs, ips), lease=lease))
    except UsageError as fault:
        found.bad.append(LineNote(line, fault.message))


def addresses(macs: Iterable[str], ips: Iterable[str]) -> dict[str, Any]:
    """The values of a row that has addresses alone. Raises UsageError."""
    found = {
        "macs": tuple(names.mac_address(_padded(one)) for one in macs),
        "ips": tuple(names.ip_address(one) for one in ips),
    }
    return {key: value for key, value in found.items() if value}


def _padded(mac: str) -> str:
    """``0:1b:2:…``, which DHCP servers take, with all its zeros."""
    return ":".join(part.zfill(2) for part in mac.split(":")) if mac.count(":") == 5 else mac
