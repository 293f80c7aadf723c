"""Who asked, by dnsmasq's own words: logs/*.log come from a real dnsmasq, and machines in QEMU that asked it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitstate.boot.request import BootRequest, asked
from gitstate.core.names import ip_address, mac_address

LOGS: Final = Path(__file__).parent / "logs"
MAC: Final = "52:54:00:12:34:56"
STAMP: Final = "Nov 21 04:33:27"
TFTP: Final = f"{STAMP} dnsmasq-tftp[20]: file /srv/gitstate/tftp/boot/mac/52-54-00-12-34-56.ipxe not found for"


def words(name: str) -> list[str]:
    return (LOGS / f"{name}.log").read_text().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("name", "expected", "firmware"),
    [
        (
            "own-bios-unknown",
            BootRequest(MAC, "Nov 21 04:33:02", "10.77.0.157", "PXEClient:Arch:00000:UNDI:002001"),
            "BIOS",
        ),
        (
            "own-uefi-known",
            BootRequest(MAC, "Nov 21 04:32:21", "10.77.0.5", "PXEClient:Arch:00007:UNDI:003010"),
            "UEFI",
        ),
        ("proxy-bios-unknown", BootRequest(MAC, STAMP, "10.77.0.157", "PXEClient:Arch:00000:UNDI:002001"), "BIOS"),
        ("proxy-uefi-known", BootRequest(MAC, "Nov 21 04:33:41", None, "PXEClient:Arch:00007:UNDI:003010"), "UEFI"),
    ],
)
def test_real_logs(name: str, expected: BootRequest, firmware: str) -> None:
    assert asked(words(name)) == [expected]
    assert asked(line.rstrip("\n") for line in words(name)) == [expected]
    assert expected.firmware == firmware


def test_a_machine_that_only_wants_an_address_is_left_out() -> None:
    log = words("own-bios-unknown")
    assert any("DHCPACK(br0) 10.77.0.100 02:00:00:00:00:77" in line for line in log)
    assert "02:00:00:00:00:77" not in {one.mac for one in asked(log)}


def test_who_asked_last_stands_last() -> None:
    first, second = words("own-uefi-known"), words("proxy-bios-unknown")
    other = [
        line.replace(MAC, "52:54:00:00:00:99").replace("52-54-00-12-34-56", "52-54-00-00-00-99") for line in second
    ]
    assert [one.mac for one in asked(first + other)] == [MAC, "52:54:00:00:00:99"]
    (last,) = [one for one in asked(first + other + second) if one.mac == MAC]
    assert asked(first + other + second)[-1] == last
    assert (last.when, last.ip) == (STAMP, "10.77.0.157")


def test_what_is_known_stays_known() -> None:
    """A script that iPXE asks for tells the address; what the firmware is stood in an earlier line."""
    log = [line for line in words("proxy-uefi-known") if "tftp" not in line]
    assert asked(log)[0].ip is None
    (found,) = asked([*log, f"{TFTP} 10.77.0.9"])
    assert found == BootRequest(MAC, STAMP, "10.77.0.9", "PXEClient:Arch:00007:UNDI:003010")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Nov 21 04:33:27 dnsmasq-dhcp[20]: 1 PXE(br0) 52:54:00:12:34:56 proxy",  # that said not what it is
        f"{TFTP} 10.77.0.9 and more",
        f"{TFTP} 10.77.0.9\nNov 21",
        f"{TFTP.replace('/boot/mac/', '/boot/mac/a ')} 10.77.0.9",
        f"{TFTP.replace('12-34-56', '12-34-5g')} 10.77.0.9",
        f"{TFTP.replace('dnsmasq-tftp', 'evil')} 10.77.0.9",
        f"x{TFTP} 10.77.0.9",
        f"{TFTP} 10.77.0.999",
        f"{TFTP.replace('52-54', '53-54')} 10.77.0.9",
        f"{TFTP.replace('52-54-00-12-34-56', '00-00-00-00-00-00')} 10.77.0.9",
    ],
)
def test_what_is_no_question(line: str) -> None:
    assert asked([line]) == []


@pytest.mark.parametrize(("vendor", "kept"), [("PXEClient" + "x" * 60, True), ("PXEClient" + "x" * 61, False)])
def test_what_firmware_says_of_itself_is_bounded(vendor: str, kept: bool) -> None:
    log = [f"{STAMP} dnsmasq-dhcp[1]: 7 vendor class: {vendor}", f"{STAMP} dnsmasq-dhcp[1]: 7 PXE(br0) {MAC} proxy"]
    assert [one.vendor for one in asked(log)] == [vendor] * kept


REAL: Final = [line for path in sorted(LOGS.glob("*.log")) for line in path.read_text().splitlines()]


@given(st.lists(st.one_of(st.sampled_from(REAL), st.text(max_size=80), st.tuples(st.sampled_from(REAL), st.text()))))
@example(
    [f"{STAMP} dnsmasq-dhcp[1]: 7 vendor class: PXEClient\x1b[2J", f"{STAMP} dnsmasq-dhcp[1]: 7 PXE(b) {MAC} proxy"]
)
def test_whatever_stands_in_a_log(lines: list[str | tuple[str, str]]) -> None:
    for one in asked("".join(line) for line in lines):
        assert mac_address(one.mac) == one.mac
        assert one.ip is None or ip_address(one.ip) == one.ip
        assert (one.vendor or "").isprintable()
        assert one.when.isprintable()


def test_a_long_log_takes_no_time() -> None:
    log = words("own-uefi-known") * 500
    start = time.process_time()
    assert len(asked(log)) == 1
    assert len(log) == 80_000
    assert time.process_time() - start < 2
