"""Lists of machines as DHCP servers and spreadsheets write them, and as nobody should; and what becomes of them."""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.names import Pin
from gitstate.directory import Client, Kind, plan
from gitstate.directory.importing.hosts import HostList
from gitstate.directory.importing.lists import ListFormat, decode, detect_format, read
from gitstate.directory.importing.plan import ImportOptions, ListImport, plan_import, plan_new
from gitstate.directory.model.clients import normalized
from gitstate.store import MAIN, Commit, Repository, Type, object_id, write_objects
from gitstate.store.site import Site
from tests.directory.harness import ADA, Place, clients
from tests.support import computed, needs


def machines(listing: HostList) -> dict[str, tuple[str, ...]]:
    """Names and all addresses."""
    return {one.name: (*one.values.get("macs", ()), *one.values.get("ips", ())) for one in listing.rows}


def bad(listing: HostList) -> dict[int, str]:
    return {one.line: one.why for one in listing.bad}


def ignored(listing: HostList) -> dict[int, str]:
    return {one.line: one.why for one in listing.ignored}


def left_out(listing: HostList) -> dict[int, str]:
    return {one.line: one.why for one in listing.left_out}


# --- dnsmasq ----------------------------------------------------------------------------------------------------------

DNSMASQ_LEASES = """\
1741788131 52:54:00:12:34:56 10.77.0.12 lab3-12 01:52:54:00:12:34:56
0 52:54:00:12:34:57 10.77.0.13 Lab3-13 ff:00:11:22:33:00:01:00:01:2c:5a:e1:7f:52:54:00:12:34:57
1741788200 52:54:00:12:34:58 10.77.0.112 * 01:52:54:00:12:34:58
1741788300 06-52:54:00:12:34:59 10.77.0.113 token *
1741788301 01-52:54:00:12:34:60 10.77.0.114 typed *
1741788302 52:54:00:12:34:61 10.77.0.115 odd_name *
duid 00:01:00:01:2c:5a:e1:7f:52:54:00:00:00:01
1741788400 1193046 fd77::1c lab3-12 00:01:00:01:2c:5a:e1:80:52:54:00:12:34:56
"""


def test_leases_of_dnsmasq() -> None:
    found = read(DNSMASQ_LEASES)
    assert machines(found) == {
        "lab3-12": ("52:54:00:12:34:56", "10.77.0.12"),
        "lab3-13": ("52:54:00:12:34:57", "10.77.0.13"),
        "typed": ("52:54:00:12:34:60", "10.77.0.114"),
    }
    assert all(one.lease for one in found.rows)
    assert left_out(found) == {3: "no host name", 4: "no Ethernet address", 8: "no Ethernet address"}
    assert bad(found) == {6: "'odd_name' is not a host name"}


def test_lines_that_are_no_leases() -> None:
    text = (
        "1741788131 52:54:00:12:34:56 10.77.0.12 a *\nnonsense\n1 2\n1 zz 10.0.0.1 b *\n1 52:54:00:00:00:01 10.0.0 c *"
    )
    assert list(bad(read(text))) == [2, 3, 4, 5]


DNSMASQ_CONF = """\
# Configuration file for dnsmasq.
domain-needed
bogus-priv
interface=eth1
dhcp-range=10.77.0.100,10.77.0.200,12h
dhcp-host=52:54:00:12:34:56,lab3-12,10.77.0.12
dhcp-host=52:54:00:12:34:57,10.77.0.13,lab3-13,infinite
dhcp-host=52:54:00:12:34:58,set:lab,lab3-14.example.org,45m
dhcp-host=10:22:33:44:55:66,12:34:56:78:90:12,10.77.0.15,laptop
dhcp-host=52:54:00:12:34:59,id:*,v6,[fd77::16]
dhcp-host=1-52:54:0:12:34:5a,short
dhcp-host=06-00:20:e0:3b:13:af,10.77.0.17,token
dhcp-host=11:22:33:*:*:*,set:red
dhcp-host=11:22:33:44:55:68,ignore
dhcp-host=bert,10.77.0.70,infinite
dhcp-host=52:54:00:12:34:5b,10.77.0.18
dhcp-host=52:54:00:12:34:5c,one,two
dhcp-host=52:54:00:12:34:5d,10.77.0.999,wrong
"""


