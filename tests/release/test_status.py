"""The site at a glance."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from gitstate.core.monitor import SILENT
from gitstate.release import status
from gitstate.release.opened import OpenedSite
from gitstate.store.site import Site as Place
from tests.cli.harness import listing
from tests.gitstate_command import Site, make_site
from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("git")]

SCHEMAS = [json.loads(path.read_text("utf-8")) for path in (PROJECT / "schemas").glob("*.schema.json")]
REGISTRY: Registry[Any] = Registry().with_resources([(one["$id"], Resource.from_contents(one)) for one in SCHEMAS])
VALIDATOR = Draft202012Validator(REGISTRY.contents("urn:gitstate:site-status:1"), registry=REGISTRY)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Prototypes with and without a snapshot, channels with and without a release, a layer, clients of each sort."""
    site = make_site(tmp_path / "site")
    for name in ("desktop", "server"):
        (tmp_path / name / "etc").mkdir(parents=True)
        (tmp_path / name / "etc" / "motd").write_text(f"{name}\n")
        site.run("prototype", "create", name, "--live", str(tmp_path / name))
    site.run("checkin", "desktop", "-m", "first")
    site.run("layer", "create", "lab/lab3")
    site.run("channel", "create", "lab3", "--prototype", "desktop")
    site.run("channel", "create", "empty", "--prototype", "desktop")
    site.run("push", "desktop", "lab3", "--yes")
    site.run("client", "add", "lab3-[1-3]", "--channel", "lab3")
    site.run("client", "add", "e", "--channel", "empty")
    site.run("client", "add", "p[1-2]", "--pin", "desktop@main", "--channel", "lab3")
    site.run("client", "add", "nobody")
    (tmp_path / "desktop" / "etc" / "motd").write_text("edited\n")
    (tmp_path / "desktop" / "etc" / "new").write_text("new\n")
    return site


def look(site: Site, *, quick: bool = False) -> status.SiteStatus:
    return status.status(OpenedSite(Place.open(site.path)), SILENT, quick=quick)


def test_facts(site: Site) -> None:
    before = listing(site.path)
    found = look(site)
    assert listing(site.path) == before
    desktop, server, lab3 = found.trees
    assert (desktop.repository, desktop.subject, desktop.problem) == ("desktop", "first", None)
    assert desktop.edits is not None
    assert (dict(desktop.edits.counts), desktop.edits.differs) == ({"A": 1, "M": 1}, True)
    assert (server.commit, lab3.commit) == (None, None)
    assert [
        (one.channel.name, str(one.release.name) if one.release else None, one.clients) for one in found.channels
    ] == [
        ("empty", None, 1),
        ("lab3", "lab3/1", 3),
    ]
    assert [(one.channel, one.release, one.pin, one.clients) for one in found.users] == [
        ("empty", None, None, 1),
        ("lab3", "lab3/1", None, 3),
        (None, None, "desktop@main", 2),
        (None, None, None, 1),
    ]
    assert found.boot is None
    assert all(one.edits is None for one in look(site, quick=True).trees)


def test_machines_that_reported_another_snapshot_are_counted(site: Site, tmp_path: Path) -> None:
    commit = site.git("desktop", "rev-parse", "main").strip()
    for name, snapshot in (
        ("lab3-1", f"desktop@{commit}"),
        ("lab3-2", f"desktop@{'0' * 40}"),
        ("lab3-3", f"server@{commit}"),
        ("p1", f"desktop@{'0' * 40}"),
        ("e", f"desktop@{'0' * 40}"),  # its channel has no release to compare with
        ("nobody", f"desktop@{'0' * 40}"),
    ):
        hardware = {"schema": "probe/1", "host": name, "architecture": None, "cpus": None, "memory": None, "dmi": {}}
        running = {"snapshot": snapshot, "release": None}
        file = tmp_path / "report.json"
        file.write_text(json.dumps({**hardware, "pci": [], "network": [], "disks": [], "running": running}))
        site.run("client", "report", name, str(file))
    assert [one.outdated for one in look(site).users] == [0, 2, 1, 0]
    assert site.json("status")["clients"][1]["outdated"] == 2
    assert "3        lab3/1, 2 of them another snapshot until they reboot" in site.out("status").splitlines()


def test_tags_that_wait(site: Site) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "core.hooksPath=/nowhere")
    site.git("desktop", *who, "tag", "-a", "-m", "x", "lab3/7")
    site.git("desktop", *who, "tag", "lab3/light")
    pending = {one.channel.name: one.pending for one in look(site).channels}
    assert pending == {"empty": (), "lab3": ("lab3/7", "lab3/light")}
    site.run("reconcile", code=4)
    site.git("desktop", *who, "tag", "-a", "-m", "x", "lab3/5")  # too late for it
    assert {one.channel.name: one.pending for one in look(site).channels}["lab3"] == ("lab3/light",)


