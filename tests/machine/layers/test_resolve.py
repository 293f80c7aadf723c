"""Which layers a machine gets, and in which order."""

from __future__ import annotations

from ipaddress import ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.errors import ConfigError, NotFoundError
from gitstate.machine.layers import ORDER, ExistingLayers, Machine, Missing, Options, name_problem, resolve, with_netmasks
from gitstate.core.names import layer_word

CLASSIC = Machine("lab3-14", (ip_interface("192.168.1.23/24"),))
ALL = (
    *("base", "network/192.168.1.255", "network/192.168.1.0_24", "network/192.168.0.0_16", "network/10.0.0.0_8"),
    *("class/nvidia", "class/xorg", "workload/kiosk", "workload/exam", "lab/lab3", "lab/lab4", "host/lab3-14"),
    *("host/lab3-15", "ip/192.168.1.23", "ip/fd00--17", "network/fd00--_64", "network/fd00--ffff-ffff-ffff-ffff"),
)


def layers(machine: Machine, *known: str, **options: object) -> tuple[str, ...]:
    return resolve(machine, ExistingLayers(known or ALL), Options(**options)).names  # type: ignore[arg-type]


def test_the_classic_case() -> None:
    """lab3-14 on 192.168.1.23/24."""
    known = ("base", "network/192.168.1.255", "lab/lab3", "host/lab3-14", "ip/192.168.1.23")
    assert layers(CLASSIC, *known, "lab/lab4", "host/lab3-15", "ip/192.168.1.24", "network/192.168.2.255") == known


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine("lab3-14"), ("base", "lab/lab3", "host/lab3-14")),
        (Machine("server"), ("base",)),
        (Machine("lab4-1-2"), ("base", "lab/lab4")),
        (Machine("lab3"), ("base",)),
        (Machine("x", (ip_interface("10.1.2.3/32"),)), ("base", "network/10.0.0.0_8")),
        (
            Machine("x", (ip_interface("192.168.1.9/24"),)),
            ("base", "network/192.168.0.0_16", "network/192.168.1.0_24", "network/192.168.1.255"),
        ),
        (Machine("x", (ip_interface("192.168.2.9/23"),)), ("base", "network/192.168.0.0_16")),
        (
            Machine("x", (ip_interface("fd00::17/64"),)),
            ("base", "network/fd00--_64", "network/fd00--ffff-ffff-ffff-ffff", "ip/fd00--17"),
        ),
        (
            Machine("x", (ip_interface("10.0.0.1/8"), ip_interface("fd00::1/64"))),
            ("base", "network/10.0.0.0_8", "network/fd00--_64", "network/fd00--ffff-ffff-ffff-ffff"),
        ),
        (
            Machine("lab3-14", (), ("nvidia", "xorg"), "kiosk", ("workload/exam", "lab/lab4")),
            *(("base", "class/nvidia", "class/xorg", "workload/kiosk", "workload/exam", "lab/lab3", "lab/lab4"),),
        ),
        (Machine("x", (), (), None, ("network/10.0.0.0/8", "network/10.0.0.0_8")), ("base", "network/10.0.0.0_8")),
    ],
)
def test_tables(machine: Machine, expected: tuple[str, ...]) -> None:
    found = layers(machine)
    assert tuple(name for name in found if name not in ("host/lab3-14",) or name in expected) == expected


def test_of_several_networks_the_widest_is_the_lowest() -> None:
    known = ("network/10.0.0.0_24", "network/10.0.0.0_8", "network/10.0.0.0_16")
    found = layers(Machine("x", (ip_interface("10.0.0.1/32"),)), *known)
    assert found == ("network/10.0.0.0_8", "network/10.0.0.0_16", "network/10.0.0.0_24")


def test_the_order_is_the_sites() -> None:
    assert layers(CLASSIC, order=tuple(reversed(ORDER)))[-1] == "base"
    assert layers(CLASSIC, order=("lab", *(kind for kind in ORDER if kind != "lab")))[0] == "lab/lab3"