def test_hosts_of_dnsmasq() -> None:
    found = read(DNSMASQ_CONF)
    assert machines(found) == {
        "lab3-12": ("52:54:00:12:34:56", "10.77.0.12"),
        "lab3-13": ("52:54:00:12:34:57", "10.77.0.13"),
        "lab3-14": ("52:54:00:12:34:58",),
        "laptop": ("10:22:33:44:55:66", "12:34:56:78:90:12", "10.77.0.15"),
        "v6": ("52:54:00:12:34:59", "fd77::16"),
        "short": ("52:54:00:12:34:5a",),
    }
    assert not any(one.lease for one in found.rows)
    assert bad(found).keys() == {17, 18}
    assert left_out(found) == {
        12: "no Ethernet address",
        13: "no host name",
        14: "told to be ignored",
        15: "no Ethernet address",
        16: "no host name",
    }


def test_a_file_of_hosts_needs_no_word_in_front() -> None:
    found = read("# hosts\n52:54:00:12:34:56,lab3-12,10.77.0.12\n\n52:54:00:12:34:57,lab3-13\n")
    assert machines(found).keys() == {"lab3-12", "lab3-13"}


# --- ISC --------------------------------------------------------------------------------------------------------------

ISC_LEASES = r"""
# The format of this file is documented in the dhcpd.leases(5) manual page.
# This lease file was written by isc-dhcp-4.4.3-P1

# authoring-byte-order entry is generated, DO NOT DELETE
authoring-byte-order little-endian;

lease 10.77.0.112 {
  starts 3 2025/03/12 13:02:11;
  ends 3 2025/03/12 14:02:11;
  cltt 3 2025/03/12 13:02:11;
  binding state active;
  next binding state free;
  rewind binding state free;
  hardware ethernet 52:54:00:12:34:56;
  uid "\001RT\000\0224V";
  set vendor-class-identifier = "PXEClient:Arch:00007:UNDI:003016";
  client-hostname "lab3-12";
}
lease 10.77.0.113 {
  starts 3 2025/03/12 13:02:11;
  ends never;
  binding state active;
  hardware ethernet 52:54:0:12:34:57;
  client-hostname "old-name";
  on expiry { set ClientName = "x;}"; log(info, "gone {"); }
}
server-duid "\000\001\000\001,Z\341\177RT\000\000\000\001";

lease 10.77.0.114 { binding state free; hardware ethernet 52:54:00:12:34:58; client-hostname "gone"; }
lease 10.77.0.115 { binding state active; hardware ethernet 52:54:00:12:34:59; }
lease 10.77.0.113 {
  binding state active;
  hardware ethernet 52:54:00:12:34:57;
  client-hostname "lab3-13.example.org";
}
lease 10.77.0.116 { binding state active; hardware token-ring 52:54:00:12:34:60; client-hostname "token"; }
lease 10.77.0.117 { binding state active; hardware ethernet 52:54:00:12:34:61; client-hostname "Ann's PC"; }
host later { dynamic; hardware ethernet 52:54:00:12:34:70; fixed-address 10.77.0.70; }
host later { dynamic; deleted; }
host kept { dynamic; hardware ethernet 52:54:00:12:34:71; fixed-address 10.77.0.71; }
"""


def test_leases_of_isc() -> None:
    found = read(ISC_LEASES)
    assert machines(found) == {
        "lab3-12": ("52:54:00:12:34:56", "10.77.0.112"),
        "lab3-13": ("52:54:00:12:34:57", "10.77.0.113"),
        "kept": ("52:54:00:12:34:71", "10.77.0.71"),
    }
    assert {one.name: one.lease for one in found.rows} == {"lab3-12": True, "lab3-13": True, "kept": False}
    assert {one.name: one.line for one in found.rows}["lab3-13"] == 32
    assert left_out(found) == {30: "lease not active", 31: "no host name", 37: "no Ethernet address"}
    assert bad(found) == {38: '"Ann\'s PC" is not a host name'}


