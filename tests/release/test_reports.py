"""Reports of hardware: kept in site.git, classes set by the rules, sent by ssh from the machine itself."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitstate.core.errors import DamagedError, UsageError
from gitstate.core.signature import Signature
from gitstate.directory import open_directory
from gitstate.machine.hardware.match import SHIPPED
from gitstate.machine.hardware.reports import REF, Reports
from gitstate.store.site import Site
from tests.gitstate_command import git
from tests.release.harness import Harness
from tests.release.sshd import Server, serving
from tests.support import PROJECT, computed, needs, root_only
from tests.testing.sysfs import MACHINES, plant

pytestmark = [root_only, needs("git")]

ADA = Signature("Ada Lovelace <ada@example.org>", 1_700_000_000, "+0100")


def report(machine: str = "nvidia desktop", **values: Any) -> dict[str, Any]:
    """What a machine of these devices says."""
    devices = [
        {"slot": f"0000:00:{number:02x}.0", "vendor": None, "device": None, "class": None, "modalias": one}
        for number, one in enumerate(MACHINES[machine])
    ]
    plain = {"schema": "probe/1", "host": "lab3-12", "architecture": "x86_64", "cpus": 4, "memory": 8 << 30}
    return {**plain, "dmi": {}, "pci": devices, "network": [], "disks": [], **values}


def written(place: Path, value: object) -> str:
    file = place / "report.json"
    file.write_text(json.dumps(value))
    return str(file)


@pytest.fixture
def lab(harness: Harness) -> Harness:
    """Two machines, and rules."""
    harness("client", "add", "lab3-12")
    harness("client", "add", "lab3-13")
    harness("class", "set", "--shipped")
    return harness


def commits(harness: Harness) -> int:
    return int(harness.releases("rev-list", "--count", REF))


# --- on the server ----------------------------------------------------------------------------------------------------


def test_a_report_is_kept_and_sets_classes(lab: Harness) -> None:
    file = written(lab.place, report())
    foreseen = lab("client", "report", "lab3-12", file, "-n")
    assert foreseen.splitlines() == [
        "lab3-12: would keep its report",
        "lab3-12: would be of class nvidia (before: none)",
    ]
    assert Reports(Site(lab.site)).get("lab3-12") is None
    said = lab("client", "report", "lab3-12", file, "--author", "Ada <ada@example.org>")
    assert said.splitlines() == ["lab3-12: kept its report", "lab3-12: class nvidia (before: none)"]
    assert lab.json("client", "show", "lab3-12")["client"]["classes"] == ["nvidia"]
    assert json.loads(lab.releases("show", f"{REF}:lab3-12.json")) == report()
    assert lab.releases("log", "--format=%an %s", REF) == "Ada lab3-12 reports its hardware"
    told = lab("client", "show", "lab3-12")
    assert "4 x x86_64" in told
    assert "8.0 GiB" in told


def test_what_a_machine_runs_is_kept_beside_its_hardware(lab: Harness) -> None:
    """Nothing is rendered from it, so that a boot of another snapshot changes no machine archive."""
    one, two = (f"desktop@{letter * 40}" for letter in "ab")
    says = written(lab.place, report(running={"snapshot": one, "release": "lab3/1"}))
    assert "lab3-12: runs desktop@aaaaaaa (lab3/1)" in lab("client", "report", "lab3-12", says).splitlines()
    hardware = Reports(Site(lab.site)).blobs()
    assert "running" not in json.loads(lab.releases("show", f"{REF}:lab3-12.json"))
    for _ in range(2):  # the second is no news
        lab(
            *("client", "report", "lab3-12"),
            written(lab.place, report(running={"snapshot": two, "release": None})),
        )
    assert lab.releases("log", "-1", "--format=%s", REF) == "lab3-12 reports what it runs"
    assert commits(lab) == 2
    assert Reports(Site(lab.site)).blobs() == hardware
    found = {one["name"]: one["running"] for one in lab.json("client", "list")["clients"]}
    assert found == {"lab3-12": {"snapshot": two, "release": None}, "lab3-13": None}
    assert [line.split()[-1] for line in lab("client", "list").splitlines()] == ["REPORTS", "desktop@bbbbbbb", "-"]
    assert lab.json("client", "show", "lab3-12")["running"] == found["lab3-12"]
    assert "reports   desktop@bbbbbbb" in lab("client", "show", "lab3-12")
    lab("client", "report", "lab3-12", written(lab.place, report()))  # of an older client program
    assert lab.json("client", "show", "lab3-12")["running"] == found["lab3-12"]


@pytest.mark.parametrize("snapshot", ["desktop", "desktop@12", f"@{'a' * 40}", f"a b@{'a' * 40}", None, 7])
def test_what_is_no_snapshot_is_refused(lab: Harness, snapshot: object) -> None:
    says = written(lab.place, report(running={"snapshot": snapshot, "release": None}))
    lab("client", "report", "lab3-12", says, code=2)
    assert Reports(Site(lab.site)).running() == {}


def test_what_is_no_news_writes_nothing(lab: Harness) -> None:
    lab("client", "report", "lab3-12", written(lab.place, report()))
    before = git(lab.site / "directory.git", "rev-parse", "main")
    for same in (report(), report(host="localhost"), report(memory=(8 << 30) - 20_000_000)):
        assert lab("client", "report", "lab3-12", written(lab.place, same)) == "lab3-12: its hardware is as it was"
    assert commits(lab) == 1
    assert git(lab.site / "directory.git", "rev-parse", "main") == before
    lab("client", "report", "lab3-12", written(lab.place, report("intel laptop")))
    assert commits(lab) == 2
    assert lab.json("client", "show", "lab3-12")["client"]["classes"] == ["intel"]


def test_all_that_fit_or_the_first(lab: Harness) -> None:
    file = written(lab.place, report("two graphics cards"))
    lab("client", "report", "lab3-12", file)
    assert lab.json("client", "show", "lab3-12")["client"]["classes"] == ["nvidia"]
    with (lab.site / "site.toml").open("a") as settings:
        settings.write('\n[layers]\nclasses = "all"\n')
    lab("client", "report", "lab3-12", file)
    assert lab.json("client", "show", "lab3-12")["client"]["classes"] == ["intel", "nvidia"]
    assert [one["class"] for one in lab.json("class", "of", "lab3-12")["classes"]] == ["nvidia", "intel"]


def test_without_rules_classes_stay(harness: Harness) -> None:
    harness("client", "add", "lab3-12")
    harness("class", "set", "x", "10de:*")
    harness("client", "report", "lab3-12", written(harness.place, report()))
    harness("class", "remove", "x")
    assert harness.json("client", "show", "lab3-12")["client"]["classes"] == ["x"]
    harness("client", "report", "lab3-12", written(harness.place, report("intel laptop")))
    assert harness.json("client", "show", "lab3-12")["client"]["classes"] == ["x"]


def test_rules_that_change_move_clients(lab: Harness) -> None:
    lab("client", "report", "lab3-12", written(lab.place, report("two graphics cards")))
    lab("client", "report", "lab3-13", written(lab.place, report("QEMU, virtio")))
    foreseen = lab("class", "set", "intel", "--order", "5", "-n").splitlines()
    assert foreseen == ["would set intel: 8086:*:03, order 5", "lab3-12: class intel (before: nvidia)"]
    assert lab.json("client", "show", "lab3-12")["client"]["classes"] == ["nvidia"]
    assert lab("class", "set", "intel", "--order", "5").splitlines()[1] == foreseen[1]
    assert lab.json("client", "show", "lab3-12")["client"]["classes"] == ["intel"]
    assert lab.json("client", "show", "lab3-13")["client"]["classes"] == ["virtual"]
    lab("class", "remove", "intel", "virtual")
    assert lab.json("client", "show", "lab3-12")["client"]["classes"] == ["nvidia"]
    assert lab.json("client", "show", "lab3-13")["client"]["classes"] == []
    assert lab("class", "set", "nvidia", "10DE:*:03") == "nothing to change"


def test_rules_again_finish_what_was_interrupted(lab: Harness) -> None:
    """Killed between the two changes, the rules were others and the clients weren't."""
    lab("client", "report", "lab3-12", written(lab.place, report("two graphics cards")))
    intel = replace(SHIPPED[1], order=5)
    open_directory(Site(lab.site)).change_classes([intel], [], ADA, "half of it")
    assert lab("class", "set", "intel", "--order", "5") == "lab3-12: class intel (before: nvidia)"
    assert lab.json("client", "show", "lab3-12")["client"]["classes"] == ["intel"]


