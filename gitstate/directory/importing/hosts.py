"""What a list of machines says, whatever its format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from gitstate.core import names
from gitstate.core.errors import UsageError

NO_NAME: Final = "no host name"
NO_MAC: Final = "no Ethernet address"
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class HostRow:
    """One machine and its values, by the keys of ``Client``.

    ``full_name`` is its name as the list has it, perhaps with a domain. The address of a ``lease`` is not permanent.
    """

    line: int
    name: str
    full_name: str
    values: dict[str, Any]
    lease: bool = False


@dataclass(frozen=True, slots=True)
class LineNote:
    """What is wrong with a line, or why it is left out."""

    line: int
    why: str


@dataclass(slots=True)
class HostList:
    """The machines of a list, its bad lines, and valid lines from which no client can be made.

    ``ignored`` are parts of other lines that no client has a place for.
    """

    rows: list[HostRow] = field(default_factory=list)
    bad: list[LineNote] = field(default_factory=list)
    left_out: list[LineNote] = field(default_factory=list)
    ignored: list[LineNote] = field(default_factory=list)

    def add(self, line: int, name: str, macs: Iterable[str], ips: Iterable[str], *, lease: bool = False) -> None:
        """Add a machine, or a note of what is wrong with it."""
        try:
            self.rows.append(host_row(line, name, addresses(macs, ips), lease=lease))
        except UsageError as error:
            self.bad.append(LineNote(line, error.message))


def host_row(line: int, full_name: str, values: dict[str, Any], *, lease: bool = False) -> HostRow:
    """Return a row with the name's first label as its name. Raises UsageError."""
    full_name = full_name.rstrip(".")
    return HostRow(line, names.host_name(full_name.partition(".")[0]), full_name.lower(), values, lease)


def addresses(macs: Iterable[str], ips: Iterable[str]) -> dict[str, Any]:
    """Return addresses as a row's values. Raises UsageError."""
    found = {
        "macs": tuple(names.mac_address(_padded(one)) for one in macs),
        "ips": tuple(names.ip_address(one) for one in ips),
    }
    return {key: value for key, value in found.items() if value}


def _padded(mac: str) -> str:
    """``0:1b:2:…``, which DHCP servers accept, with two digits to each part."""
    return ":".join(part.zfill(2) for part in mac.split(":")) if mac.count(":") == 5 else mac


def quoted(text: str) -> str:
    """Return a part of a list, quoted and shortened for a message."""
    return ascii(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
