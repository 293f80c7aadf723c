"""Lists as comma-separated values; the first line names the columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from gitstate.core import names
from gitstate.core.errors import UsageError
from gitstate.directory.importing.hosts import HostList, LineNote, host_row, quoted
from gitstate.directory.model import clients as model

_PARSERS: Final[dict[str, tuple[str, Callable[[str], object], bool]]] = {
    "mac": ("macs", names.mac_address, True),
    "ip": ("ips", names.ip_address, True),
    "kind": ("kind", model.client_kind, False),
    "channel": ("channel", model.channel_name, False),
    "pin": ("pin", names.pin, False),
    "workload": ("workload", model.workload_name, False),
    "layer": ("layers", model.layer_name, True),
    "state": ("state", model.state_mode, False),
    "maintains": ("maintains", model.prototype_name, False),
}
_COLUMNS: Final = ("name", *_PARSERS)
_WORDS: Final = {
    "name": """
        name host hostname client clientname computer computername device devicename machine machinename pc pcname
        fqdn dnsname rechner rechnername gerät gerätename maschine
    """,
    "mac": """
        mac macs macaddr macaddress macaddresses hwaddr hwaddress hardwareaddress ethernet ethernetaddress
        physicaladdress macadresse macadressen hardwareadresse ethernetadresse physischeadresse physikalischeadresse
    """,
    "ip": """
        ip ips address addresses ipaddr ipaddress ipaddresses ipv4 ipv6 ipv4address ipv6address
        adresse adressen ipadresse ipadressen ipv4adresse ipv6adresse
    """,
    "channel": "channel kanal",
    "layer": "layer layers",
    **{one: one for one in ("kind", "pin", "workload", "state", "maintains")},
}
_ALIASES: Final = {word: column for column, words in _WORDS.items() for word in words.split()}
_DELIMITERS: Final = ",;\t|"
_SEPARATOR: Final = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
"""The first line by which spreadsheets are told the delimiter."""


class Header(NamedTuple):
    """The line that names the columns, an index; ``columns`` are ours by their names, of others the empty text."""

    place: int
    delimiter: str
    words: list[str]
    columns: list[str]


def header(lines: Sequence[str]) -> Header:
    """Find the header of a list; without one it has no columns."""
    there = (at for at, line in enumerate(lines) if line.strip() and not line.startswith("#"))
    place = next(there, None)
    if place is None:
        return Header(0, ",", [], [])
    told = _SEPARATOR.fullmatch(lines[place].strip())
    place = next(there, place) if told else place
    line = lines[place]
    bare = re.sub('"[^"]*"', "", line)
    delimiter = told[1] if told else max(_DELIMITERS, key=bare.count)
    try:
        words = [word.strip() for word in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])]
    except csv.Error:
        words = [line.strip()]
    return Header(place, delimiter, words, [_column(word) for word in words])


def _column(word: str) -> str:
    """Our name of a column, however it is spelt: ``MAC-Adresse``, ``ip_address``, ``MAC 2``."""
    plain = re.sub(r"[\s_.:/-]|\(.*\)", "", word.lower().replace("ae", "ä"))
    return _ALIASES.get(plain) or _ALIASES.get(plain.rstrip("0123456789"), "")


def read(text: str) -> HostList:
    """Read the machines of a CSV text."""
    found = HostList()
    lines = text.split("\n")
    place, delimiter, words, columns = header(lines)
    if not words:
        return found
    if why := _header_error(words, columns):
        found.bad.append(LineNote(place + 1, f"{why}; columns are {', '.join(_COLUMNS)}"))
        return found
    if unknown := [word for word, column in zip(words, columns, strict=True) if word and not column]:
        found.ignored.append(LineNote(place + 1, f"clients have no {', '.join(map(quoted, unknown))}"))
    for line, cells in _records(lines[place + 1 :], place + 1, delimiter, found):
        if not any(cells) or cells[0].startswith("#"):
            continue
        try:
            if extra := [cell for cell in cells[len(columns) :] if cell]:
                raise UsageError(f"{quoted(extra[0])} has no column in the header")
            found.rows.append(host_row(line, *_values(columns, cells)))
        except UsageError as error:
            found.bad.append(LineNote(line, error.message))
    return found


def _header_error(words: Sequence[str], columns: Sequence[str]) -> str:
    for column in ("name", *(one for one, (_, _, many) in _PARSERS.items() if not many)):
        if len(same := [word for word, one in zip(words, columns, strict=True) if one == column]) > 1:
            return f"two columns are called {column}: {', '.join(map(quoted, same))}"
    return "" if "name" in columns else "no column is called name"


def _records(lines: list[str], above: int, delimiter: str, found: HostList) -> Iterator[tuple[int, list[str]]]:
    """Yield each record's first line number and cells."""
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        line = above + reader.line_num + 1
        try:
            yield line, [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            found.bad.append(LineNote(line, f"not CSV: {error}"))


def _values(columns: Sequence[str], cells: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """The name and the values of a line. Raises UsageError."""
    name = ""
    values: dict[str, Any] = {}
    for column, text in zip(columns, cells, strict=False):
        if column == "name":
            name = text
        elif column and text:
            key, parse, many = _PARSERS[column]
            found = tuple(parse(one) for one in re.split(r"[\s,;]+", text) if one) if many else parse(text)
            values[key] = (*values.get(key, ()), *found) if isinstance(found, tuple) and many else found
    return name, values