def test_the_rules_in_a_table(lab: Harness) -> None:
    lab.layer("class/nvidia")
    lab("client", "report", "lab3-12", written(lab.place, report()))
    lines = [line.split() for line in lab("class", "list").splitlines()]
    assert lines[:3] == [
        ["ORDER", "NAME", "LAYER", "CLIENTS", "PATTERNS"],
        ["10", "nvidia", "yes", "1", "10de:*:03"],
        ["20", "intel", "no", "0", "8086:*:03"],
    ]


def test_what_a_machine_would_be(lab: Harness) -> None:
    file = lab.place / "lspci"
    file.write_text("00:02.0 0300: 8086:0a16 (rev 0b)\n00:19.0 0200: 10de:155a\n")
    found = lab.json("class", "test", str(file))["classes"]
    assert [(one["class"], one["pattern"]) for one in found] == [("intel", "8086:*:03")]
    file.write_text("00:19.0 0200: 10de:155a\n")
    assert lab("class", "test", str(file)) == "no class fits"


@pytest.mark.parametrize(
    ("words", "code", "what"),
    [
        (("client", "report", "lab3-14", "FILE"), 10, "no client lab3-14"),
        (("client", "report", "../lab3-12", "FILE"), 2, "not a host name"),
        (("client", "report", "lab3-12", "/nowhere"), 10, "/nowhere"),
        (("client", "report", "lab3-12", "/proc/version"), 2, "JSON"),
        (("client", "report", "lab3-12", "/dev/zero"), 2, "64 KiB"),
        (("class", "of", "lab3-13"), 10, "lab3-13"),
        (("class", "of", "lab3-14"), 10, "no client"),
        (("class", "remove", "nvida"), 10, "no hardware class nvida"),
        (("class", "set"), 2, "PATTERN"),
        (("class", "set", "x"), 2, "no pattern"),
        (("class", "set", "x", "nvidia"), 2, "not a pattern"),
        (("class", "set", "../x", "10de:*"), 2, "not a hardware class"),
        (("class", "set", "NVIDIA", "10de:*"), 2, "nvidia already"),
        (("class", "set", "x", "10de:*", "--order", "many"), 2, "not an order number"),
        (("class", "set", "x", "10de:*", "--shipped"), 2, "--shipped"),
        (("class", "set", "x", "10de:*", "-m", " "), 2, "message"),
        (("class", "test", "/proc/version"), 2, "line 1"),
    ],
)
def test_what_is_refused(lab: Harness, words: tuple[str, ...], code: int, what: str) -> None:
    before = git(lab.site / "directory.git", "rev-parse", "main")
    good = written(lab.place, report())
    said = lab.fails(code, *[good if word == "FILE" else word for word in words])
    assert what in said
    assert len(said.splitlines()) <= 2
    assert git(lab.site / "directory.git", "rev-parse", "main") == before
    assert Reports(Site(lab.site)).blobs() == {}


