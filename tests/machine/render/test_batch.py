"""Many machines of one release: work is counted, not time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gitstate.core.errors import ConflictError, NotFoundError
from gitstate.core.signature import Signature
from gitstate.directory import Client
from gitstate.machine.layers import Missing, Options
from gitstate.machine.render import Batch, LayerError, RenderContext
from gitstate.store import MAIN, Commit, Repository, Type, object_id, write_objects
from tests.machine.render.harness import ROOT, Objects

ADA = Signature("Ada <ada@example.org>", 1)
OPTIONS = Options(networks=("10.0.0.0/24",))


class Repositories:
    """Real repositories; which were opened is counted."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self.opened: Counter[str] = Counter()

    def commit(self, name: str, spec: Mapping[str, Any]) -> bytes:
        path = self._place / f"{name.replace('/', '-')}.git"
        repository = Repository(path) if path.exists() else Repository.create(path, hooked=False)
        objects = Objects()
        tree = objects.tree(spec)
        old = repository.ref(MAIN)
        data = Commit(tree, [old] if old else [], ADA, ADA, "x").encode()
        commit = object_id(Type.COMMIT, data)
        typed = {oid: (Type.TREE if _is_tree(oid, one) else Type.BLOB, one) for oid, one in objects.items()}
        write_objects(repository, typed | {commit: (Type.COMMIT, data)}, [(MAIN, commit, old)], "x")
        return commit

    def __call__(self, name: str) -> Repository:
        self.opened[name] += 1
        return Repository.open(self._place / f"{name.replace('/', '-')}.git", name)


def _is_tree(oid: bytes, data: bytes) -> bool:
    return object_id(Type.TREE, data) == oid


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    return Repositories(tmp_path)


@pytest.fixture
def context(repositories: Repositories) -> RenderContext:
    layers = {
        "base": {"etc": {"motd.j2": b"{{ host }} {{ ip }} {{ vars.room }}\n", "x": b"x"}, "vars.toml": b"room = 'A'"},
        "lab/lab3": {"etc": {"lab": b"3"}, "vars.toml": b"room = 'B'"},
        "host/lab3-1": {"etc": {"own": b"1"}},
        "host/lab3-2": {"etc": {"own": b"2"}},
    }
    commits = {name: repositories.commit(name, spec) for name, spec in layers.items()}
    return RenderContext(("desktop", repositories.commit("desktop", ROOT)), commits, OPTIONS)


CLIENTS = [Client(f"lab3-{number}", (), (f"10.0.0.{number}",)) for number in range(1, 6)]


def test_each_machine_gets_its_own(repositories: Repositories, context: RenderContext) -> None:
    batch = Batch(context, repositories)
    found = {one.client.name: one for one in batch.render_all(CLIENTS)}
    assert list(found) == [one.name for one in CLIENTS]
    first = {item.path: batch.read(item) for item in found["lab3-1"].items}
    assert first == {b"etc/lab": b"3", b"etc/motd": b"lab3-1 10.0.0.1 B\n", b"etc/own": b"1", b"etc/x": b"x"}
    origins = {item.path: (item.layer, item.commit) for item in found["lab3-1"].items}
    assert origins[b"etc/own"] == ("host/lab3-1", context.layers["host/lab3-1"])
    assert b"etc/own" not in {item.path for item in found["lab3-3"].items}
    assert len({one.key for one in found.values()}) == len(CLIENTS)


def test_shared_layers_are_read_once(repositories: Repositories, context: RenderContext) -> None:
    list(Batch(context, repositories).render_all(CLIENTS))
    assert set(repositories.opened.values()) == {1}
    assert repositories.opened.keys() == {"desktop", *context.layers}


def test_a_change_in_one_hosts_layer_renders_one_host(repositories: Repositories, context: RenderContext) -> None:
    known = {one.client.name: one.key for one in Batch(context, repositories).render_all(CLIENTS)}
    repositories.opened.clear()
    assert list(Batch(context, repositories).render_all(CLIENTS, known)) == []
    assert repositories.opened.keys() <= {"desktop"}
    commit = repositories.commit("host/lab3-2", {"etc": {"own": b"changed"}})
    changed = RenderContext(context.prototype, {**context.layers, "host/lab3-2": commit}, OPTIONS)
    (one,) = Batch(changed, repositories).render_all(CLIENTS, known)
    assert one.client.name == "lab3-2"
    assert "host/lab3-1" not in repositories.opened


@pytest.mark.parametrize(
    "other",
    [
        Client("lab3-1", (), ("10.0.0.99",)),
        Client("lab3-1", ("52:54:00:00:00:01",), ("10.0.0.1",)),
        Client("lab3-1", (), ("10.0.0.1",), workload="kiosk"),
        Client("lab3-1", (), ("10.0.0.1",), channel="lab3"),
    ],
)
def test_a_key_is_all_that_a_machine_depends_on(
    repositories: Repositories, context: RenderContext, other: Client
) -> None:
    batch = Batch(context, repositories)
    assert batch.key(other) != batch.key(CLIENTS[0])
    assert Batch(context, repositories).key(CLIENTS[0]) == batch.key(CLIENTS[0])
    hardware = RenderContext(context.prototype, context.layers, OPTIONS, {"lab3-1": {"memory": 1}})
    assert Batch(hardware, repositories).key(CLIENTS[0]) != batch.key(CLIENTS[0])
    entry = RenderContext(context.prototype, context.layers, OPTIONS, {}, {"lab3-1": {"description": [b"x"]}})
    assert Batch(entry, repositories).key(CLIENTS[0]) != batch.key(CLIENTS[0])


def test_a_new_prototype_makes_new_keys(repositories: Repositories, context: RenderContext) -> None:
    before = Batch(context, repositories).key(CLIENTS[0])
    image = ("desktop", repositories.commit("desktop", {**ROOT, "new": b"x"}))
    assert Batch(RenderContext(image, context.layers, OPTIONS), repositories).key(CLIENTS[0]) != before


def test_errors_name_the_machine(repositories: Repositories, context: RenderContext) -> None:
    commits = {**context.layers, "host/lab3-2": repositories.commit("host/lab3-2", {"etc": b"no directory"})}
    rest = Batch(RenderContext(context.prototype, commits, OPTIONS), repositories).render_all(CLIENTS)
    assert next(rest).client.name == "lab3-1"
    with pytest.raises(ConflictError, match=r"^lab3-2: host/lab3-2 [0-9a-f]{7}: etc is a file"):
        next(rest)
    with pytest.raises(LayerError, match=r"^x: base [0-9a-f]{7}: etc/motd.j2, line 1: 'ip' is undefined"):
        Batch(context, repositories).render(Client("x"))
    strict = RenderContext(context.prototype, context.layers, Options(missing=Missing.FAIL))
    with pytest.raises(NotFoundError, match="x: there is no layer workload/kiosk"):
        Batch(strict, repositories).render(Client("x", workload="kiosk"))


def test_without_a_prototype_there_is_no_image(repositories: Repositories, context: RenderContext) -> None:
    found = Batch(RenderContext(None, context.layers, OPTIONS), repositories).render(CLIENTS[0])
    assert [item.path for item in found.items] == [b"etc", b"etc/lab", b"etc/motd", b"etc/own", b"etc/x"]
