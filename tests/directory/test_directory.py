"""What every backend must do."""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from gitstate.core.errors import GitstateError, LockedError, NotFoundError, UsageError
from gitstate.core.names import Pin
from gitstate.directory import Client, Kind, open_directory
from gitstate.store.site import Site
from tests.directory.harness import ADA, Place, machine, machines
from tests.lab.ldap import GITSTATE
from tests.support import needs

pytestmark = needs("git")

FULL = Client(
    "lab3-12",
    macs=("52:54:00:12:34:56", "52:54:00:12:34:57"),
    ips=("10.77.0.12", "fd77::12"),
    kind=Kind.CACHING,
    channel="lab3",
    pin=Pin("desktop", "v1"),
    workload="kiosk",
    classes=("hp", "nvidia"),
    layers=("host/other", "lab/lab4"),
    state="local",
)


def test_an_empty_directory(place: Place) -> None:
    directory = place.open()
    assert dict(directory.clients()) == {}
    assert directory.revision() == ""
    assert directory.last_change("lab3-12") is None
    with pytest.raises(NotFoundError, match="no client lab3-12"):
        directory.client("lab3-12")


@pytest.mark.parametrize("client", [FULL, Client("a"), Client("lab3-12", pin=Pin("desktop", "v1"))])
def test_what_is_put_is_read(place: Place, client: Client) -> None:
    revision = place.put(client)
    for directory in (place.open(), place.open()):
        assert directory.client(client.name) == client
        assert dict(directory.clients()) == {client.name: client}
        assert directory.revision() == revision


def test_clients_are_sorted(place: Place) -> None:
    place.put(*reversed(machines(30)), Client("a"), Client("z"), Client("b-1"))
    names = list(place.open().clients())
    assert names == sorted(names)
    assert len(names) == 33


def test_clients_cant_be_changed_in_memory(place: Place) -> None:
    place.put(machine(1))
    with pytest.raises(TypeError):
        place.open().clients()["x"] = machine(2)  # type: ignore[index]


def test_sets_are_sets(place: Place) -> None:
    mess = replace(
        FULL,
        macs=FULL.macs[::-1],
        ips=("fd77::12", "10.77.0.12", "fd77::12"),
        classes=("nvidia", "hp", "nvidia"),
        layers=FULL.layers[::-1],
    )
    first = place.put(FULL)
    assert place.put(mess) == first
    assert place.open().client("lab3-12") == FULL


def test_addresses_are_in_order_of_number(place: Place) -> None:
    place.put(Client("a", ips=("10.0.0.10", "10.0.0.9", "fd77::a", "fd77::9")))
    assert place.open().client("a").ips == ("10.0.0.9", "10.0.0.10", "fd77::9", "fd77::a")


def test_changes_are_made_together(place: Place) -> None:
    place.put(*machines(5))
    directory = place.open()
    before = directory.revision()
    new = [replace(machine(1), kind=Kind.THICK), machine(7)]
    directory.change(new, ["lab3-02", "lab3-03"], ADA, "all of it")
    after = directory.revision()
    assert after != before
    expected = {one.name: one for one in [machine(0), *new, machine(4)]}
    for seen in (directory, place.open()):
        assert dict(seen.clients()) == dict(sorted(expected.items()))
        assert seen.revision() == after


def test_nothing_changed_is_no_change(place: Place) -> None:
    first = place.put(*machines(3))
    directory = place.open()
    directory.change(machines(3), [], ADA, "again")
    directory.change([], [], ADA, "nothing")
    assert directory.revision() == first
    assert place.open().revision() == first


def test_a_name_that_is_removed_and_put_is_put(place: Place) -> None:
    place.put(machine(1))
    new = replace(machine(1), kind=Kind.LIVE)
    place.open().change([new], ["lab3-01"], ADA, "anew")
    assert dict(place.open().clients()) == {"lab3-01": new}


def test_the_last_one_can_go(place: Place) -> None:
    place.put(machine(1))
    place.open().change([], ["lab3-01"], ADA, "gone")
    assert dict(place.open().clients()) == {}
    place.put(machine(1))
    assert dict(place.open().clients()) == {"lab3-01": machine(1)}


def test_who_changed_it_last(place: Place) -> None:
    place.put(*machines(3), message="all three")
    revision = place.put(replace(machine(1), kind=Kind.LIVE), message="one of them\n\nand why")
    last = place.open().last_change("lab3-01")
    assert last is not None
    other = place.open().last_change("lab3-02")
    assert other is not None
    if place.backend == "ldap-map":  # stock attributes have no place for it
        assert (last.author, last.subject) == (GITSTATE, "")
        assert abs(last.when - time.time()) < 60
    else:
        assert (last.author, last.when, last.subject) == (ADA.who, ADA.when, "one of them")
        assert other.subject == "all three"
    if place.backend == "ldif":
        assert last.revision == revision
    else:  # the mark of that entry
        assert last.revision > other.revision
    assert place.open().last_change("lab3-0") is None