# --- the store --------------------------------------------------------------------------------------------------------


def test_a_thousand_reports(tmp_path: Path) -> None:
    """One tree tells of all, and nobody's report is parsed who isn't asked for."""
    reports = Reports(Site.create(tmp_path / "site"))
    assert (dict(reports.all()), reports.blobs(), reports.get("x")) == ({}, {}, None)
    reports.put("lab3-0", report(host="lab3-0"), (ADA, ADA))
    _copy_to_many(tmp_path / "site" / "site.git", 1000)
    start = computed()
    found = Reports(Site(tmp_path / "site")).all()
    assert len(found) == 1000
    assert found["lab3-777"]["cpus"] == 4
    assert computed() - start < 0.5
    assert reports.put("lab3-777", report("intel laptop"), (ADA, ADA))
    assert reports.get("lab3-777") != reports.get("lab3-776")
    assert len(reports.blobs()) == 1000
    assert git(tmp_path / "site" / "site.git", "fsck", "--strict").strip() == ""


def _copy_to_many(repository: Path, count: int) -> None:
    oid = git(repository, "rev-parse", f"{REF}:lab3-0.json").strip()
    lines = "".join(f"100644 blob {oid}\tlab3-{number}.json\n" for number in range(count))
    words = ["git", f"--git-dir={repository}", "mktree"]
    tree = subprocess.run(words, input=lines, capture_output=True, text=True, check=True).stdout.strip()
    tip = git(repository, "rev-parse", REF).strip()
    new = git(repository, "-c", "user.name=x", "-c", "user.email=x", "commit-tree", tree, "-p", tip, "-m", "many")
    git(repository, "update-ref", REF, new.strip())


def test_many_at_once(tmp_path: Path) -> None:
    """A lab is switched on: nobody's report is lost, while somebody publishes, too."""
    site = Site.create(tmp_path / "site")
    reports = Reports(site)
    reports.put("a", report(), (ADA, ADA))
    hosts = [f"lab3-{number}" for number in range(12)]
    with site.releases().lock("a release"), ThreadPoolExecutor(6) as pool:
        assert all(pool.map(lambda host: Reports(site).put(host, report(), (ADA, ADA)), hosts))
    assert set(reports.blobs()) == {"a", *hosts}


