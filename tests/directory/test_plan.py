"""Plans: what they look at, what they say, and that nothing is done before it is applied."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitstate.core.errors import GitstateError, LockedError, NotFoundError, UsageError
from gitstate.core.names import Pin
from gitstate.core.signature import Signature
from gitstate.directory import Client, Kind, plan
from gitstate.store import MAIN, Commit, Repository, Type, object_id, write_objects
from gitstate.store.site import Site
from tests.directory.harness import ADA, Place, machine
from tests.support import needs

pytestmark = needs("git")

GITSTATE = Signature("gitstate <root@server>", ADA.when)


@pytest.fixture(autouse=True)
def desktop(site: Site) -> Repository:
    """A prototype with one snapshot, which a tag ``v1`` names."""
    repository = Repository.create(site.repository_path("desktop"), hooked=False)
    tree = object_id(Type.TREE, b"")
    commit = Commit(tree, [], ADA, ADA, "one").encode()
    made = object_id(Type.COMMIT, commit)
    objects = {tree: (Type.TREE, b""), made: (Type.COMMIT, commit)}
    write_objects(repository, objects, [(MAIN, made, None), ("refs/tags/v1", made, None)], "x")
    return repository


def apply(planned: plan.Plan, message: str | None = None) -> None:
    plan.apply(planned, ADA, GITSTATE, message)


def test_add(place: Place) -> None:
    directory = place.open()
    planned = plan.plan_add(place.site, directory, machine(1))
    assert planned.describe() == ["lab3-01: MAC 52:54:00:00:00:01, IP 10.77.0.2, pin desktop@v1"]
    assert planned.message == f"client add {planned.describe()[0]}"
    assert dict(place.open().clients()) == {}
    apply(planned)
    revision = place.open().revision()
    assert place.open().client("lab3-01") == machine(1)
    last = place.open().last_change("lab3-01")
    assert last is not None
    if place.backend == "ldif":
        assert last.revision == revision
    if place.backend != "ldap-map":
        assert last.subject == planned.message
    with pytest.raises(UsageError, match="there is a client lab3-01 already") as caught:
        plan.plan_add(place.site, directory, Client("lab3-01"))
    assert "client set lab3-01" in caught.value.hint


def test_a_plain_one_has_few_words(place: Place) -> None:
    planned = plan.plan_add(place.site, place.open(), Client("a"))
    assert planned.describe() == ["a"]
    assert planned.message == "client add a"


def test_set(place: Place) -> None:
    place.put(machine(1), machine(2))
    values = {"pin": Pin("desktop", "main"), "kind": Kind.LIVE, "ips": ()}
    planned = plan.plan_set(place.site, place.open(), ["lab3-01"], values)
    assert planned.describe() == ["lab3-01: no IP, kind diskless -> live, pin desktop@v1 -> desktop@main"]
    apply(planned, "because")
    assert place.open().client("lab3-01") == replace(machine(1), **values)
    last = place.open().last_change("lab3-01")
    assert last is not None
    assert last.subject == ("" if place.backend == "ldap-map" else "because")


def test_set_several(place: Place) -> None:
    place.put(*(machine(number) for number in range(5)))
    names = [machine(number).name for number in range(5)]
    planned = plan.plan_set(place.site, place.open(), [*names, names[0]], {"workload": "kiosk"})
    lines = planned.message.splitlines()
    assert lines[:2] == ["client set 5 clients: workload kiosk", ""]
    assert lines[2:] == [f"{name}: workload kiosk" for name in names]
    apply(planned)
    assert {one.workload for one in place.open().clients().values()} == {"kiosk"}
    few = plan.plan_set(place.site, place.open(), names[:2], {"workload": None})
    assert few.message.splitlines()[0] == "client set lab3-00, lab3-01: no workload"
    values = {"pin": Pin("desktop", "main")}
    place.put(replace(machine(1), pin=None))
    mixed = plan.plan_set(place.site, place.open(), names[:2], values)
    assert mixed.message.splitlines()[0] == "client set lab3-00, lab3-01"


def test_what_is_so_already_is_no_step(place: Place) -> None:
    place.put(machine(1), replace(machine(2), workload="kiosk"))
    planned = plan.plan_set(place.site, place.open(), ["lab3-01", "lab3-02"], {"workload": "kiosk"})
    assert [change.name for change in planned.changes] == ["lab3-01"]
    assert plan.plan_set(place.site, place.open(), ["lab3-01"], {"kind": Kind.DISKLESS}).changes == ()


def test_remove(place: Place) -> None:
    place.put(*(machine(number) for number in range(3)))
    planned = plan.plan_remove(place.open(), ["lab3-02", "lab3-00"])
    assert planned.describe() == ["lab3-02", "lab3-00"]
    assert planned.message.splitlines()[0] == "client remove lab3-02, lab3-00"
    apply(planned)
    assert list(place.open().clients()) == ["lab3-01"]


def test_what_changed_since_the_plan(place: Place) -> None:
    place.put(machine(1))
    planned = plan.plan_set(place.site, place.open(), ["lab3-01"], {"workload": "kiosk"})
    place.put(replace(machine(1), kind=Kind.LIVE))
    with pytest.raises(LockedError):
        apply(planned)
    assert place.open().client("lab3-01") == replace(machine(1), kind=Kind.LIVE)


@pytest.mark.parametrize(
    ("values", "error", "words", "hint"),
    [
        ({"pin": Pin("desktopp", "v1")}, NotFoundError, "no prototype desktopp", "did you mean desktop"),
        ({"pin": Pin("server", "v1")}, NotFoundError, "no prototype server", "did you mean desktop"),
        ({"pin": Pin("desktop", "v2")}, NotFoundError, "desktop has no revision 'v2'", "v1"),
        ({"pin": Pin("desktop", "main~1")}, NotFoundError, "desktop has no revision", ""),
        ({"channel": "lab3"}, NotFoundError, "no channel lab3", "gitstate channel list"),
        ({"macs": machine(2).macs}, UsageError, "can't be assigned to {}: lab3-02 has it", "client show lab3-02"),
        ({"ips": machine(2).ips}, UsageError, "can't be assigned to {}: lab3-02 has it", "client show lab3-02"),
    ],
    ids=str,
)
def test_what_is_refused(
    place: Place, values: dict[str, object], error: type[GitstateError], words: str, hint: str
) -> None:
    before = place.put(machine(1), machine(2))
    for name, attempt in (
        ("lab3-01", lambda: plan.plan_set(place.site, place.open(), ["lab3-01"], values)),
        ("aaa", lambda: plan.plan_add(place.site, place.open(), Client("aaa", **values))),  # type: ignore[arg-type]
    ):
        with pytest.raises(error) as caught:
            attempt()
        assert words.format(name) in caught.value.message
        assert hint in caught.value.hint
    assert place.open().revision() == before


def test_a_prototype_without_a_snapshot(place: Place) -> None:
    Repository.create(place.site.repository_path("empty"), hooked=False)
    with pytest.raises(NotFoundError, match="empty has no revision"):
        plan.plan_add(place.site, place.open(), Client("a", pin=Pin("empty", "main")))


def test_a_pin_that_went_stale_stops_no_other_change(place: Place) -> None:
    """Whoever boots it is told by `boot write`; a MAC can be changed all the same."""
    place.put(replace(machine(1), pin=Pin("desktop", "gone"), channel="lab3"))
    apply(plan.plan_set(place.site, place.open(), ["lab3-01"], {"kind": Kind.LIVE}))
    assert place.open().client("lab3-01").pin == Pin("desktop", "gone")


@pytest.mark.parametrize("names", [["lab3-1"], ["lab3-01", "nobody"]])
def test_whom_there_is_not(place: Place, names: list[str]) -> None:
    place.put(machine(1))
    for attempt in (
        lambda: plan.plan_set(place.site, place.open(), names, {"kind": Kind.LIVE}),
        lambda: plan.plan_remove(place.open(), names),
    ):
        with pytest.raises(NotFoundError, match=f"no client {names[-1]}"):
            attempt()


def test_one_client_maintains_a_prototype(place: Place) -> None:
    directory = place.open()
    apply(plan.plan_add(place.site, directory, machine(1)))
    apply(plan.plan_add(place.site, place.open(), machine(2)))
    planned = plan.plan_set(place.site, place.open(), ["lab3-01"], {"maintains": "desktop"})
    assert planned.describe() == ["lab3-01: maintains desktop"]
    apply(planned)
    assert place.open().client("lab3-01").maintains == "desktop"
    assert place.open().client("lab3-01").runs == "live tree of desktop"
    with pytest.raises(UsageError, match="lab3-02 can't maintain desktop: lab3-01 does"):
        plan.plan_set(place.site, place.open(), ["lab3-02"], {"maintains": "desktop"})
    with pytest.raises(NotFoundError, match="no prototype destkop"):
        plan.plan_set(place.site, place.open(), ["lab3-02"], {"maintains": "destkop"})
    apply(plan.plan_set(place.site, place.open(), ["lab3-01"], {"maintains": None}))
    assert place.open().client("lab3-01").maintains is None