# --- what is refused, and leaves everything as it was -----------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        Client("Lab3-12"),
        Client("../../etc"),
        Client("x\ndn: cn=y"),
        Client("-x"),
        Client(""),
        Client("12"),
        Client("x,ou=other"),
        Client("x", macs=("52-54-00-12-34-56",)),
        Client("x", macs=("52:54:00:12:34:56\ngitstatePin: evil@v1",)),
        Client("x", ips=("10.77.0.12\n",)),
        Client("x", ips=("10.77.0.300",)),
        Client("x", ips=("FD77::1",)),
        Client("x", channel="a\nb"),
        Client("x", channel=""),
        Client("x", workload="../up"),
        Client("x", pin=Pin("desktop", "v1\nobjectClass: top")),
        Client("x", pin=Pin("desktop", "")),
        Client("x", pin=Pin("desktop", "a" * 201)),
        Client("x", classes=("nvidia ",)),
        Client("x", layers=("base/../../x",)),
        Client("x", layers=("etc/passwd",)),
        Client("x", state="ram"),
        Client("x", kind="toaster"),  # type: ignore[arg-type]
    ],
    ids=repr,
)
def test_values_that_cant_be(place: Place, bad: Client) -> None:
    before = place.put(machine(1))
    with pytest.raises(UsageError) as caught:
        place.open().change([machine(2), bad], ["lab3-01"], ADA, "bad")
    assert caught.value.hint
    assert "\n" not in caught.value.message
    assert place.open().revision() == before
    assert dict(place.open().clients()) == {"lab3-01": machine(1)}


@pytest.mark.parametrize("other", [Client("aaa", macs=machine(1).macs), Client("zzz", ips=machine(1).ips)], ids=repr)
def test_an_address_that_another_has(place: Place, other: Client) -> None:
    place.put(machine(1))
    with pytest.raises(UsageError, match=f"can't be assigned to {other.name}: lab3-01 has it"):
        place.put(other)
    assert list(place.open().clients()) == ["lab3-01"]
    place.open().change([other], ["lab3-01"], ADA, "in its place")
    assert dict(place.open().clients()) == {other.name: other}


def test_two_new_ones_with_one_address(place: Place) -> None:
    with pytest.raises(UsageError, match="has it"):
        place.put(machine(1), replace(machine(1), name="other"))
    assert dict(place.open().clients()) == {}


def test_addresses_can_be_swapped_in_one_change(place: Place) -> None:
    place.put(machine(1), machine(2))
    swapped = [replace(machine(1), macs=machine(2).macs), replace(machine(2), macs=machine(1).macs)]
    place.put(*swapped)
    assert list(place.open().clients().values()) == swapped


def test_removing_whom_there_is_not(place: Place) -> None:
    before = place.put(*machines(3))
    with pytest.raises(NotFoundError) as caught:
        place.open().change([machine(9)], ["lab3-1"], ADA, "x")
    assert "lab3-01" in caught.value.hint
    assert place.open().revision() == before


@pytest.mark.parametrize("message", ["", " \n "])
def test_a_change_says_why(place: Place, message: str) -> None:
    with pytest.raises(UsageError, match="message"):
        place.open().change([machine(1)], [], ADA, message)


# --- others at the same time ------------------------------------------------------------------------------------------


def test_a_change_since_it_was_read_is_noticed(place: Place) -> None:
    place.put(*machines(3))
    mine = place.open()
    old = mine.client("lab3-01")
    place.put(replace(old, workload="kiosk"))
    with pytest.raises(LockedError, match="changed since"):
        mine.change([replace(old, kind=Kind.LIVE)], [], ADA, "would lose the workload")
    assert place.open().client("lab3-01").workload == "kiosk"
    mine.change([replace(mine.client("lab3-01"), kind=Kind.LIVE)], [], ADA, "again")
    assert place.open().client("lab3-01") == replace(old, workload="kiosk", kind=Kind.LIVE)


def test_whoever_was_read_alone_may_be_gone(place: Place) -> None:
    place.put(*machines(3))
    mine = place.open()
    old = mine.client("lab3-01")
    place.open().change([], ["lab3-01"], ADA, "gone")
    with pytest.raises(LockedError, match="changed since"):
        mine.change([replace(old, kind=Kind.LIVE)], [], ADA, "x")


def test_what_we_change_ourselves_is_no_news(place: Place) -> None:
    place.put(*machines(3))
    mine = place.open()
    mine.clients()
    for kind in (Kind.LIVE, Kind.THICK):
        mine.change([replace(machine(1), kind=kind)], ["lab3-02"] if kind is Kind.LIVE else [], ADA, "x")
    place.put(machine(7))
    with pytest.raises(LockedError, match="changed since"):
        mine.change([machine(1)], [], ADA, "x")


def test_the_first_change_of_another_is_noticed_too(place: Place) -> None:
    mine = place.open()
    assert mine.revision() == ""
    place.put(machine(1))
    with pytest.raises(LockedError):
        mine.change([machine(2)], [], ADA, "x")


def test_what_others_change_is_seen(place: Place) -> None:
    mine = place.open()
    for number in range(4):
        place.put(machine(number))
        assert len(mine.clients()) == number + 1
    place.open().change([], ["lab3-02"], ADA, "gone")
    assert list(mine.clients()) == ["lab3-00", "lab3-01", "lab3-03"]


def _add(path: Path, number: int) -> bool:
    try:
        open_directory(Site(path)).change([machine(number)], [], ADA, f"put {number}")
    except LockedError:
        return False
    except GitstateError as error:
        raise AssertionError(str(error)) from None
    return True


def test_many_at_once(place: Place) -> None:
    """One wins or is told that it is locked out; whoever won is there."""
    with ProcessPoolExecutor(6, mp_context=multiprocessing.get_context("spawn")) as pool:
        won = list(pool.map(_add, [place.site.path] * 24, range(24)))
    assert any(won)
    there = place.open().clients()
    assert sorted(there) == [machine(number).name for number in range(24) if won[number]]