ISC_CONF = """
option domain-name "example.org"; ddns-update-style none;
include "/etc/dhcp/keys.conf";
class "pxe" { match if substring(option vendor-class-identifier, 0, 9) = "PXEClient"; }
subnet 10.77.0.0 netmask 255.255.255.0 {
  range 10.77.0.100 10.77.0.200;
  group {
    use-host-decl-names on;
    host lab3-12 { hardware ethernet 52:54:00:12:34:56; fixed-address 10.77.0.12; }
    host lab3-13
    {
      hardware ethernet
        52:54:00:12:34:57; # a comment with } in it
      fixed-address 10.77.0.13, 10.77.1.13;
    }
  }
  if exists agent.circuit-id { log(info, "x"); } else { log(info, "y"); }
}
host lab3-14-eth0 { hardware ethernet 52:54:00:12:34:58; option host-name "lab3-14"; }
host lab3-14-eth1 { hardware ethernet 52:54:00:12:34:59; option host-name "lab3-14"; fixed-address names.example.org; }
host infiniband { option dhcp-client-identifier = ff:00; }
host broken { hardware ethernet 52:54:00:12:34; }
"""


def test_hosts_of_isc() -> None:
    found = read(ISC_CONF)
    assert machines(found) == {
        "lab3-12": ("52:54:00:12:34:56", "10.77.0.12"),
        "lab3-13": ("52:54:00:12:34:57", "10.77.0.13", "10.77.1.13"),
        "lab3-14": ("52:54:00:12:34:59",),
    }
    assert [one.name for one in found.rows] == ["lab3-12", "lab3-13", "lab3-14", "lab3-14"]
    assert left_out(found) == {3: "'include /etc/dhcp/keys.conf' is not read", 21: "no Ethernet address"}
    assert bad(found) == {22: "'52:54:00:12:34' is not a MAC address"}


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("host a {\n hardware ethernet 52:54:00:12:34:56;\n", 1, "unmatched {"),
        ("host a { }\n}\n", 2, "unmatched }"),
        ("host a {\n hardware ethernet 52:54:00:12:34:56\n}\n", 3, "missing ; before }"),
        ('host a { }\noption x "never\nclosed;\n', 2, "unmatched"),
        ("host a { }\n\nword\n", 3, "is not ended"),
        ("host a {" * 200, 1, "100 deep"),
    ],
)
def test_what_isc_would_not_read(text: str, line: int, why: str) -> None:
    found = read(text, ListFormat.ISC)
    assert why in bad(found)[line]


# --- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "name,mac,ip,kind\nlab3-12,52:54:00:12:34:56,10.77.0.12,live\n",
        "\ufeffname;mac;ip;kind\r\nlab3-12;52-54-00-12-34-56;10.77.0.12;live\r\n",
        "IP\tMAC\tHostname\tKind\n10.77.0.12\t525400123456\tLAB3-12.example.org.\tLIVE",
        '# machines\n\n"host" , "mac",ip, kind, \n\n# one\nlab3-12, "52:54:00:12:34:56",10.77.0.12,live,\n',
    ],
)
def test_csv(text: str) -> None:
    (row,) = read(text).rows
    assert row.name == "lab3-12"
    assert row.values == {"macs": ("52:54:00:12:34:56",), "ips": ("10.77.0.12",), "kind": Kind.LIVE}


@pytest.mark.parametrize(
    "text",
    [
        'sep=;\nRechnername;Raum;"MAC-Adresse";IP-Adresse;Bemerkung\nlab3-12;;001a.2b3c.4d02;10.77.0.12;"neu; 2024"\n',
        '"sep=|"\r\n"Computer Name"|"a, b"|"Ethernet (LAN)"|"IPv4"|""\r\nLAB3-12|"A7, 2"|001A2B-3C4D02|10.77.0.12\r\n',
        "Gerätename\tPhysische Adresse\tAdresse\tInventar\tRaum\nlab3-12\t00-1A-2B-3C-4D-02\t10.77.0.12\t4711\t\n",
        "Geraet,MAC 1,MAC_2,ipv6,IPv4-Adresse,Besitzerin\nlab3-12,001a2b3c4d02,001a-2b3c-4d02,,10.77.0.12,Ada\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252"])
