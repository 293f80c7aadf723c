"""This machine's network: addresses, listeners, DHCP servers. The only user of sockets."""

from __future__ import annotations

import json
import secrets
import socket
import struct
import sys
import time
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from gitstate.core import process
from gitstate.core.errors import HostError, NotFoundError, StorageError

Address = IPv4Interface | IPv6Interface
Protocol = Literal["tcp", "udp"]


# --- addresses --------------------------------------------------------------------------------------------------------


def interfaces() -> list[str]:
    """The network interfaces of this machine, the loopback left out."""
    return [link["ifname"] for link in _ip() if "LOOPBACK" not in link["flags"]]


def addresses(interface: str) -> list[Address]:
    """The addresses of an interface with their networks, in the kernel's order. Raises NotFoundError."""
    found = [link for link in _ip() if link["ifname"] == interface]
    if not found:
        names = ", ".join(interfaces()) or "none"
        raise NotFoundError(f"there is no network interface {interface!r}", f"there are: {names}")
    return [ip_interface(f"{one['local']}/{one['prefixlen']}") for one in found[0]["addr_info"] if "local" in one]


def _ip() -> list[dict[str, Any]]:
    links: list[dict[str, Any]] = json.loads(process.run(["ip", "-j", "address", "show"]))
    return [link for link in links if link]


# --- who gives addresses ----------------------------------------------------------------------------------------------

_SERVER_PORT: Final = 67
_CLIENT_PORT: Final = 68
_COOKIE: Final = b"\x63\x82\x53\x63"
_DISCOVER, _OFFER = 1, 2
_PAD, _TYPE, _SERVER, _END = 0, 53, 54, 255
_BOOTP: Final = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_ETHERNET: Final = b"\xff" * 6


def dhcp_servers(interface: str, seconds: float = 2.0) -> list[str]:
    """The addresses of the DHCP servers that answer on ``interface``, sorted.

    A DISCOVER is sent and the OFFERs that come within ``seconds`` are read. Nothing is requested, so no lease is
    taken. Proxy servers keep silent: they answer to boot loaders only. Raises HostError, NotFoundError.
    """
    addresses(interface)
    transaction = secrets.randbits(32)
    found: set[str] = set()
    try:
        with _packets(interface) as sock:
            own = sock.getsockname()[4]
            question = discover(own, transaction)
            # Twice, because a switch may just have opened the port.
            for _ in range(2):
                sock.sendto(question, (interface, _IP_TYPE, 0, 0, _ETHERNET))
                found |= set(_answers(sock, transaction, seconds / 2))
    except PermissionError:
        raise HostError(f"{interface}: asking for DHCP servers is not permitted", "run it as root") from None
    except OSError as error:
        raise HostError(f"{interface}: {error.strerror}", f"is it up? ip link set {interface} up") from None
    return sorted(found, key=ip_address)


_IP_TYPE: Final = 0x0800


