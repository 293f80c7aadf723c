"""Lists as comma-separated values; the first line names the columns."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any, Final

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
}
_COLUMNS: Final = ("name", *_PARSERS)
_ALIASES: Final = {
    **dict.fromkeys(("host", "hostname", "client"), "name"),
    **dict.fromkeys(("macs", "hwaddr", "ethernet"), "mac"),
    **dict.fromkeys(("ips", "address"), "ip"),
    "layers": "layer",
}


def header(line: str) -> tuple[str, list[str]]:
    """Return a header's delimiter and columns, aliases replaced."""
    delimiter = next((one for one in ",;\t" if one in line), ",")
    words = [word.strip().strip('"').strip().lower() for word in line.split(delimiter)]
    return delimiter, [_ALIASES.get(word, word) for word in words]


def read(text: str) -> HostList:
    """Read the machines of a CSV text."""
    found = HostList()
    lines = text.split("\n")
    above = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith("#")), None)
    if above is None:
        return found
    delimiter, columns = header(lines[above])
    if why := _header_error(columns):
        found.bad.append(LineNote(above + 1, f"{why}; columns are {', '.join(_COLUMNS)}"))
        return found
    for line, cells in _records(lines[above + 1 :], above + 1, delimiter, found):
        if not any(cells) or cells[0].startswith("#"):
            continue
        given = {column: cell for column, cell in zip_longest(columns, cells, fillvalue="") if cell}
        try:
            if "" in given:
                raise UsageError(f"{quoted(given[''])} has no column in the header")
            found.rows.append(host_row(line, given.pop("name", ""), _values(given)))
        except UsageError as error:
            found.bad.append(LineNote(line, error.message))
    return found


def _header_error(columns: list[str]) -> str:
    named = [column for column in columns if column]
    for place, column in enumerate(named):
        if column not in _COLUMNS:
            return f"there is no column {quoted(column)}"
        if column in named[:place]:
            return f"two columns are called {column}"
    return "" if "name" in named else "no column is called name"


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


def _values(given: dict[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for column, text in given.items():
        key, parse, many = _PARSERS[column]
        values[key] = tuple(parse(one) for one in re.split(r"[\s,;]+", text) if one) if many else parse(text)
    return values