def test_for_people(site: Site, tmp_path: Path) -> None:
    lines = site.run("status", cwd=tmp_path).stdout.splitlines()
    assert lines[0] == f"site {site.path}"
    assert lines[2].split() == ["REPO", "SNAPSHOT", "CHECKED", "IN", "LIVE", "TREE"]
    assert lines[3].endswith("  1 added, 1 modified")
    assert lines[4].split() == ["server", "-", "-", "nothing", "checked", "in", "yet"]
    assert lines[-5:] == [
        "CLIENTS  RUN",
        "1        nothing: empty has no release",
        "3        lab3/1",
        "2        desktop@main, pinned",
        "1        nothing: no channel, no pin",
    ]
    assert str(tmp_path / "desktop") in site.run("status", "--quick", cwd=tmp_path).stdout
    site.run("status", "--exit-code", cwd=tmp_path, code=1)
    site.run("status", "--exit-code", "--quick", cwd=tmp_path)
    site.run("checkin", "desktop", "-m", "second")
    (tmp_path / "site" / "live" / "lab" / "lab3" / "x").write_text("x")
    assert "nothing to check in" in site.run("status", cwd=tmp_path).stdout


def test_a_live_tree_behind_main_says_so(site: Site, tmp_path: Path) -> None:
    site.run("clone", "desktop", str(tmp_path / "clone"))
    who = ("-c", "user.name=A", "-c", "user.email=a@b")
    (tmp_path / "clone" / "etc" / "pushed").write_text("pushed\n")
    for words in (("add", "--all"), (*who, "commit", "-qm", "pushed"), ("push", "-q")):
        subprocess.run(["git", "-C", str(tmp_path / "clone"), *words], check=True)
    main = site.git("desktop", "rev-parse", "main").strip()
    value = site.json("status")
    VALIDATOR.validate(value)
    assert [one["main"] for one in value["repositories"]] == [{"commit": main, "behind": 1, "ahead": 0}, None, None]
    assert (
        site.run("status", cwd=tmp_path).stdout.splitlines()[3].endswith("  1 commit behind main, 1 added, 1 modified")
    )
    assert look(site, quick=True).trees[0].standing is None
    site.run("update", "desktop")
    assert "behind main" not in site.run("status", cwd=tmp_path).stdout


def test_inside_a_live_tree_it_is_that_tree(site: Site, tmp_path: Path) -> None:
    assert site.run("status", cwd=tmp_path / "desktop").stdout == site.run("status", "desktop").stdout
    for words in (("-z",), ("--times",), ("--live", str(tmp_path))):
        assert words[0] in site.run("status", *words, cwd=tmp_path, code=2).stderr
    assert "--quick and REPO" in site.run("status", "desktop", "--quick", code=2).stderr
    assert "is not a site" in Site(tmp_path / "nowhere").run("status", cwd=tmp_path, code=10).stderr


def test_what_can_not_be_looked_at_is_named(site: Site, tmp_path: Path) -> None:
    (site.repository("desktop") / "HEAD").rename(tmp_path / "HEAD")
    (tmp_path / "server").rename(tmp_path / "elsewhere")
    done = site.run("status", cwd=tmp_path, code=3)
    assert "desktop.git is not a git repository; and 1 more" in done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line}
    assert "desktop.git is not a git repository" in rows["desktop"]
    assert f"the live tree {tmp_path}/server of server is missing" in rows["server"]
    assert "nothing checked in yet" in rows["lab/lab3"]
    assert "lab3/1" in done.stdout


def test_boot_files_that_wait(site: Site, tmp_path: Path) -> None:
    with (site.path / "site.toml").open("a") as settings:
        settings.write(
            '[boot]\ninterface = "lo"\nserver = "10.77.0.1"\nnetwork = "10.77.0.0/24"\ndhcp = "none"\n'
            f'etc = "{tmp_path}/etc"\n'
        )
    done = site.run("status", cwd=tmp_path, code=3)
    assert "boot files: " in done.stdout
    assert "has no release" in done.stdout
    assert site.run("status", "--quick", cwd=tmp_path).stdout.splitlines()[-1] == "boot files: not looked at"


def test_a_directory_that_can_not_be_read_hides_nothing_else(site: Site, tmp_path: Path) -> None:
    nobody = f"ldapi://{str(tmp_path / 'nobody').replace('/', '%2F')}"
    with (site.path / "site.toml").open("a") as settings:
        settings.write(f'[boot]\n[directory]\nbackend = "ldap"\nbase = "dc=example,dc=org"\nuri = "{nobody}"\n')
    done = site.run("status", cwd=tmp_path, code=13)
    assert "1 added, 1 modified" in done.stdout
    assert f"\n\nchannels and clients: the directory can't be reached: {nobody}" in done.stdout
    assert "is slapd running?" in done.stderr
    value = json.loads(site.run("status", "--json", cwd=tmp_path, code=13).stdout)
    VALIDATOR.validate(value)
    assert value["repositories"][0]["edits"]["modified"] == 1
    assert nobody in value["problem"]


def test_an_empty_site(tmp_path: Path) -> None:
    done = make_site(tmp_path / "site").run("status", "--quick", cwd=tmp_path)
    assert done.stdout.splitlines()[:1] == [f"site {tmp_path}/site"]
    assert done.stderr == "no prototypes yet: gitstate prototype create NAME\n"


def test_for_programs(site: Site, tmp_path: Path) -> None:
    for words in ((), ("--quick",)):
        value = json.loads(site.run("status", "--json", *words, cwd=tmp_path).stdout)
        VALIDATOR.validate(value)
    assert value["quick"] is True
    assert [one["clients"] for one in value["clients"]] == [1, 3, 2, 1]
