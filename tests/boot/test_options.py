"""``[boot]`` of site.toml: good and bad tables, what the machine's addresses add, and the schema that says the same."""

from __future__ import annotations

import json
import re
import tomllib
from functools import cache
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gitstate.boot import options as boot_options
from gitstate.boot.options import Dhcp, Lookup, Nfs, Options, options_of
from gitstate.core import documents, network
from gitstate.core.errors import ConfigError, NotFoundError
from gitstate.core.network import Address
from gitstate.store.site import Site
from tests.boot.harness import MINIMAL, OWN, UUID
from tests.support import PROJECT

ETH1: Final = [ip_interface("fe80::1/64"), ip_interface("10.77.0.1/24"), ip_interface("192.168.5.9/16")]


def eth1(interface: str) -> list[Address]:
    if interface != "eth1":
        raise NotFoundError(f"there is no network interface {interface!r}", "there are: eth1")
    return ETH1


def parse(table: object, where: str, lookup: Lookup = network.addresses) -> Options:
    return options_of(documents.Source(where, {"boot": table}), lookup)


@cache
def schema() -> jsonschema.Draft202012Validator:
    text = (PROJECT / "schemas" / "site.schema.json").read_text("utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(text))
    return jsonschema.Draft202012Validator(json.loads(text))


def fits_schema(table: object) -> bool:
    return schema().is_valid({"version": 1, "uuid": UUID, "boot": table})


# --- good and bad -----------------------------------------------------------------------------------------------------

GOOD: Final[list[dict[str, Any]]] = [
    {"interface": "eth1"},
    {"interface": "eth0.10", "dhcp": "none"},
    {"interface": "br-lan_1", **OWN},
    {**MINIMAL, "http": False, "http_port": 8080},
    {**MINIMAL, "nfs": "ganesha", "nfs_version": "4.2"},
    {**MINIMAL, "arguments": " console=ttyS0,115200n8  ip=[fd77::1]:dhcp mitigations=off "},
    {**MINIMAL, "overlay_size": "2g", "etc": "/srv/etc", "group": "tftp"},
    {**MINIMAL, "overlay_size": "100%"},
    {**MINIMAL, "network": "10.0.0.0/8"},
]
BAD: Final[list[tuple[dict[str, Any], str]]] = [
    ({}, "boot.interface"),
    ({"interface": ""}, "boot.interface"),
    ({"interface": "a/b"}, "boot.interface"),
    ({"interface": "-x"}, "boot.interface"),
    ({"interface": "eth1\n"}, "boot.interface"),
    ({"interface": "a" * 16}, "boot.interface"),
    ({"interface": 1}, "boot.interface"),
    ({"interface": "eth1", "server": "10.77.0"}, "boot.server"),
    ({"interface": "eth1", "server": "10.77.0.256"}, "boot.server"),
    ({"interface": "eth1", "server": "10.77.0.01"}, "boot.server"),
    ({"interface": "eth1", "server": "fd77::1"}, "boot.server"),
    ({"interface": "eth1", "server": "10.77.0.1/24"}, "boot.server"),
    ({"interface": "eth1", "network": "10.77.0.0"}, "boot.network"),
    ({"interface": "eth1", "network": "0.0.0.0/0"}, "boot.network"),
    ({"interface": "eth1", "network": "10.77.0.0/33"}, "boot.network"),
    ({"interface": "eth1", "dhcp": "maybe"}, "boot.dhcp"),
    ({"interface": "eth1", "dhcp": "own"}, "boot.range"),
    ({"interface": "eth1", "dhcp": "own", "range": ["10.77.0.1"]}, "boot.range"),
    ({"interface": "eth1", "dhcp": "own", "range": "10.77.0.1"}, "boot.range"),
    ({"interface": "eth1", "dhcp": "own", "range": ["10.77.0.1", "x"]}, "boot.range"),
    ({"interface": "eth1", "range": ["10.77.0.1", "10.77.0.2"]}, "boot.range"),
    ({"interface": "eth1", "http": "yes"}, "boot.http"),
    ({"interface": "eth1", "http_port": 0}, "boot.http_port"),
    ({"interface": "eth1", "http_port": 65536}, "boot.http_port"),
    ({"interface": "eth1", "http_port": True}, "boot.http_port"),
    ({"interface": "eth1", "http_port": "80"}, "boot.http_port"),
    ({"interface": "eth1", "nfs": "samba"}, "boot.nfs"),
    ({"interface": "eth1", "nfs_version": 3}, "boot.nfs_version"),
    ({"interface": "eth1", "nfs_version": "4"}, "boot.nfs_version"),
    ({"interface": "eth1", "arguments": ["quiet"]}, "boot.arguments"),
    ({"interface": "eth1", "arguments": "a\tb"}, "boot.arguments"),
    ({"interface": "eth1", "arguments": "a || b"}, "boot.arguments"),
    ({"interface": "eth1", "arguments": "a=${net0/mac}"}, "boot.arguments"),
    ({"interface": "eth1", "arguments": 'a="b c"'}, "boot.arguments"),
    ({"interface": "eth1", "arguments": "# a"}, "boot.arguments"),
    ({"interface": "eth1", "arguments": "a " * 501}, "boot.arguments"),
    ({"interface": "eth1", "overlay_size": "101%"}, "boot.overlay_size"),
    ({"interface": "eth1", "overlay_size": "0"}, "boot.overlay_size"),
    ({"interface": "eth1", "overlay_size": "2g,mode=777"}, "boot.overlay_size"),
    ({"interface": "eth1", "etc": "etc"}, "boot.etc"),
    ({"interface": "eth1", "etc": "/"}, "boot.etc"),
    ({"interface": "eth1", "etc": "/etc/../root"}, "boot.etc"),
    ({"interface": "eth1", "etc": "/e tc"}, "boot.etc"),
    ({"interface": "eth1", "group": "a b"}, "boot.group"),
    ({"interface": "eth1", "group": "0"}, "boot.group"),
    ({"interface": "eth1", "servr": "10.77.0.1"}, "boot.servr"),
    ({"interface": "eth1", "a\nb": 1}, "boot.a\\nb"),
]
# What only the parser sees, or only together with the machine's own addresses.
BAD_TOGETHER: Final[list[tuple[dict[str, Any], str]]] = [
    ({"interface": "eth9"}, "boot.interface"),
    ({"interface": "eth1", "network": "10.77.0.1/24"}, "boot.network"),
    ({"interface": "eth1", "server": "10.77.0.2"}, "boot.server"),
    ({"interface": "eth1", "network": "10.78.0.0/24"}, "boot.network"),
    ({**MINIMAL, "server": "10.78.0.1"}, "boot.server"),
    ({**MINIMAL, "dhcp": "own", "range": ["10.77.0.9", "10.77.0.8"]}, "boot.range"),
    ({**MINIMAL, "dhcp": "own", "range": ["10.77.0.9", "10.77.1.8"]}, "boot.range"),
]


@pytest.mark.parametrize("table", GOOD)
def test_good_tables(table: dict[str, Any]) -> None:
    assert isinstance(parse(table, "site.toml", eth1 if table["interface"] == "eth1" else lambda _: ETH1), Options)
    assert fits_schema(table)


@pytest.mark.parametrize(("table", "key"), BAD)
def test_bad_tables(table: dict[str, Any], key: str) -> None:
    check_fault(table, key)
    assert not fits_schema(table)


@pytest.mark.parametrize(("table", "key"), BAD_TOGETHER)
def test_what_does_not_fit_together(table: dict[str, Any], key: str) -> None:
    check_fault(table, key)


def check_fault(table: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(table, "/srv/gitstate/site.toml", eth1)
    fault = caught.value
    assert re.match(rf"/srv/gitstate/site\.toml: {re.escape(key)}(?![\w.])", fault.message), fault.message
    value = table.get(key.partition(".")[2].partition("[")[0])
    is_known = key.partition(".")[2] in Options.__struct_fields__
    assert not is_known or not isinstance(value, str | int) or ascii(value)[1:50].rstrip("'") in fault.message
    assert fault.hint
    assert str(fault).isprintable()
    assert len(str(fault)) < 300


@pytest.mark.parametrize("table", [None, [], "eth1", True])
def test_no_table(table: object) -> None:
    with pytest.raises(ConfigError, match=r"site\.toml: boot\b"):
        parse(table, "site.toml")
    assert not fits_schema(table)


# --- what it becomes --------------------------------------------------------------------------------------------------


def test_all_that_can_be_left_out() -> None:
    found = parse({"interface": "eth1"}, "site.toml", eth1)
    assert found == Options(interface="eth1", server="10.77.0.1", network="10.77.0.0/24")
    assert (found.dhcp, found.nfs, found.http, found.http_port) == (Dhcp.PROXY, Nfs.KERNEL, True, 80)
    assert found.etc_path == Path("/etc")


def test_the_address_and_the_network_find_each_other() -> None:
    assert parse({"interface": "eth1", "server": "192.168.5.9"}, "", eth1).network == "192.168.0.0/16"
    assert parse({"interface": "eth1", "network": "192.168.0.0/16"}, "", eth1).server == "192.168.5.9"
    assert parse({"interface": "eth1", "network": "10.0.0.0/8"}, "", eth1).server == "10.77.0.1"


def test_an_interface_without_an_address() -> None:
    with pytest.raises(ConfigError, match="eth1 has no IPv4 address"):
        parse({"interface": "eth1"}, "site.toml", lambda _: ETH1[:1])


def test_the_machine_is_not_asked_for_what_is_told() -> None:
    def never(interface: str) -> list[Address]:
        raise AssertionError(interface)

    assert parse(MINIMAL, "site.toml", never).server == "10.77.0.1"


def test_arguments_are_words() -> None:
    assert parse({**MINIMAL, "arguments": " quiet  console=ttyS0 "}, "").words == ("quiet", "console=ttyS0")


def test_a_site_that_boots_nothing(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "site")
    with pytest.raises(ConfigError, match="no table") as caught:
        boot_options.load(site)
    assert str(site.file) in caught.value.message


def test_what_init_writes(tmp_path: Path) -> None:
    site = Site.create(tmp_path / "site", "lo")
    assert boot_options.load(site) == Options(interface="lo", server="127.0.0.1", network="127.0.0.0/8")
    assert schema().is_valid(tomllib.loads(site.file.read_text()))
    assert schema().is_valid(tomllib.loads(Site.create(tmp_path / "other").file.read_text()))


# --- the schema -------------------------------------------------------------------------------------------------------

TEXTS: Final = st.text(alphabet=st.sampled_from("aZ09._-+@~/ %:,=[]{}$|\n\0é"), max_size=8)
NUMBERS: Final = st.one_of(st.integers(-1, 3), st.integers(0, 70_000), st.booleans())
ADDRESSES: Final = st.one_of(
    st.sampled_from(["10.77.0.1", "256.0.0.1", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4.", "\u0661.2.3.4"]),
    st.lists(st.integers(0, 260).map(str), min_size=3, max_size=5).map(".".join),
)
SIZES: Final = st.one_of(st.sampled_from(["50%", "100%", "101%", "2g", "0", "08", "1T", "5 %"]), TEXTS)
ODD: Final = st.one_of(TEXTS, NUMBERS, st.none(), st.lists(TEXTS, max_size=2))


def or_odd(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(good, good, good, ODD)


TABLES: Final = st.fixed_dictionaries(
    {},
    optional={
        "interface": st.one_of(st.just("eth1"), st.just("eth1"), ODD),
        "server": or_odd(ADDRESSES),
        "dhcp": or_odd(st.sampled_from(["proxy", "own", "none"])),
        "range": or_odd(st.lists(ADDRESSES, min_size=1, max_size=3)),
        "http": or_odd(st.booleans()),
        "http_port": or_odd(NUMBERS),
        "nfs": or_odd(st.sampled_from(["kernel", "ganesha"])),
        "nfs_version": or_odd(st.sampled_from(["3", "4.2"])),
        "arguments": or_odd(TEXTS),
        "overlay_size": or_odd(SIZES),
        "etc": or_odd(TEXTS.map(lambda text: f"/{text}")),
        "group": or_odd(TEXTS),
        "other": ODD,
    },
)


def parses(table: Any) -> bool:
    try:
        documents.parse(Options, documents.Source("", table))
    except ConfigError:
        return False
    return True


@given(TABLES)
def test_schema_and_parser_agree_on_tables(table: dict[str, Any]) -> None:
    assert parses(table) == fits_schema(table)


KEYS: Final = {
    "server": ADDRESSES,
    "arguments": TEXTS,
    "overlay_size": SIZES,
    "etc": TEXTS.map(lambda text: f"/{text}"),
    "group": TEXTS,
}


@pytest.mark.parametrize("key", KEYS)
def test_schema_and_parser_agree_on_each_key(key: str) -> None:
    @given(KEYS[key])
    @example("a\n")
    @example("/..")
    @example("/a/./b")
    @example("/" + "a" * 100)
    @example("/" + "a" * 101)
    @example("/a" * 40)
    @example("/a" * 41)
    @example("a" * 31)
    @example("a" * 32)
    @example("100%\n")
    def agree(text: str) -> None:
        table = {"interface": "eth1", key: text}
        assert fits_schema(table) == parses(table)

    agree()


@given(st.one_of(ADDRESSES, TEXTS), st.one_of(st.integers(-1, 34).map(str), TEXTS))
@example("10.77.0.0", "24")
def test_a_network_that_parses_fits_the_schema(address: str, bits: str) -> None:
    network = f"{address}/{bits}"
    if parses({"interface": "eth1", "network": network}):
        assert fits_schema({"interface": "eth1", "network": network})
        assert str(ip_network(network)) == network
    elif fits_schema({"interface": "eth1", "network": network}):
        ip_interface(network)  # all that the schema can't see is bits behind the mask


def test_every_key_is_in_the_schema() -> None:
    known = schema().schema["properties"]["boot"]["properties"]  # type: ignore[index]
    assert set(known) == set(Options.__struct_fields__)
