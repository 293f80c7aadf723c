"""``/etc/ethers``: an Ethernet address and a name in each line."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from gitstate.directory.importing.hosts import NO_NAME, HostList, LineNote, quoted

LINE: Final = re.compile(r"((?:[0-9A-Fa-f]{1,2}[:-]){5}[0-9A-Fa-f]{1,2})[ \t]+([^\s#,;]+)[ \t]*(?:#.*)?")


def read(text: str) -> HostList:
    """Read the machines; those that stand with an address in place of a name are left out."""
    found = HostList()
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        pair = LINE.fullmatch(line)
        if pair is None:
            found.bad.append(LineNote(number, f"{quoted(line)} is not a line of ethers: MAC NAME"))
        elif _is_address(pair[2]):
            found.left_out.append(LineNote(number, NO_NAME))
        else:
            found.add(number, pair[2], [pair[1]], [])
    return found


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
