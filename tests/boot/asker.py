"""What firmware asks a network for, without a machine: questions as JSON in, answers out.

It stands in for firmware that QEMU doesn't have (a BIOS whose PXE isn't iPXE, ARM), and takes no second.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from contextlib import suppress
from typing import Any, Final

_FORMAT: Final = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s4s")
_COOKIE: Final = bytes.fromhex("63825363")
_SECONDS: Final = 2.0
_TRANSACTION: Final = 0x12345678


def _message(mac: str, kind: int, options: dict[int, bytes], address: str = "0.0.0.0") -> bytes:
    hardware = bytes.fromhex(mac.replace(":", ""))
    nothing = bytes(4)
    head = _FORMAT.pack(
        1,
        1,
        6,
        0,
        _TRANSACTION,
        0,
        0x8000,
        socket.inet_aton(address),
        nothing,
        nothing,
        nothing,
        hardware,
        b"",
        b"",
        _COOKIE,
    )
    all_options = {53: bytes((kind,)), **options}
    return head + b"".join(bytes((key, len(value))) + value for key, value in all_options.items()) + b"\xff"


def _parsed(data: bytes) -> dict[str, Any]:
    fields = _FORMAT.unpack_from(data)
    options, rest = {}, data[_FORMAT.size :]
    while rest and rest[0] != 255:
        if rest[0]:
            options[rest[0]] = rest[2 : 2 + rest[1]].hex()
        rest = rest[2 + rest[1] :] if rest[0] else rest[1:]
    return {
        "address": socket.inet_ntoa(fields[8]),
        "server": socket.inet_ntoa(fields[9]),
        "file": fields[13].rstrip(b"\0").decode(),
        "options": options,
    }


def _boot_options(architecture: str, ipxe: str) -> dict[int, bytes]:
    number = int(architecture)
    return {
        60: b"PXEClient:Arch:%05d:UNDI:002001" % number,
        93: struct.pack("!H", number),
        94: bytes((1, 2, 1)),
        97: bytes(17),
        55: bytes((1, 3, 12, 43, 54, 60, 66, 67, 175)),
        **({77: b"iPXE", 175: bytes.fromhex("b10301af4c")} if ipxe == "ipxe" else {}),
    }


def dhcp(interface: str, mac: str, architecture: str, ipxe: str) -> list[dict[str, Any]]:
    """All offers that a boot loader gets for its DISCOVER; ``ipxe`` or ``rom`` says which."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        door.bind(("", 68))
        door.sendto(_message(mac, 1, _boot_options(architecture, ipxe)), ("255.255.255.255", 67))
        return _answers(door)


def pxe(server: str, mac: str, architecture: str, item: str = "") -> list[dict[str, Any]]:
    """What a proxy says on port 4011, where firmware asks it again; ``item`` is what it chose from the menu."""
    chosen = {43: bytes((71, 4)) + struct.pack("!HH", int(item, 16), 0) + b"\xff"} if item else {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.bind(("", 68))
        door.connect((server, 4011))
        door.send(_message(mac, 3, _boot_options(architecture, "rom") | chosen, door.getsockname()[0]))
        return _answers(door)


def _answers(door: socket.socket) -> list[dict[str, Any]]:
    """The answers until there are none for a while; a proxy's comes at once."""
    found = []
    door.settimeout(_SECONDS)
    with suppress(TimeoutError):
        while True:
            found.append(_parsed(door.recv(4096)))
            door.settimeout(0.1)
    return found


def tftp(server: str, path: str) -> dict[str, Any]:
    """The first block of a file, or what the server says instead."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.settimeout(_SECONDS)
        door.sendto(struct.pack("!H", 1) + path.encode() + b"\0octet\0", (server, 69))
        data, peer = door.recvfrom(4096)
        door.sendto(struct.pack("!HH", 4, 1), peer)
    kind = struct.unpack_from("!H", data)[0]
    return {"text": data[4:].decode()} if kind == 3 else {"error": data[4:].rstrip(b"\0").decode()}


_VERBS: Final = {"dhcp": dhcp, "pxe": pxe, "tftp": tftp}

if __name__ == "__main__":
    print(json.dumps([_VERBS[verb](*words) for verb, *words in json.loads(sys.argv[1])]))
