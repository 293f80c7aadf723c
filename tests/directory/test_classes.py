"""Hardware classes, in every backend."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gitstate.core.errors import ConfigError, GitstateError, NotFoundError, UsageError
from gitstate.directory import Channel, HardwareClass, open_directory
from gitstate.directory.check import check
from gitstate.store.site import Site
from tests.directory.harness import ADA, Place, choose_ldap, complaints, machine
from tests.directory.harness import clone as cloned
from tests.lab.ldap import SUFFIX, Server
from tests.support import needs

pytestmark = needs("git")

NVIDIA = HardwareClass("nvidia", ("10de:*:03",), 10)
INTEL = HardwareClass("Intel", ("8086:*:03", "pci:v00008086d00000A16sv*"), 20)
ANY = HardwareClass("any", ("*:*",), 20)


def put(place: Place, *classes: HardwareClass, remove: tuple[str, ...] = ()) -> None:
    place.open().change_classes(classes, remove, ADA, "classes")


def test_what_is_put_is_read_in_its_order(place: Place) -> None:
    assert dict(place.open().classes()) == {}
    put(place, ANY, INTEL, NVIDIA)
    for _ in range(2):  # the second time from what was kept
        assert list(place.open().classes().values()) == [NVIDIA, INTEL, ANY]
    put(place, replace(NVIDIA, order=9999))
    put(place, replace(NVIDIA, order=9999))
    assert list(place.open().classes()) == ["Intel", "any", "nvidia"]
    put(place, replace(INTEL, patterns=("8086:0a16",)), remove=("any",))
    assert place.open().classes()["Intel"].patterns == ("8086:0a16",)
    put(place, remove=("Intel", "nvidia"))
    assert dict(place.open().classes()) == {}


def test_names(place: Place) -> None:
    put(place, NVIDIA)
    with pytest.raises(UsageError, match="there is a hardware class nvidia already"):
        put(place, replace(NVIDIA, name="NVIDIA"))
    with pytest.raises(NotFoundError, match="no hardware class nvida") as caught:
        put(place, INTEL, remove=("nvida",))
    assert "nvidia" in caught.value.hint
    assert list(place.open().classes()) == ["nvidia"]


@pytest.mark.parametrize(
    "bad",
    [
        replace(NVIDIA, name="a,ou=x"),
        replace(NVIDIA, name="../up"),
        replace(NVIDIA, patterns=()),
        replace(NVIDIA, patterns=("nvidia",)),
        replace(NVIDIA, patterns=("10DE:*",)),
        replace(NVIDIA, patterns=("8086:*", "10de:*")),
        replace(NVIDIA, patterns=("10de:*\nobjectClass: x",)),
        replace(NVIDIA, order=-1),
        replace(NVIDIA, order=10_000),
    ],
    ids=repr,
)
def test_what_cant_be(place: Place, bad: HardwareClass) -> None:
    with pytest.raises(GitstateError) as caught:
        put(place, INTEL, bad)
    assert caught.value.code == 2
    assert dict(place.open().classes()) == {}


def test_nothing_else_is_touched(place: Place) -> None:
    lab = Channel("nvidia", "desktop", author="Ada <a@b>", created=1)
    place.put(machine(1), replace(machine(2), name="nvidia", classes=("nvidia",)))
    place.open().change_channels([lab], [], ADA, "x")
    put(place, NVIDIA)
    assert sorted(place.open().clients()) == ["lab3-01", "nvidia"]
    assert dict(place.open().channels()) == {"nvidia": lab}
    assert list(place.open().classes()) == ["nvidia"]
    put(place, remove=("nvidia",))
    assert place.open().client("nvidia").classes == ("nvidia",)
    assert dict(place.open().channels()) == {"nvidia": lab}


def test_both_are_changed_by_whoever_has_read_both(place: Place) -> None:
    place.put(machine(1))
    mine = place.open()
    assert len(mine.clients()) == 1
    mine.change_classes([NVIDIA], [], ADA, "classes")
    mine.change([replace(machine(1), classes=("nvidia",))], [], ADA, "clients")
    assert place.open().client("lab3-01").classes == ("nvidia",)


def test_a_change_makes_another_revision(place: Place) -> None:
    place.put(machine(1))
    before = place.open().revision()
    put(place, NVIDIA)
    if place.backend != "ldap-map":  # where they stand in directory.git, which that revision isn't of
        assert place.open().revision() != before


def test_check_counts_them(place: Place) -> None:
    put(place, NVIDIA, INTEL)
    assert check(place.open()).classes == 2


def test_what_others_put_into_an_entry_stays(site: Site, tmp_path: Path) -> None:
    place = Place(site)
    put(place, NVIDIA)
    with cloned(place, tmp_path / "clone") as clone:
        file = clone / "classes" / "nvidia.ldif"
        file.write_text(file.read_text() + "description: cards of our own\n")
    put(place, replace(NVIDIA, order=5))
    with cloned(place, tmp_path / "again") as clone:
        assert "description: cards of our own" in (clone / "classes" / "nvidia.ldif").read_text()
        (clone / "motd").write_text("x")
    assert complaints(place) == ""


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("gitstatePciRule: 10de:**", "line 6: .*is not a pattern"),
        ("gitstatePciRule: 10de:*:03", "line 6: .*twice"),
        ("gitstateOrder: many", "line 6: .*"),
        ("gitstateOrder: 3", "one value only"),
        ("gitstateKind: live", "belongs to none"),
        ("gitstatePciRule:: //4=", "line 6: .*"),
    ],
)
def test_wrong_by_hand(site: Site, tmp_path: Path, line: str, what: str) -> None:
    place = Place(site)
    put(place, NVIDIA)
    with cloned(place, tmp_path / "clone") as clone:
        file = clone / "classes" / "nvidia.ldif"
        assert len(file.read_text().splitlines()) == 5
        file.write_text(f"{file.read_text()}{line}\n")
    with pytest.raises(ConfigError, match=f"classes/nvidia.ldif, .*{what}"):
        place.open().classes()


@needs("slapd")
def test_where_they_stand(site: Site, slapd: Server) -> None:
    """In LDAP with our classes; else in ``directory.git``, beside channels."""
    for mode in ("schema", "map", "split"):
        slapd.clear()
        choose_ldap(site, slapd, mode)
        open_directory(site).change_classes([NVIDIA], [], ADA, "classes")
        assert list(open_directory(site).classes()) == ["nvidia"]
        connection = slapd.connect()
        found = connection.search_s(SUFFIX, 2, "(objectClass=gitstateClass)")
        connection.unbind_s()
        if mode == "schema":
            ((dn, entry),) = found
            assert dn == f"cn=nvidia,ou=classes,{SUFFIX}"
            assert entry["gitstatePciRule"] == [b"10de:*:03"]
            assert entry["gitstateOrder"] == [b"10"]
            assert b"Ada Lovelace" in entry["gitstateLastChange"][0]
            assert not site.directory_path.exists()
        else:
            assert found == []
            open_directory(site).change_classes([], ["nvidia"], ADA, "classes")


@needs("slapd")
def test_a_foreign_entry(site: Site, slapd: Server) -> None:
    """What somebody wrote with the server's own tools is looked at, too."""
    choose_ldap(site, slapd)
    place = Place(site)
    put(place, NVIDIA)
    connection = slapd.connect()
    dn = f"cn=fpga,ou=classes,{SUFFIX}"
    entry = [("objectClass", [b"gitstateClass"]), ("cn", [b"fpga"]), ("gitstatePciRule", [b"10EE:*"])]
    connection.add_s(dn, entry)
    assert place.open().classes()["fpga"] == HardwareClass("fpga", ("10ee:*",))
    connection.modify_s(dn, [(0, "gitstatePciRule", [b"; reboot"])])
    connection.unbind_s()
    with pytest.raises(ConfigError, match=r"cn=fpga.*is not a pattern"):
        place.open().classes()