def test_what_stands_there_by_hand(tmp_path: Path) -> None:
    """It stops whoever asks for that host alone, and the next report mends it."""
    site = Site.create(tmp_path / "site")
    reports = Reports(site)
    for host in ("a", "b"):
        reports.put(host, report(), (ADA, ADA))
    repository = tmp_path / "site" / "site.git"
    words = ["git", f"--git-dir={repository}", "hash-object", "-w", "--stdin"]
    oid = subprocess.run(words, input=b"[]", capture_output=True, check=True).stdout.decode().strip()
    lines = git(repository, "ls-tree", REF).splitlines()
    text = "".join(
        f"100644 blob {oid if line.endswith('a.json') else line.split()[2]}\t{line[-6:]}\n" for line in lines
    )
    tree = subprocess.run([*words[:2], "mktree"], input=text, capture_output=True, text=True, check=True).stdout.strip()
    new = git(repository, "-c", "user.name=x", "-c", "user.email=x", "commit-tree", tree, "-m", "by hand")
    git(repository, "update-ref", REF, new.strip())
    with pytest.raises(DamagedError, match=r"a\.json"):
        reports.get("a")
    assert reports.get("b") is not None
    assert reports.put("a", report(), (ADA, ADA))
    assert reports.get("a") is not None
    with pytest.raises(UsageError):
        reports.put("a/b", report(), (ADA, ADA))


# --- by ssh -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(lab: Harness) -> Iterator[Server]:
    """An sshd with a key that is for pushes and reports."""
    with serving(lab.place / "ssh", lab.site) as server:
        yield server


ssh = needs("sshd", "sudo", "ssh", "unshare")


@ssh
def test_by_ssh(lab: Harness, server: Server) -> None:
    done = server.ssh("report lab3-12", json.dumps(report()).encode())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["lab3-12: kept its report", "lab3-12: class nvidia (before: none)"]
    assert lab.releases("log", "--format=%an", REF).startswith("pusher")
    assert server.ssh("report LAB3-12", json.dumps(report()).encode()).stdout == "lab3-12: its hardware is as it was\n"


@ssh
@pytest.mark.parametrize(
    ("command", "said", "code", "what"),
    [
        ("report lab3-14", json.dumps(report()).encode(), 10, "no client lab3-14"),
        ("report lab3-12", b"", 2, "JSON"),
        ("report lab3-12", b"\xff\0", 2, "not UTF-8"),
        pytest.param("report lab3-12", b"[" * 60_000, 2, "nested", id="nested"),
        pytest.param("report lab3-12", b"x" * 50_000_000, 2, "64 KiB", id="long"),
        ("report lab3-12", json.dumps(report(host=["x"])).encode(), 2, "host "),
        ("report", b"", 2, "not served"),
        ("report ../../etc/passwd", b"{}", 2, "not a host name"),
        ("report lab3-12;id", b"{}", 2, "not a host name"),
        ("report lab3-12 lab3-13", b"{}", 2, "not served"),
        ("report --help", b"{}", 2, "not a host name"),
        ("report lab3-12\nreport lab3-13", b"{}", 2, "not served"),
    ],
)
def test_hostile_by_ssh(lab: Harness, server: Server, command: str, said: bytes, code: int, what: str) -> None:
    done = server.ssh(command, said)
    assert done.returncode == code, done
    assert what in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert (done.stdout, Reports(Site(lab.site)).blobs()) == ("", {})


@ssh
def test_a_key_for_reports_alone(lab: Harness) -> None:
    with serving(lab.place / "ssh", lab.site, "--report-only") as server:
        assert server.ssh("report lab3-12", json.dumps(report()).encode()).returncode == 0
        for command in ("git-upload-pack 'desktop'", "git-receive-pack 'desktop'", "", "sh"):
            done = server.ssh(command)
            assert done.returncode == 2
            assert "with this key" in done.stderr or "no shell" in done.stderr
        assert server.git(lab.place, "clone", "-q", server.url("desktop"), "work").returncode
    assert Reports(Site(lab.site)).blobs().keys() == {"lab3-12"}


