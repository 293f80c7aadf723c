"""The network as this machine has it: addresses, who gives them, who listens; all by real interfaces and servers."""

from __future__ import annotations

import json
import socket
import sys
from contextlib import closing
from ipaddress import IPv4Address, ip_interface
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitstate.core import network
from gitstate.core.errors import NotFoundError
from tests.boot.dhcp_servers import servers, within
from tests.support import needs, root_only

# --- addresses --------------------------------------------------------------------------------------------------------


@needs("ip")
def test_addresses_of_the_loopback() -> None:
    found = network.addresses("lo")
    assert ip_interface("127.0.0.1/8") in found
    assert "lo" not in network.interfaces()


@needs("ip")
def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(NotFoundError, match="no network interface 'eth999'") as caught:
        network.addresses("eth999")
    assert caught.value.hint.startswith("there are: ")


# --- who gives addresses ----------------------------------------------------------------------------------------------


def probe(inside: int, call: str) -> Any:
    """What a call of the room says in the network."""
    code = f"import json; from gitstate.core import network; print(json.dumps({call}))"
    return json.loads(within(inside, sys.executable, "-c", code).stdout)


@root_only
@needs("dnsmasq", "ip", "unshare", "nsenter")
def test_every_server_that_offers_is_named_and_gives_nothing(tmp_path: Path) -> None:
    with servers(tmp_path, 9, 53, 99) as inside:
        assert probe(inside, "network.dhcp_servers('probe', 0.6)") == ["10.79.0.9", "10.79.0.53"]
        logs = {number: (tmp_path / f"log-{number}").read_text() for number in (9, 53, 99)}
    for number in (9, 53):
        assert "DHCPOFFER" in logs[number]
        assert "DHCPREQUEST" not in logs[number]
        assert (tmp_path / f"leases-{number}").read_text() == ""
    assert "PXE" not in logs[99]


@root_only
@needs("dnsmasq", "ip", "unshare", "nsenter")
def test_where_nobody_answers(tmp_path: Path) -> None:
    with servers(tmp_path, 99) as inside:
        assert probe(inside, "network.dhcp_servers('probe', 0.2)") == []


@root_only
@needs("dnsmasq", "ip", "unshare", "nsenter")
def test_it_works_beside_a_client_and_without_an_address(tmp_path: Path) -> None:
    with servers(tmp_path, 53) as inside:
        within(inside, "ip", "addr", "flush", "dev", "probe")
        held = "__import__('socket').socket(2, 2)"
        call = f"[(door := {held}).bind(('', 68)), network.dhcp_servers('probe', 0.4), door.close()][1]"
        assert probe(inside, call) == ["10.79.0.53"]


@root_only
@needs("dnsmasq", "ip", "unshare", "nsenter")
def test_an_interface_that_is_down(tmp_path: Path) -> None:
    with servers(tmp_path) as inside:
        within(inside, "ip", "link", "set", "probe", "down")
        call = "network.dhcp_servers('probe', 0.1)"
        done = within(inside, sys.executable, "-c", f"from gitstate.core import network; {call}", code=1)
    assert "HostError: probe: Network is down (is it up? ip link set probe up)" in done.stderr


MAC: Final = bytes.fromhex("525400123456")


def reply(kind: int = 2, transaction: int = 7, server: bytes = b"\x36\x04\x0a\x4d\x00\x35") -> bytes:
    """The IP packet of an answer to our question, as a server makes it."""
    question = network.discover(MAC, transaction)
    payload = bytearray(question[28:])
    payload[0] = 2
    payload[240:] = bytes((53, 1, kind)) + server + b"\xff"
    udp = b"\0\x43\0\x44" + (8 + len(payload)).to_bytes(2, "big") + b"\0\0"
    return question[:12] + bytes((10, 77, 0, 9)) + question[16:20] + udp + bytes(payload)


def test_our_question_is_well_formed() -> None:
    question = network.discover(MAC, 0x01020304)
    words = [int.from_bytes(question[at : at + 2], "big") for at in range(0, 20, 2)]
    total = sum(words)
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF  # a header with its own checksum adds up to this
    assert words[1] == len(question)
    assert question[28 + 4 : 28 + 8] == bytes((1, 2, 3, 4))
    assert question[28 + 28 : 28 + 34] == MAC
    assert len(question) - 28 >= 300  # what old servers and relays ask for


def test_answers_to_us_count() -> None:
    assert network.offer(reply(), 7) == "10.77.0.53"
    assert network.offer(reply(server=b""), 7) == "10.77.0.9"  # by the packet's source
    assert network.offer(reply(server=b"\0\0\x36\x04\x0a\x4d\x00\x35"), 7) == "10.77.0.53"
    assert network.offer(reply(), 8) is None
    assert network.offer(reply(kind=5), 7) is None
    assert network.offer(network.discover(MAC, 7), 7) is None


@given(st.one_of(st.binary(max_size=400), st.tuples(st.integers(0, 280), st.binary(max_size=40))))
@example((242, b"\xff" * 40))
@example((0, b"\x4f"))
def test_no_packet_is_too_odd(odd: bytes | tuple[int, bytes]) -> None:
    packet = reply()
    if isinstance(odd, tuple):
        place, what = odd
        packet = packet[:place] + what + packet[place + len(what) :]
    else:
        packet = odd
    for cut in (packet, packet[: len(packet) // 2]):
        found = network.offer(cut, 7)
        assert found is None or IPv4Address(found)


# --- who listens ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "kind", "protocol", "bound", "asked"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, "tcp", "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET, socket.SOCK_STREAM, "tcp", "0.0.0.0", "127.0.0.1"),
        (socket.AF_INET6, socket.SOCK_STREAM, "tcp", "::", "127.0.0.1"),
        (socket.AF_INET6, socket.SOCK_STREAM, "tcp", "::1", "::1"),
        (socket.AF_INET, socket.SOCK_DGRAM, "udp", "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, socket.SOCK_DGRAM, "udp", "::", ""),
    ],
)
def test_who_listens(family: int, kind: int, protocol: network.Protocol, bound: str, asked: str) -> None:
    with closing(socket.socket(family, kind)) as door:
        door.bind((bound, 0))
        port = door.getsockname()[1]
        if kind == socket.SOCK_STREAM:
            assert not network.listening(protocol, port, asked)
            door.listen()
        assert network.listening(protocol, port, asked)
        assert network.listening(protocol, port)
        assert not network.listening("udp" if protocol == "tcp" else "tcp", port, asked)
    assert not network.listening(protocol, port, asked)


def test_an_address_of_its_own_is_not_another() -> None:
    with closing(socket.socket()) as door:
        door.bind(("127.0.0.2", 0))
        door.listen()
        port = door.getsockname()[1]
        assert network.listening("tcp", port, "127.0.0.2")
        assert not network.listening("tcp", port, "127.0.0.1")


def test_a_connection_does_not_listen() -> None:
    with closing(socket.socket()) as door:
        door.bind(("127.0.0.1", 0))
        door.listen()
        with closing(socket.create_connection(door.getsockname())) as caller:
            assert not network.listening("tcp", caller.getsockname()[1])