def _packets(interface: str) -> socket.socket:
    """A socket for raw IP packets: needs no address, and works while a DHCP client listens on port 68."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_IP_TYPE))
    try:
        sock.bind((interface, _IP_TYPE))
    except BaseException:
        sock.close()
        raise
    return sock


def _answers(sock: socket.socket, transaction: int, seconds: float) -> Iterator[str]:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            packet = sock.recv(65535)
        except TimeoutError:
            return
        if server := offer(packet, transaction):
            yield server


def discover(mac: bytes, transaction: int) -> bytes:
    """The IP packet of a DHCPDISCOVER that asks for broadcast answers."""
    message = _BOOTP.pack(1, 1, 6, 0, transaction, 0, 0x8000, b"", b"", b"", b"", mac, b"", b"")
    # The server identifier, that is what is asked for, besides mask and router.
    options = bytes((_TYPE, 1, _DISCOVER, 55, 3, 1, 3, 54, _END))
    payload = message + _COOKIE + options.ljust(60, b"\0")
    udp = struct.pack("!HHHH", _CLIENT_PORT, _SERVER_PORT, 8 + len(payload), 0)
    length = 20 + len(udp) + len(payload)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0x10, length, 0, 0, 64, socket.IPPROTO_UDP, 0, b"\0" * 4, b"\xff" * 4)
    return head[:10] + _checksum(head) + head[12:] + udp + payload


def _checksum(head: bytes) -> bytes:
    total: int = sum(struct.unpack("!10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)


def offer(packet: bytes, transaction: int) -> str | None:
    """The server that sent a DHCPOFFER for ``transaction``; None for any other packet."""
    payload = _datagram(packet)
    if len(payload) < _BOOTP.size + len(_COOKIE) or payload[_BOOTP.size :][: len(_COOKIE)] != _COOKIE:
        return None
    fields = _BOOTP.unpack_from(payload)
    options = dict(_options(payload[_BOOTP.size + len(_COOKIE) :]))
    if fields[0] != 2 or fields[4] != transaction or options.get(_TYPE) != bytes((_OFFER,)):
        return None
    server = options.get(_SERVER, b"")
    return str(IPv4Address(server if len(server) == 4 else packet[12:16]))


def _datagram(packet: bytes) -> bytes:
    """The payload of a UDP packet for a DHCP client. Its checksum may be missing if it was sent by this machine."""
    if len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] != socket.IPPROTO_UDP:
        return b""
    head = (packet[0] & 0xF) * 4
    udp = packet[head:]
    return udp[8:] if udp[2:4] == struct.pack("!H", _CLIENT_PORT) else b""


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 1 < len(data) and data[at] != _END:
        if data[at] == _PAD:
            at += 1
            continue
        size = data[at + 1]
        yield data[at], data[at + 2 : at + 2 + size]
        at += 2 + size


# --- who listens ------------------------------------------------------------------------------------------------------


class Listener(NamedTuple):
    """A listening socket; the address 0.0.0.0 or :: means any."""

    protocol: Protocol
    address: IPv4Address | IPv6Address
    port: int


_LISTENS: Final[dict[Protocol, str]] = {"tcp": "0A", "udp": "07"}


def listening(protocol: Protocol, port: int, address: str = "") -> bool:
    """Whether a process on this machine listens on ``port``, at ``address`` or at any address."""
    wanted = ip_address(address) if address else None
    return any(
        one.port == port and (wanted is None or one.address.is_unspecified or one.address == wanted)
        for one in listeners(protocol)
    )


def listeners(protocol: Protocol) -> Iterator[Listener]:
    """The listening sockets of ``protocol``, from /proc/net."""
    for name in (protocol, f"{protocol}6"):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except FileNotFoundError:  # IPv6 is off
            continue
        except OSError as error:
            raise StorageError(f"/proc/net/{name}: {error.strerror}", "is /proc mounted?") from None
        yield from (listener for line in lines if (listener := parse_listener(protocol, line)))


def parse_listener(protocol: Protocol, line: str) -> Listener | None:
    """Parse a line of /proc/net/tcp, udp, tcp6 or udp6; None for a socket that doesn't listen."""
    _, local, _, state, *_ = line.split(maxsplit=4)
    if state != _LISTENS[protocol]:
        return None
    digits, _, port = local.partition(":")
    # The kernel prints 32-bit words in the machine's own order.
    words = [bytes.fromhex(digits[at : at + 8]) for at in range(0, len(digits), 8)]
    packed = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    address = ip_address(packed)
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return Listener(protocol, address, int(port, 16))


# --- asked as machines ask --------------------------------------------------------------------------------------------

_TFTP_PORT: Final = 69
_READ, _DATA, _ERROR = 1, 3, 5
_BLOCK: Final = 512


def tftp_read(server: str, path: str, seconds: float = 3.0) -> int:
    """The size of the file ``path`` on a TFTP server, found by reading it as boot loaders do (RFC 1350).

    Raises NotFoundError with what the server says, HostError if it is silent.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(seconds)
        sock.sendto(struct.pack("!H", _READ) + path.encode() + b"\0octet\0", (server, _TFTP_PORT))
        size = 0
        while True:
            try:
                packet, peer = sock.recvfrom(65535)
            except OSError:
                raise HostError(f"{server} doesn't answer by TFTP", "is there a firewall in between?") from None
            kind, number = struct.unpack("!HH", packet[:4].ljust(4, b"\0"))
            if kind == _ERROR:
                said = packet[4:].rstrip(b"\0").decode(errors="replace")
                raise NotFoundError(f"{server} says of {path} by TFTP: {said}", "gitstate boot write; is it readable?")
            if kind == _DATA:
                sock.sendto(struct.pack("!HH", 4, number), peer)
                size += len(packet) - 4
                if len(packet) - 4 < _BLOCK:
                    return size


def http_read(url: str, seconds: float = 3.0) -> int:
    """The size of the content at ``url``. Raises NotFoundError with the server's answer, HostError if there is none."""
    from urllib.error import HTTPError, URLError
    from urllib.request import ProxyHandler, build_opener

    try:
        with build_opener(ProxyHandler({})).open(url, timeout=seconds) as answer:
            return len(answer.read())
    except HTTPError as error:
        hint = "may the web server read it? gitstate boot write"
        raise NotFoundError(f"{url}: {error.code} {error.reason}", hint) from None
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        raise HostError(f"{url}: {reason}", "is the web server running?") from None


# --- why TLS fails ----------------------------------------------------------------------------------------------------


def tls_fault(host: str, port: int, authority: Path | None, opening: bytes, seconds: float) -> str | None:
    """Why a server's certificate isn't accepted, in OpenSSL's words; None if it is, or if that can't be found out.

    ``opening`` is what asks the server for TLS; empty where it begins with that. For libraries that fail without
    saying why. Raises OSError if nobody answers.
    """
    import ssl  # slow to load, and few need it

    try:
        context = ssl.create_default_context(cafile=authority)
    except ssl.SSLError:
        return f"{authority} holds no certificates"
    with socket.create_connection((host, port), seconds) as plain:
        if opening:
            plain.sendall(opening)
            plain.recv(4096)
        try:
            with context.wrap_socket(plain, server_hostname=host):
                return None
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except ssl.SSLError:
            return None
