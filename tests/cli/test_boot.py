"""gitstate boot: what people and scripts are shown, and how it ends."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from tests.boot.files.harness import OPTIONS, Harness, forget, looks, make
from tests.gitstate_command import git
from tests.lab.netlab import NetLab, netlab
from tests.lab.servers import dnsmasq, foreign_dhcp
from tests.support import PROJECT, needs, require, root_only

pytestmark = [root_only, needs("git", "gzip", "setcap", "setfacl")]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The site that tests copy, with three clients in its directory."""
    path = tmp_path_factory.mktemp("boot") / "site"
    make(path)
    site = Harness(path.parent).command
    for number, (name, tag) in enumerate((("one", "one"), ("two", "one"), ("other", "two")), 1):
        site.run("client", "add", name, "--mac", f"52:54:00:00:00:0{number}", "--pin", f"desktop@{tag}")
    yield path
    forget(path.parent)


@pytest.fixture
def harness(original: Path, tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(tmp_path).begin(original)
    yield harness
    forget(tmp_path)


def faults(value: Any) -> list[str]:
    """What breaks the shape that --json prints."""
    schemas = [
        json.loads((PROJECT / "schemas" / f"{n}.schema.json").read_text()) for n in ("definitions", "boot-write")
    ]
    registry: Any = Registry().with_resources([(one["$id"], Resource.from_contents(one)) for one in schemas])
    return [fault.message for fault in Draft202012Validator(schemas[1], registry=registry).iter_errors(value)]


def test_a_table_tells_what_changed(harness: Harness) -> None:
    done = harness.command.run("boot", "write")
    first = sum(path.is_file() for path in (harness.tftp / "boot").iterdir())
    assert done.stdout.splitlines() == [
        "                      new  changed  removed  unchanged",
        "exports               2    0        0        0",
        "kernels and initrds   2    0        0        0",
        "scripts of machines   3    0        0        0",
        f"boot loaders          {first}    0        0        0",
        "scripts of snapshots  2    0        0        0",
        "server configuration  4    0        0        0",
    ]
    assert done.stderr == "needs reload: dnsmasq, nfs, nginx; next: gitstate boot write --reload\n"
    harness.whole()
    assert harness.command.out("boot", "write") == "nothing to write: 3 clients, 2 snapshots"


def test_one_client_changes(harness: Harness) -> None:
    harness.command.run("boot", "write")
    harness.command.run("client", "set", "two", "--pin", "desktop@two")
    assert harness.command.out("boot", "write").splitlines() == [
        "                     new  changed  removed  unchanged",
        "scripts of machines  0    1        0        2",
    ]
    harness.command.run("client", "remove", "two", "one")
    assert "scripts of machines  0    0        2        1" in harness.command.out("boot", "write")
    assert len(list(harness.machines.iterdir())) == 1


def test_a_rehearsal_with_a_diff(harness: Harness) -> None:
    harness.command.run("boot", "write")
    harness.command.run("client", "set", "two", "--pin", "desktop@two")
    before = looks(harness.path)
    lines = harness.command.out("boot", "write", "-n", "--diff").splitlines()
    name = "tftp/boot/mac/52-54-00-00-00-02.ipxe"
    assert lines[:2] == [f"--- a/{name}", f"+++ b/{name}"]
    assert f"-chain --autofree ../../desktop/{harness.commit('one')}/boot.ipxe" in lines
    assert f"+chain --autofree ../../desktop/{harness.commit('two')}/boot.ipxe" in lines
    assert lines[-1] == "scripts of machines  0    1        0        2"
    assert looks(harness.path) == before


def test_a_diff_of_what_comes_and_goes(harness: Harness) -> None:
    text = harness.command.out("boot", "write", "--diff")
    assert "--- /dev/null\n+++ b/etc/gitstate/dnsmasq.conf\n@@ " in text
    assert "Binary files /dev/null and b/tftp/boot/undionly.kpxe differ" in text
    harness.configure(http=False)
    text = harness.command.out("boot", "write", "--diff")
    assert "--- a/etc/nginx/conf.d/gitstate.conf\n+++ /dev/null\n" in text
    assert harness.command.out("boot", "write", "--diff") == "nothing to write: 3 clients, 2 snapshots"


def test_a_long_diff_is_cut(harness: Harness) -> None:
    many = [word for n in range(300) for word in ("--mac", f"52:54:00:00:{n >> 8 | 16:02x}:{n & 255:02x}")]
    harness.command.run("client", "set", "one", *many)
    lines = harness.command.out("boot", "write", "-n", "--diff").splitlines()
    assert 2000 < len(lines) < 2015
    assert any(line.startswith("… and ") and line.endswith(" more files") for line in lines)


def test_json(harness: Harness) -> None:
    rehearsed = harness.command.json("boot", "write", "-n")
    written = harness.command.json("boot", "write")
    assert faults(rehearsed) == faults(written) == []
    assert rehearsed == written | {"dry_run": True}
    assert (written["clients"], written["snapshots"], written["removed"], written["diff"]) == (3, 2, [], None)
    assert [one["directory"] for one in written["kernels"]] == sorted(str(harness.image(tag)) for tag in ("one", "two"))
    assert {one["restored"] for one in written["kernels"]} == {4}
    assert {one["path"] for one in written["written"]} >= {
        str(harness.script(1)),
        str(harness.etc / "gitstate/dnsmasq.conf"),
    }
    assert written["needs_reload"] == ["dnsmasq", "nfs", "nginx"]
    harness.script(1).write_text(harness.script(1).read_text() + "x")
    harness.command.run("client", "remove", "two")
    again = harness.command.json("boot", "write", "--diff", "--reload")
    assert faults(again) == []
    assert again["written"] == [{"path": str(harness.script(1)), "status": "M"}]
    assert again["removed"] == [str(harness.script(2))]
    assert "\n-x\n" in again["diff"] + "\n" or "-x" in again["diff"]
    assert {one["server"]: one["outcome"] for one in again["reloads"]}.keys() == {"dnsmasq", "nfs", "nginx"}


def test_errors(harness: Harness) -> None:
    run = harness.command.run
    harness.machines.parent.mkdir()
    (harness.tftp / "boot" / "boot.ipxe").write_text("mine\n")
    assert "boot/boot.ipxe" in run("boot", "write", code=4).stderr
    (harness.tftp / "boot" / "boot.ipxe").unlink()
    git(harness.command.repository("desktop"), "-c", "core.hooksPath=/dev/null", "tag", "-d", "two")
    printed = run("boot", "write", code=10).stderr
    assert all(value in printed for value in ("desktop", "'two'", "other"))
    harness.configure(dhcp="both")
    assert "boot.dhcp" in run("boot", "write", code=7).stderr
    assert run("boot", code=2).stderr.startswith("Usage: gitstate boot")
    assert run("boot", "wriet", code=2).stderr


def test_a_kept_boot_loader_is_mentioned(harness: Harness) -> None:
    harness.command.run("boot", "write")
    loader = harness.tftp / "boot" / "undionly.kpxe"
    loader.write_bytes(b"built here")
    done = harness.command.run("boot", "write")
    assert str(loader) in done.stderr
    assert harness.command.json("boot", "write")["kept"] == [str(loader)]


@pytest.mark.parametrize("how", ["--reload", "-n --reload"])
def test_telling_without_systemd(harness: Harness, how: str) -> None:
    if Path("/run/systemd/system").exists():
        pytest.skip("systemd runs here")
    lines = harness.command.out("boot", "write", *how.split()).splitlines()
    told = [line for line in lines if ": by hand: " in line]
    assert len(told) == (0 if "-n" in how else 3)
    if told:
        assert f"dnsmasq: by hand: dnsmasq --conf-file={harness.etc}/gitstate/dnsmasq.conf" in told
        assert harness.command.run("boot", "write").stderr == ""


@pytest.fixture
def reachable(original: Path) -> Iterator[Harness]:
    """A site where a server reaches its files, which it doesn't below pytest's own directory."""
    path = Path(tempfile.mkdtemp(prefix="gitstate-boot-"))
    path.chmod(0o755)
    yield Harness(path).begin(original)
    forget(path)


# --- with a network and a system of its own ---------------------------------------------------------------------------


@pytest.fixture
def lab() -> Iterator[NetLab]:
    require("dnsmasq", "ip", "unshare", "nsenter", "groupadd", "usermod")
    with netlab() as lab:
        lab.do(
            "sh", "-c", "mkdir /run/u /run/w && mount -t overlay -o lowerdir=/etc,upperdir=/run/u,workdir=/run/w o /etc"
        )
        yield lab


def inside(lab: NetLab, harness: Harness, *words: str, code: int = 0) -> str:
    """What gitstate says in the lab."""
    environment = {**os.environ, "GITSTATE_SITE": str(harness.site.path), "PYTHONPATH": str(PROJECT)}
    done = lab.run(sys.executable, "-m", "gitstate", *words, environment=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.lab
def test_our_own_dhcp_is_refused_beside_another(reachable: Harness, lab: NetLab) -> None:
    harness = reachable
    own = {"dhcp": "own", "range": ["10.77.0.100", "10.77.0.200"], "interface": "br0"}
    harness.configure(**own)
    with foreign_dhcp(lab):
        before = looks(harness.path)
        said = inside(lab, harness, "boot", "write", code=4)
        assert "another DHCP server answers on br0: 10.77.0.2" in said
        assert 'dhcp = "proxy"' in said
        assert looks(harness.path) == before
        inside(lab, harness, "boot", "write", "-n", code=4)
        harness.configure(**OPTIONS | {"interface": "br0"})
        inside(lab, harness, "boot", "write")
        harness.configure(**own)
        inside(lab, harness, "boot", "write", code=4)
    inside(lab, harness, "boot", "write")
    dnsmasq(lab, harness.etc / "gitstate" / "dnsmasq.conf")
    assert "nothing to write" in inside(lab, harness, "boot", "write")
    harness.configure(**own | {"range": ["10.77.0.100", "10.77.0.150"]})
    assert "server configuration  0    1" in inside(lab, harness, "boot", "write"), "we ourselves are no other server"


@pytest.mark.lab
def test_a_group_is_made_and_nginx_joins_it(harness: Harness, lab: NetLab) -> None:
    harness.configure(group="gitstate-test")
    said = inside(lab, harness, "boot", "write", "-n")
    assert "group gitstate-test would be made\nuser www-data would be made a member of group gitstate-test" in said
    said = inside(lab, harness, "boot", "write")
    assert "group gitstate-test made\nuser www-data made a member of group gitstate-test" in said
    name, _, number, members = lab.do("getent", "group", "gitstate-test").strip().split(":")
    assert (name, members) == ("gitstate-test", "www-data")
    assert {path.stat().st_gid for path in [harness.tftp, *harness.tftp.rglob("*")]} == {int(number)}
    assert "nothing to write" in inside(lab, harness, "boot", "write")
    assert "gitstate-test" not in Path("/etc/group").read_text()
