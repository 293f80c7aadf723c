"""The whole directory from one backend to another, and nothing lost."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from gitstate.core.errors import ConfigError, UsageError
from gitstate.core.names import Pin
from gitstate.directory import Channel, Client, HardwareClass, Kind, transfer
from gitstate.directory.check import check
from gitstate.directory.model import ldif
from gitstate.store.site import Site
from tests.directory.harness import ADA, Place, choose_ldap, files, machine, machines
from tests.directory.harness import clone as cloned
from tests.lab.ldap import SUFFIX, Server
from tests.support import needs

pytestmark = needs("git", "slapd")

LAB = Channel("lab3", "desktop", author="Ada <ada@example.org>", created=1_700_000_000, release="lab3/2")
NVIDIA = HardwareClass("nvidia", ("10de:*:03", "pci:v000010DEd*bc03*"), 10)
FULL = Client(
    "lab3-99",
    macs=("52:54:00:12:34:56", "52:54:00:12:34:57"),
    ips=("10.78.0.12", "fd77::12"),
    kind=Kind.CACHING,
    channel="lab3",
    pin=Pin("desktop", "v1"),
    workload="kiosk",
    classes=("hp", "nvidia"),
    layers=("host/other", "lab/lab4"),
    state="local",
)


def dumped(place: Place, base: str = transfer.BASE) -> str:
    return "\n".join(transfer.export_entries(place.open(), base))


def enter(place: Place, text: str, *, replace: bool = False) -> transfer.ImportPlan:
    content = transfer.parse(text.encode(), "all.ldif")
    planned = transfer.plan_import(place.open(), content, replace=replace)
    if planned.describe():
        transfer.apply(planned, ADA, ADA, "import")
    return planned


@pytest.fixture
def full(site: Site, tmp_path: Path) -> Place:
    """An embedded directory, with what nobody but people make anything of."""
    place = Place(site)
    place.open().change_channels([LAB], [], ADA, "lab3")
    place.open().change_classes([NVIDIA, HardwareClass("any", ("*:*",))], [], ADA, "classes")
    place.put(*machines(3), FULL)
    with cloned(place, tmp_path / "clone") as clone:
        (file,) = [path for path in files(clone) if path.stem == "lab3-01"]
        more = "description:: Z3LDtsOfZXI=\nserialNumber: A-1\nl: room 3\ncn: printer\nowner: cn=Ada,o=x\nbootFile: x\n"
        file.write_text(file.read_text() + more + "objectClass: bootableDevice\n")
    return place


@pytest.mark.parametrize("mode", ["schema", "map"])
def test_there_and_back(full: Place, slapd: Server, tmp_path: Path, mode: str) -> None:
    before = dumped(full)
    assert "A-1" in before
    ldap = Place(Site.create(tmp_path / "ldap"), f"ldap-{mode}")
    choose_ldap(ldap.site, slapd, mode)
    enter(ldap, before)
    assert dict(ldap.open().clients()) == dict(full.open().clients())
    assert dict(ldap.open().channels()) == dict(full.open().channels())
    assert list(ldap.open().classes().items()) == list(full.open().classes().items())
    assert enter(ldap, before).describe() == []
    reverse = Place(Site.create(tmp_path / "back"))
    enter(reverse, dumped(ldap))
    assert records(dumped(reverse)) == records(before)
    assert records(dumped(ldap)) == records(before)


def records(text: str) -> list[list[str]]:
    """Entries by their lines, whose order says nothing."""
    return sorted(sorted(record.splitlines()) for record in text.split("\n\n"))


def test_replace(full: Place) -> None:
    text = dumped(full)
    full.open().change([machine(7)], ["lab3-00"], ADA, "x")
    full.open().change_channels([replace(LAB, name="other")], [], ADA, "x")
    assert enter(full, text).describe() == [("add", "client", "lab3-00")]
    assert "lab3-07" in full.open().clients()
    planned = enter(full, text, replace=True)
    assert planned.describe() == [("remove", "channel", "other"), ("remove", "client", "lab3-07")]
    assert records(dumped(full)) == records(text)


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_may_end_as_on_windows(place: Place, mark: str, end: str) -> None:
    text = """version: 1

# a client
dn: cn=lab3-00,ou=clients,o=git
 state
objectClass: device
objectClass: gitstateClient
objectClass: ieee802Device
cn: lab3-00
description: with a fold
 ed line