def test_what_somebody_named_and_is_missing_is_told_of() -> None:
    machine = Machine("lab9-1", (), ("amd",), "desktop", ("lab/lab3", "host/other"))
    found = resolve(machine, ExistingLayers(ALL), Options())
    assert found.names == ("base", "lab/lab3")
    assert [one.name for one in found.missing] == ["class/amd", "workload/desktop", "host/other"]
    with pytest.raises(NotFoundError, match=r"lab9-1: there is no layer class/amd \(class amd\)"):
        resolve(machine, ExistingLayers(ALL), Options(missing=Missing.FAIL))
    resolve(Machine("lab9-1"), ExistingLayers(()), Options(missing=Missing.FAIL))


@pytest.mark.parametrize("name", ["localhost", ""])
def test_names_that_every_machine_has_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no machine's name"):
        resolve(Machine(name), ExistingLayers(ALL), Options())


@pytest.mark.parametrize(
    "name", ["network/", "network/x_y", "network/1.2.3.4_99", "network/1.2.3.4_8", "network/_", "network", "/_8"]
)
def test_odd_names_of_layers_are_no_networks(name: str) -> None:
    assert ExistingLayers([name]).networks == ()


def test_masks_are_those_of_the_narrowest_network() -> None:
    networks = [ip_network(text) for text in ("10.0.0.0/8", "10.1.0.0/16", "fd00::/64")]
    found = with_netmasks(["10.1.2.3", "10.2.0.1", "192.168.1.1", "fd00::5"], networks)
    assert [str(one) for one in found] == ["10.1.2.3/16", "10.2.0.1/8", "192.168.1.1/32", "fd00::5/64"]


@pytest.mark.parametrize(
    ("text", "word"), [("192.168.1.0/24", "192.168.1.0_24"), ("fd00::/64", "fd00--_64"), ("::1", "0--1")]
)
def test_words_of_layers(text: str, word: str) -> None:
    assert layer_word(text) == word


@given(st.ip_addresses(v=6).filter(lambda one: not one.is_unspecified), st.integers(1, 127))
def test_a_network_of_ipv6_holds_its_addresses(address: object, prefix: int) -> None:
    interface = ip_interface(f"{address}/{prefix}")
    name = f"network/{layer_word(str(interface.network))}"
    assert name in layers(Machine("x", (interface,)), name)


@given(st.permutations(ORDER), st.sets(st.sampled_from(ALL)))
def test_every_layer_is_taken_once_and_by_kind(order: list[str], known: set[str]) -> None:
    machine = Machine("lab3-14", CLASSIC.addresses, ("nvidia", "xorg"), "kiosk", ("lab/lab3", "class/xorg"))
    found = resolve(machine, ExistingLayers(known), Options(order=tuple(order))).names
    assert set(found) <= known
    assert len(set(found)) == len(found)
    places = [order.index(name.partition("/")[0]) for name in found]
    assert places == sorted(places)


@pytest.mark.parametrize("name", [*ALL, "lab/9", "host/a--b", "ip/0--1", "class/X", "workload/A_b"])
def test_names_by_which_machines_get_layers(name: str) -> None:
    assert name_problem(name) is None


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("host/Lab3-14", "a short host name in small letters"),
        ("host/lab3-14.example.org", "a short host name in small letters"),
        ("lab/lab3-14", "what host names have before the first -, in small letters"),
        ("ip/10.77.0.999", "an address as gitstate writes it, : of IPv6 written -"),
        ("ip/fd00-0-0-0-0-0-0-17", "an address as gitstate writes it, : of IPv6 written -"),
        ("network/foo", "a broadcast address, or CIDR with / written _, without host bits"),
        ("network/10.77.0.5_24", "a broadcast address, or CIDR with / written _, without host bits"),
    ],
)
def test_names_by_which_no_machine_gets_a_layer(name: str, wanted: str) -> None:
    assert name_problem(name) == wanted