@ssh
@needs("dash", "busybox")
@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]], ids=lambda words: words[0])
def test_from_the_machine_itself(lab: Harness, tmp_path: Path, shell: list[str]) -> None:
    root, programs = tmp_path / "root", tmp_path / "programs"
    plant(root / "sys", MACHINES["nvidia desktop"])
    (root / "run" / "gitstate").mkdir(parents=True)
    (root / "run" / "gitstate" / "about").write_text("HOST='lab3-13'\nSERVER='127.0.0.1'\n")
    (root / "etc" / "gitstate").mkdir(parents=True)
    programs.mkdir()
    environment = {
        **os.environ,
        "GITSTATE_ROOT": str(root),
        "GITSTATE_LIB": str(PROJECT / "hooks"),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }

    def machine(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [*shell, str(PROJECT / "hooks/client/gitstate"), "probe", *words]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)

    with serving(lab.place / "ssh", lab.site, "--report-only") as server:
        _give_ssh(programs / "ssh", server)
        (root / "etc" / "gitstate" / "report_key").write_bytes((server.place / "key").read_bytes())
        (root / "etc" / "gitstate" / "report_key").chmod(0o600)
        done = machine("--report", "pusher@127.0.0.1")
        assert (done.returncode, done.stderr) == (0, ""), done
        assert done.stdout.splitlines() == ["lab3-13: kept its report", "lab3-13: class nvidia (before: none)"]
        (root / "run" / "gitstate" / "about").write_text("HOST='nobody'\n")
        done = machine("--report", "pusher@127.0.0.1")
        assert (done.returncode, done.stderr.splitlines()[0]) == (10, "gitstate: no client nobody")
        assert machine("--report").returncode == 10
        assert machine("--report", "-oProxyCommand=id").returncode == 2
        assert machine("--report", "a", "b").returncode == 2
        (root / "run" / "gitstate" / "about").write_text("HOST='a b'\n")
        assert machine("--report", "pusher@127.0.0.1").returncode == 2
    (root / "run" / "gitstate" / "about").write_text("HOST='lab3-13'\n")
    done = machine("--report", "pusher@127.0.0.1")
    assert (done.returncode, "could not be reached" in done.stderr) == (6, True)


def _give_ssh(program: Path, server: Server) -> None:
    """The real ssh, told of the port and of whose host key counts, as a machine's own configuration would."""
    known = server.place / "known_hosts"
    settings = ["-F", "none", "-p", str(server.port), "-o", f"UserKnownHostsFile={known}"]
    words = shlex.join(["/usr/bin/ssh", *settings, "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"])
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)


# --- machine archives -------------------------------------------------------------------------------------------------


@pytest.fixture
def graphics(boots: Harness) -> Harness:
    """A channel with a layer for a hardware class, released; its machine hasn't reported yet."""
    boots("class", "set", "nvidia", "10de:*:03")
    live = boots.layer("class/nvidia")
    (live / "etc" / "gpu.j2").write_text("{{ hardware.cpus }}\n")
    boots("checkin", "class/nvidia", "-m", "gpu")
    boots("client", "add", "lab3-13", "--channel", "lab3")
    for host in ("lab3-12", "lab3-13"):
        boots("client", "report", host, written(boots.place, report("intel laptop")))
    boots("push", "desktop", "lab3", "--yes")
    return boots


def archive_of(harness: Harness, host: str) -> bytes:
    return (harness.site / f"tftp/archives/lab3/1/{host}.cpio").read_bytes()


@needs("cpio", "setfacl", "setcap")
def test_a_report_gives_the_machine_its_layers(graphics: Harness) -> None:
    other = archive_of(graphics, "lab3-13")
    assert b"gpu" not in archive_of(graphics, "lab3-12")
    said = graphics.run("client", "report", "lab3-12", written(graphics.place, report()))
    assert said.err == "machine archives of lab3/1 rebuilt: lab3-12\n"
    assert b"files/etc/gpu\0" in archive_of(graphics, "lab3-12")
    assert archive_of(graphics, "lab3-13") == other
    said = graphics.run("client", "report", "lab3-12", written(graphics.place, report()))
    assert said.err == ""
    said = graphics.run("class", "set", "nvidia", "10de:ffff")
    assert said.err == "machine archives of lab3/1 rebuilt: lab3-12\n"
    assert b"gpu" not in archive_of(graphics, "lab3-12")


@needs("cpio", "setfacl", "setcap")
def test_a_report_that_a_template_chokes_on(graphics: Harness) -> None:
    """It is kept, and told; what the machine boots stays."""
    before = archive_of(graphics, "lab3-12")
    said = graphics.fails(3, "client", "report", "lab3-12", written(graphics.place, report(cpus=None)))
    assert "that is saved, but machine archives are not updated: lab3-12: class/nvidia" in said
    assert archive_of(graphics, "lab3-12") == before
    assert graphics.json("client", "show", "lab3-12")["client"]["classes"] == ["nvidia"]
