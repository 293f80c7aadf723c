"""layer list: who gets which layer, by releases and as layers stand."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitstate.release.layers import summaries
from gitstate.release.opened import OpenedSite
from gitstate.store import Repository
from gitstate.store import site as sites
from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git"), pytest.mark.xdist_group("layer_list")]


def layer(site: Site, name: str) -> None:
    site.run("layer", "create", name)
    (site.path / "live" / name / "file").write_text(f"{name}\n")
    site.run("checkin", name, "-m", name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two channels, one of which has released nothing; a pinned client; a layer that came after the release."""
    place = tmp_path_factory.mktemp("list")
    site = make_site(place / "site")
    (place / "root").mkdir()
    site.run("prototype", "create", "desktop", "--live", str(place / "root"))
    site.run("checkin", "desktop", "-m", "first")
    for name in ("base", "lab/lab3", "workload/kiosk", "host/lab9-1"):
        layer(site, name)
    for channel in ("lab3", "new", "empty"):
        site.run("channel", "create", channel, "--prototype", "desktop")
    site.run("client", "add", "lab3-[1-3]", "--channel", "lab3")
    site.run("client", "add", "lab3-4", "--channel", "lab3", "--pin", "desktop@main")
    site.run("client", "add", "lab4-1", "--channel", "new", "--workload", "gone")
    for channel in ("lab3", "empty"):
        site.run("push", "desktop", channel, "--yes")
    layer(site, "host/lab3-4")
    layer(site, "host/lab3-1")
    yield place
    shutil.rmtree(place)


@pytest.fixture
def site(place: Path) -> Site:
    return Site(place / "site")


def test_channels_and_clients(site: Site) -> None:
    found = {one["repository"]: (one["channels"], one["clients"]) for one in site.json("layer", "list")["layers"]}
    assert found == {
        "base": (["lab3"], 5),
        "host/lab3-1": ([], 0),  # released to nobody yet
        "host/lab3-4": ([], 1),  # follows no release, and has what stands
        "host/lab9-1": ([], 0),
        "lab/lab3": (["lab3"], 4),
        "workload/kiosk": ([], 0),
    }
    lines = site.out("layer", "list").splitlines()
    assert lines[0].split() == ["NAME", "SNAPSHOT", "CHECKED", "IN", "CHANNELS", "CLIENTS", "DESCRIPTION"]
    assert lines[1].split()[-3:] == ["lab3", "5", "base"]


def test_what_layer_toml_says(site: Site) -> None:
    for text, said in (('description = "a kiosk"\n', "a kiosk"), ("x = [", None), ("[reload]\n", None)):
        (site.path / "live/workload/kiosk/layer.toml").write_text(text)
        site.run("checkin", "workload/kiosk", "-m", "told")
        found = site.json("layer", "list")["layers"][-1]
        assert (found["repository"], found["description"], found["subject"]) == ("workload/kiosk", said, "told")
        assert site.out("layer", "list").splitlines()[-1].endswith(said or "told")


def test_the_clients_of_one(site: Site) -> None:
    found = site.json("layer", "list", "lab/lab3")["clients"]
    assert [one["host"] for one in found] == ["lab3-1", "lab3-2", "lab3-3", "lab3-4"]
    assert [one["release"] for one in found] == ["lab3/1"] * 3 + [None]
    assert {one["why"] for one in found} == {"lab lab3"}
    assert site.out("layer", "list", "lab/lab3").splitlines()[4].split() == ["lab3-4", "-", "lab", "lab3"]
    assert "no client gets workload/kiosk" in site.run("layer", "list", "workload/kiosk").stderr


def test_it_says_what_resolve_says(site: Site) -> None:
    for name in ("base", "lab/lab3", "host/lab3-1", "host/lab3-4"):
        listed = {one["host"] for one in site.json("layer", "list", name)["clients"]}
        for host in ("lab3-1", "lab3-4", "lab4-1"):
            resolved = {one["repository"] for one in site.json("layer", "resolve", host)["layers"]}
            assert (host in listed) == (name in resolved)


def test_what_is_no_layer(site: Site) -> None:
    site.run("layer", "list", "lab/lab9", code=10)
    site.run("layer", "list", "desktop", code=2)
    site.run("layer", "list", "lab/lab3", "--shipped", code=2)


@pytest.mark.slow
def test_ten_thousand_clients_cost_no_more_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = make_site(tmp_path / "site")
    with (site.path / "site.toml").open("a") as settings:
        settings.write('[layers]\nnetworks = ["10.0.0.0/8"]\n')
    for name in ("base", "lab/lab3", "network/10.255.255.255"):
        layer(site, name)
    rows = [f"lab{number // 100}-{number % 100},10.1.{number // 250}.{number % 250 + 1}" for number in range(10_000)]
    (tmp_path / "all.csv").write_text("\n".join(["name,ip", *rows, ""]))
    site.run("client", "import", str(tmp_path / "all.csv"))
    opened = OpenedSite(sites.Site.open(site.path))
    reads = 0
    read = Repository.read

    def counted(self: Repository, oid: bytes) -> bytes:
        nonlocal reads
        reads += 1
        return read(self, oid)

    monkeypatch.setattr(Repository, "read", counted)
    found = summaries(opened)
    assert 0 < reads < 100
    assert {one.name: len(one.uses) for one in found} == {
        "base": 10_000,
        "lab/lab3": 100,
        "network/10.255.255.255": 10_000,
    }