macAddress:: NTI6NTQ6MDA6MDA6MDA6MDE="""
    content = transfer.parse((mark + text + end).replace("\n", "\r\n").encode(), "x.ldif")
    assert content.clients["lab3-00"][1]["description"] == [b"with a folded line"]
    assert content.clients["lab3-00"][0].macs == ("52:54:00:00:00:01",)
    one = "dn: cn=lab3-00,ou=clients,o=gitstate\r\nobjectClass: device\r\nobjectClass: gitstateClient\r\ncn: lab3-00\r"
    assert ldif.parse_client(one.encode(), "lab3-00", "x")[0].name == "lab3-00"


def test_what_others_print_is_read(full: Place, slapd: Server, tmp_path: Path) -> None:
    """ldapadd takes what we print; we take what ldapsearch prints."""
    ldap = Place(Site.create(tmp_path / "ldap"), "ldap-schema")
    choose_ldap(ldap.site, slapd)
    file = tmp_path / "all.ldif"
    file.write_text(dumped(full, SUFFIX))
    words = ["-x", "-H", slapd.ldapi, "-D", f"cn=admin,{SUFFIX}", "-w", "secret"]
    done = subprocess.run(["ldapadd", *words, "-f", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert dict(ldap.open().clients()) == dict(full.open().clients())
    printed = subprocess.run(
        ["ldapsearch", *words, "-b", SUFFIX, "(objectClass=*)"], capture_output=True, text=True, check=True
    ).stdout
    content = transfer.parse(printed.encode(), "printed")
    assert {name: pair[0] for name, pair in content.clients.items()} == dict(full.open().clients())
    assert dict(content.channels) == dict(full.open().channels())
    assert content.others >= 3


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("macAddress: 52:54:00:00:00:01", "macAddress: nonsense", "line LINE: macAddress"),
        ("gitstateKind: diskless", "gitstateKind: toaster", "line LINE: gitstateKind"),
        ("gitstateKind: diskless", "gitstateColour: red", "line LINE: there is no attribute gitstateColour"),
        ("dn: cn=lab3-01,", "dn: ou=lab3-01,", "the entry begins with dn: cn=NAME"),
        ("dn: cn=lab3-01,", "dn: cn=lab3-02,", "lab3-0"),
        ("dn: cn=lab3-01,", "dn: cn=a\\,b,", "the entry begins with dn: cn=NAME"),
        ("10.77.0.2", "10.77.0.1", "has it"),
        ("gitstateKind: diskless", "gitstateKind:< file:///etc/passwd", "URLs are never read"),
        ("gitstateRelease: lab3/2", "gitstateRelease: x", "line LINE: gitstateRelease"),
    ],
)
def test_nonsense(site: Site, old: str, new: str, words: str) -> None:
    place = Place(site)
    place.open().change_channels([LAB], [], ADA, "lab3")
    place.put(*machines(3))
    text = dumped(place)
    assert old in text
    line = next(number for number, one in enumerate(text.splitlines(), 1) if old in one)
    with pytest.raises((ConfigError, UsageError), match=words.replace("LINE", str(line))) as caught:
        enter(place, text.replace(old, new))
    assert caught.value.hint
    assert records(dumped(place)) == records(text)


@pytest.mark.slow
def test_ten_thousand(slapd: Server, tmp_path: Path) -> None:
    many = [
        replace(
            machine(number), channel=f"lab{number // 200}", classes=("hp", f"c{number % 7}"), name=f"pc-{number:05}"
        )
        for number in range(10_000)
    ]
    channels = [replace(LAB, name=f"lab{number}") for number in range(50)]
    places = [Place(Site.create(tmp_path / name)) for name in ("first", "ldap", "last")]
    choose_ldap(places[1].site, slapd)
    places[0].open().change_channels(channels, [], ADA, "channels")
    places[0].put(*many)
    for one, other in pairwise(places):
        enter(other, dumped(one))
    texts = [records(dumped(place)) for place in places]
    assert texts[0] == texts[1] == texts[2]
    assert len(texts[2]) == 10_053
    assert check(places[1].open()).problems == ()


def test_check(full: Place) -> None:
    report = check(full.open())
    assert (report.clients, report.channels, report.problems) == (4, 1, ())
    full.put(Client("x", channel="gone"))
    assert check(full.open()).problems == ("x: there is no channel gone",)


def test_check_finds_what_others_wrote(site: Site, slapd: Server) -> None:
    choose_ldap(site, slapd)
    place = Place(site)
    place.put(machine(1), machine(2))
    value = machine(1).macs[0].replace(":", "-").encode()
    slapd.connect().modify_s(f"cn=lab3-02,ou=clients,{SUFFIX}", [(0, "macAddress", [value])])
    (problem,) = check(place.open()).problems
    assert "lab3-01" in problem
    assert machine(1).macs[0] in problem
    slapd.connect().modify_s(f"cn=lab3-02,ou=clients,{SUFFIX}", [(2, "macAddress", [b"nonsense"])])
    with pytest.raises(ConfigError, match=f"cn=lab3-02,ou=clients,{SUFFIX}: macAddress"):
        check(place.open())