def test_csv_as_spreadsheets_write_it(text: str, encoding: str) -> None:
    data = text.encode(encoding)
    found = read(decode(codecs.BOM_UTF16_BE + data if encoding == "utf-16-be" else data))
    (row,) = found.rows
    assert row.name == "lab3-12"
    assert {key: set(value) for key, value in row.values.items()} == {
        "macs": {"00:1a:2b:3c:4d:02"},
        "ips": {"10.77.0.12"},
    }
    assert bad(found) == {}


def test_columns_that_clients_have_no_place_for_are_named_all_at_once() -> None:
    found = read("Raum;Name;Inventarnr.;Kanal\nA7;lab3-12;4711;lab3\n")
    assert [row.values for row in found.rows] == [{"channel": "lab3"}]
    assert ignored(found) == {1: "clients have no 'Raum', 'Inventarnr.'"}


def test_ethers() -> None:
    found = read("# /etc/ethers\n52:54:0:12:34:56\tlab3-12.example.org # printer\n52:54:00:12:34:57 10.77.0.13\nx\n")
    assert machines(found) == {"lab3-12": ("52:54:00:12:34:56",)}
    assert left_out(found) == {3: "no host name"}
    assert bad(found) == {4: "'x' is not a line of ethers: MAC NAME"}


def test_addresses_that_are_none_are_told() -> None:
    found = read(
        "dhcp-host=52:54:00:12:34:56,[::4],lab3-12,10.77.0.12\n"
        "dhcp-host=52:54:00:12:34:57,[fd77::10/126],lab3-13\n"
        "dhcp-host=52:54:00:12:34:58,11:22:33:*:*:*,lab3-14,[fd77::17]\n"
    )
    assert machines(found) == {
        "lab3-12": ("52:54:00:12:34:56", "10.77.0.12"),
        "lab3-13": ("52:54:00:12:34:57",),
        "lab3-14": ("52:54:00:12:34:58", "fd77::17"),
    }
    assert ignored(found) == {
        1: "'[::4]' is a suffix, which dnsmasq joins with the prefix of its network",
        2: "'[fd77::10/126]' stands for several addresses",
        3: "'11:22:33:*:*:*' is a pattern for several cards, or another type of network",
    }
    found = read(
        "host a { hardware ethernet 52:54:00:12:34:56;\n fixed-address a.example.org, 10.77.0.9;\n"
        " fixed-address6 fd77::9; }"
    )
    assert machines(found) == {"a": ("52:54:00:12:34:56", "10.77.0.9", "fd77::9")}
    assert ignored(found) == {2: "'a.example.org' is a name, of which dhcpd asks DNS the address"}


def test_all_columns_of_csv() -> None:
    head = "name,mac,ip,pin,channel,workload,layer,state"
    found = read(
        f'{head}\na,"52:54:00:00:00:01 52:54:00:00:00:02","10.0.0.1, fd77::1",desktop@v1,c,kiosk,lab/x;host/y,local\n'
    )
    (row,) = found.rows
    assert row.values == {
        "macs": ("52:54:00:00:00:01", "52:54:00:00:00:02"),
        "ips": ("10.0.0.1", "fd77::1"),
        "pin": Pin("desktop", "v1"),
        "channel": "c",
        "workload": "kiosk",
        "layers": ("lab/x", "host/y"),
        "state": "local",
    }


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("name,mac\na,nonsense\n", 2, "'nonsense' is not a MAC address"),
        ("name,mac\n\na\n,52:54:00:00:00:01\n", 4, "'' is not a host name"),
        ("name,mac\na,52:54:00:00:00:01,x\n", 2, "'x' has no column in the header"),
        ("name,mac,name\na,,\n", 1, "two columns are called name"),
        ("name,pin,PIN\na,,\n", 1, "two columns are called pin: 'pin', 'PIN'"),
        ("mac,ip\n52:54:00:00:00:01,10.0.0.1\n", 1, "no column is called name"),
        ('name,mac\n"a"x,\nb,\n', 2, "not CSV"),
        ('name,mac\nb,\n"a\n,\n', 3, "not CSV"),
        ("name\n=cmd|'/c calc'!A1\n", 2, "is not a host name"),
        ("name,pin\na,desktop@v1;reboot\n", 2, "is not a pinned snapshot"),
        ("name\na\0b\n", 2, ""),
    ],
)
def test_lines_of_csv_that_are_wrong(text: str, line: int, why: str) -> None:
    assert why in bad(read(text, ListFormat.CSV))[line]


