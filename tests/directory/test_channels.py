"""Channels, in every backend."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitstate.core.errors import GitstateError, LockedError, NotFoundError, UsageError
from gitstate.directory import Channel, Kind
from tests.directory.harness import ADA, Place, machine
from tests.support import needs

pytestmark = needs("git")

LAB = Channel("lab3", "desktop", author="Ada <ada@example.org>", created=1_700_000_000)
KIOSK = Channel("Kiosk", "desktop", signed=True, author="Ada <a@b>", release="Kiosk/7", commit="ab" * 20)


def put(place: Place, *channels: Channel, remove: tuple[str, ...] = ()) -> None:
    place.open().change_channels(channels, remove, ADA, "channels")


def test_what_is_put_is_read(place: Place) -> None:
    assert dict(place.open().channels()) == {}
    put(place, LAB, KIOSK)
    assert dict(place.open().channels()) == {"Kiosk": KIOSK, "lab3": LAB}
    new = replace(LAB, release="lab3/1", commit="cd" * 20)
    put(place, new)
    put(place, new)
    assert place.open().channels()["lab3"] == new
    put(place, replace(KIOSK, signed=False), remove=("lab3",))
    assert dict(place.open().channels()) == {"Kiosk": replace(KIOSK, signed=False)}
    put(place, remove=("Kiosk",))
    assert dict(place.open().channels()) == {}


def test_one_in_the_place_of_another(place: Place) -> None:
    put(place, LAB)
    put(place, replace(LAB, prototype="server"), remove=("lab3",))
    assert place.open().channels()["lab3"].prototype == "server"


def test_names_that_differ_in_case_are_one(place: Place) -> None:
    put(place, LAB)
    with pytest.raises(UsageError, match="there is a channel lab3 already"):
        put(place, replace(LAB, name="LAB3"))


def test_whom_there_is_not(place: Place) -> None:
    put(place, LAB)
    with pytest.raises(NotFoundError, match="no channel lab") as caught:
        put(place, KIOSK, remove=("lab",))
    assert "lab3" in caught.value.hint
    assert dict(place.open().channels()) == {"lab3": LAB}


@pytest.mark.parametrize(
    "bad",
    [
        replace(LAB, name="a,ou=x"),
        replace(LAB, name="*"),
        replace(LAB, prototype=""),
        replace(LAB, prototype="../up"),
        replace(LAB, release="lab3"),
        replace(LAB, commit="HEAD"),
    ],
    ids=repr,
)
def test_what_cant_be(place: Place, bad: Channel) -> None:
    with pytest.raises(GitstateError) as caught:
        put(place, LAB, bad)
    assert caught.value.code == 2
    assert dict(place.open().channels()) == {}


def test_clients_and_channels_dont_meet(place: Place) -> None:
    put(place, LAB)
    place.put(machine(1), replace(machine(2), name="kiosk"))
    put(place, KIOSK)
    assert sorted(place.open().clients()) == ["kiosk", "lab3-01"]
    assert sorted(place.open().channels()) == ["Kiosk", "lab3"]
    place.open().change([], ["kiosk"], ADA, "gone")
    put(place, remove=("lab3",))
    assert sorted(place.open().clients()) == ["lab3-01"]
    assert sorted(place.open().channels()) == ["Kiosk"]


def test_both_are_changed_by_whoever_has_read_both(place: Place) -> None:
    place.put(machine(1))
    mine = place.open()
    assert len(mine.clients()) == 1
    mine.change_channels([LAB], [], ADA, "channels")
    mine.change([machine(2)], [], ADA, "clients")
    assert sorted(place.open().clients()) == ["lab3-01", "lab3-02"]


def test_who_follows(place: Place) -> None:
    follower = replace(machine(1), pin=None, channel="lab3")
    others = [replace(follower, name=name, macs=(), ips=()) for name in ("a", "b")]
    place.put(
        follower,
        replace(others[0], kind=Kind.LIVE),
        others[1],
        replace(machine(2), channel="lab3"),
        replace(machine(3), pin=None, channel="LAB3"),
        replace(machine(4), pin=None),
    )
    assert dict(place.open().followers("lab3")) == {Kind.DISKLESS: 2, Kind.LIVE: 1}
    assert dict(place.open().followers("*")) == {}
    all_of_them = place.open().entries()
    assert place.open().entries(["lab3-02", "lab3-77"]) == {"lab3-02": all_of_them["lab3-02"]}
    assert place.open().entries([]) == {}


def test_a_change_of_channels_doesnt_lose_one_of_clients(place: Place) -> None:
    place.put(machine(1))
    mine = place.open()
    mine.clients()
    put(place, LAB)
    try:
        mine.change([machine(2)], [], ADA, "x")
    except LockedError:
        mine.change([machine(2)], [], ADA, "x")
    assert len(place.open().clients()) == 2
    assert dict(place.open().channels()) == {"lab3": LAB}