# --- which of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (DNSMASQ_LEASES, ListFormat.LEASES),
        (DNSMASQ_CONF, ListFormat.DNSMASQ),
        ("52:54:00:12:34:56,lab3-12", ListFormat.DNSMASQ),
        (ISC_LEASES, ListFormat.ISC),
        (ISC_CONF, ListFormat.ISC),
        ("mac,host\n", ListFormat.CSV),
        ("host\nlab3-12\n", ListFormat.CSV),
        ("sep=;\nBezeichnung;MAC\n", ListFormat.CSV),
        ("52:54:00:12:34:56 lab3-12\n", ListFormat.ETHERS),
    ],
)
def test_a_list_is_known_by_its_looks(text: str, form: ListFormat) -> None:
    assert detect_format(text) is form


@pytest.mark.parametrize("text", ["hello", "<html>", "lab3-12,52:54:00:12:34:56", "{}", "\x7fELF\0\0"])
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(UsageError, match="format"):
        read(text)


@pytest.mark.parametrize("text", ["", "\n \n", "\ufeff"])
def test_an_empty_list_is_one(text: str) -> None:
    assert read(text) == HostList()


WORDS = """host lease { } ; , # " \\ = a lab3-12 10.0.0.1 52:54:00:12:34:56 hardware ethernet fixed-address * duid 1
dhcp-host= set:x [fd77::1] 12h ignore binding state active client-hostname name,mac name"""
PIECES = st.sampled_from([*WORDS.split(), "\n", "\0", "\r", "é"])


@given(
    st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=40), st.sampled_from([*ListFormat, None]), st.booleans()
)
def test_nothing_makes_a_reader_stumble(pieces: list[str], form: ListFormat | None, is_spaced: bool) -> None:
    text = (" " if is_spaced else "").join(pieces)
    try:
        found = read(text, form)
    except UsageError:
        assert form is None
        return
    lines = text.count("\n") + 1
    for row in found.rows:
        normalized(Client(row.name, **row.values))
        assert 1 <= row.line <= lines
    assert all(1 <= one.line <= lines and one.why for one in found.bad + found.left_out + found.ignored)


@pytest.mark.parametrize(
    "make",
    [
        lambda count: "{" * count,
        lambda count: "host a { x; } " * (count // 8),
        lambda count: "a " * count,
        lambda count: '"' * count,
        lambda count: "name\n" + '"' * count,
        lambda count: "name\n" + "a," * count,
        lambda count: "dhcp-host=" + "52:54:00:12:34:56," * (count // 10),
        lambda count: "1 " * count,
        lambda count: " " * count + "x",
        lambda count: "host" + " " * count,
        lambda count: ("host" + " " * 2000 + "\n") * (count // 2000),
        lambda count: "#" * count,
        lambda count: "host a { } \n" + "\\" * count,
    ],
)
@pytest.mark.parametrize("form", [*ListFormat, None])
def test_no_list_takes_long(make: Callable[[int], str], form: ListFormat | None) -> None:
    text = make(200_000)
    started = time.process_time()
    with suppress(UsageError):
        read(text, form)
    assert time.process_time() - started < 5


# --- plans ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def desktop(site: Site) -> Repository:
    """A prototype with one snapshot, which a tag ``v1`` names."""
    repository = Repository.create(site.repository_path("desktop"), hooked=False)
    tree = object_id(Type.TREE, b"")
    commit = Commit(tree, [], ADA, ADA, "one").encode()
    made = object_id(Type.COMMIT, commit)
    objects = {tree: (Type.TREE, b""), made: (Type.COMMIT, commit)}
    write_objects(repository, objects, [(MAIN, made, None), ("refs/tags/v1", made, None)], "x")
    return repository


def planned(place: Place, text: str, form: ListFormat = ListFormat.CSV, **options: object) -> ListImport:
    return plan_import(place.site, place.open(), read(text, form), ImportOptions(**options))  # type: ignore[arg-type]


def wrong(found: ListImport) -> list[str]:
    return [f"{one.line}: {one.why}" for one in found.bad]


pytestmark = needs("git")


@pytest.mark.usefixtures("desktop")
def test_a_list_becomes_clients(place: Place) -> None:
    defaults = {"pin": Pin("desktop", "v1"), "kind": Kind.LIVE}
    text = "name,mac,kind\na,52:54:00:00:00:01,\nb,52:54:00:00:00:02,thick\n"
    found = planned(place, text, defaults=defaults)
    assert (found.bad, found.left_out, found.differing, found.same) == ((), (), (), 0)
    assert found.message("x.csv").splitlines()[:3] == [
        "client import x.csv: 2 added",
        "",
        "a: MAC 52:54:00:00:00:01, kind diskless -> live, pin desktop@v1",
    ]
    plan.apply(found.plan, ADA, ADA, found.message("x.csv"))
    assert place.open().client("b") == Client("b", ("52:54:00:00:00:02",), kind=Kind.THICK, pin=Pin("desktop", "v1"))
    again = planned(place, text)
    assert (again.plan.changes, again.same, again.differing) == ((), 2, ())
    other = planned(place, text.replace("thick", "live"), defaults={"pin": Pin("desktop", "main")})
    assert [change.describe() for change in other.differing] == ["kind thick -> live"]
    assert other.plan.changes == ()
    forced = planned(place, text.replace("thick", "live"), update=True)
    assert [change.describe() for change in forced.plan.changes] == ["kind thick -> live"]
    assert forced.counts() == "1 changed"


def test_rows_of_one_name_are_one_machine_if_they_agree(place: Place) -> None:
    found = planned(place, "name,mac,kind\na,52:54:00:00:00:01,live\na,52:54:00:00:00:02,\nA,,live\na,,thick\n")
    assert wrong(found) == ["5: a has a different kind in line 2"]
    assert [change.new for change in found.plan.changes] == [
        Client("a", ("52:54:00:00:00:01", "52:54:00:00:00:02"), kind=Kind.LIVE)
    ]
    assert wrong(planned(place, "name\na.x.org\na.y.org\na.x.org\n")) == [
        "3: a.y.org and a.x.org (line 2) have the same short name"
    ]


def test_leases(place: Place) -> None:
    place.put(Client("known", ("52:54:00:00:00:01",)), Client("lab3-12", ("52:54:00:00:00:02", "52:54:00:00:00:09")))
    text = (
        "1 52:54:00:00:00:01 10.0.0.1 desktop-4711 *\n1 52:54:00:00:00:02 10.0.0.2 lab3-12 *\n"
        "1 52:54:00:00:00:03 10.0.0.3 phone *\n1 52:54:00:00:00:04 10.0.0.4 phone *\n"
        "1 52:54:00:00:00:03 10.0.0.5 phone *\n"
    )
    found = planned(place, text, ListFormat.LEASES)
    assert wrong(found) == ["4: two machines use the name phone, the other in line 3"]
    assert [(one.line, one.why) for one in found.left_out] == [(1, "address of another client")]
    assert [change.new for change in found.plan.changes] == [Client("phone", ("52:54:00:00:00:03",))]
    assert found.same == 1
    found = planned(place, text, ListFormat.LEASES, leased_ips=True, update=True)
    assert [change.describe() for change in found.plan.changes] == [
        "IP 10.0.0.2",
        "MAC 52:54:00:00:00:03, IP 10.0.0.3 10.0.0.5",
    ]


def test_addresses_that_others_have(place: Place) -> None:
    place.put(Client("old", ("52:54:00:00:00:01",), ("10.0.0.1",)))
    found = planned(
        place, "name,mac,ip\na,52:54:00:00:00:01,\nb,52:54:00:00:00:02,\nc,52:54:00:00:00:02,\nd,,10.0.0.1\n"
    )
    assert wrong(found) == [
        "2: 52:54:00:00:00:01 can't be assigned to a: old has it",
        "4: 52:54:00:00:00:02 can't be assigned to c: b has it (line 3)",
        "5: 10.0.0.1 can't be assigned to d: old has it",
    ]
    assert [change.name for change in found.plan.changes] == ["b"]


def test_two_machines_change_their_addresses(place: Place) -> None:
    place.put(Client("a", ("52:54:00:00:00:01",)), Client("b", ("52:54:00:00:00:02",)))
    found = planned(place, "name,mac\na,52:54:00:00:00:02\nb,52:54:00:00:00:01\n", update=True)
    assert not found.bad
    plan.apply(found.plan, ADA, ADA, "swapped")
    assert place.open().client("a").macs == ("52:54:00:00:00:02",)


@pytest.mark.usefixtures("desktop")
def test_what_does_not_exist_is_named(place: Place) -> None:
    text = "name,pin,channel\na,desktop@v1,\nb,desktop@v9,\nc,,none\nd,other@v1,\ne,desktop@v9,\n"
    assert wrong(planned(place, text)) == [
        "3: desktop has no revision 'v9'",
        "4: no channel none",
        "5: no prototype other",
        "6: desktop has no revision 'v9'",
    ]
    with pytest.raises(NotFoundError, match="no revision 'v9'"):
        planned(place, "name\na\n", defaults={"pin": Pin("desktop", "v9")})


@given(found=st.lists(clients(), max_size=5, unique_by=lambda one: one.name))
def test_what_is_written_as_csv_is_read_again(found: list[Client]) -> None:
    lines = ["name,mac,ip,kind,channel,pin,workload,layer,state"]
    for one in found:
        cells = (
            " ".join(one.macs),
            " ".join(one.ips),
            one.kind,
            one.channel or "",
            str(one.pin or ""),
            one.workload or "",
            " ".join(one.layers),
            one.state,
        )
        lines.append(",".join([one.name, *cells]))
    listing = read("\n".join(lines), ListFormat.CSV)
    assert not listing.bad
    assert [
        normalized(Client(row.name, classes=one.classes, **row.values))
        for row, one in zip(listing.rows, found, strict=True)
    ] == found


@pytest.mark.usefixtures("desktop")
def test_several_of_one_kind(place: Place) -> None:
    values = {"pin": Pin("desktop", "v1")}
    made = plan_new(place.site, place.open(), ["a", "b"], values)
    assert made.describe() == ["a: pin desktop@v1", "b: pin desktop@v1"]
    plan.apply(made, ADA, ADA)
    for names in (["b"], ["c", "b"]):
        with pytest.raises(UsageError, match="there is a client b already"):
            plan_new(place.site, place.open(), names, values)
    with pytest.raises(UsageError, match="an address belongs to one client"):
        plan_new(place.site, place.open(), ["c", "d"], {"macs": ("52:54:00:00:00:01",)})


@pytest.mark.slow
def test_ten_thousand_lines(place: Place) -> None:
    text = "name,mac,ip\n" + "".join(
        f"pc{number:05},52:54:00:{number >> 8:02x}:{number & 255:02x}:01,10.80.{number >> 8}.{number & 255}\n"
        for number in range(10_000)
    )
    started = computed()
    found = planned(place, text)
    assert not found.bad
    plan.apply(found.plan, ADA, ADA, found.message("x"))
    assert computed() - started < 15
    assert len(place.open().clients()) == 10_000
    assert planned(place, text).same == 10_000
