"""Every object that --json prints holds to its schema, and every schema is printed by some command."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from gitstate.cli.base.app import app
from tests.cli.harness import edit, plant
from tests.gitstate_command import Site, git
from tests.support import PROJECT, needs, root_only
from tests.tree.prepare import harness as bootable

pytestmark = [root_only, needs("git", "setfacl", "setcap"), pytest.mark.xdist_group("json")]

SCHEMAS: Final = {
    path.name.removesuffix(".schema.json"): json.loads(path.read_text("utf-8"))
    for path in sorted((PROJECT / "schemas").glob("*.schema.json"))
}
NOT_PRINTED: Final = {"definitions", "layer", "policy", "probe", "site"}
OF_OPTIONS: Final = {
    "export-image",
    "machine-diff",
    "client-list-new",
    "site-status",
    "layer-clients",
    "layer-shipped",
    "verify-all",
}
"""What a command prints instead of its own shape if an option asks for it."""
PRINTED: Final = sorted(SCHEMAS.keys() - NOT_PRINTED - {"error"})
LOG: Final = PROJECT / "tests" / "boot" / "logs" / "proxy-bios-unknown.log"
REGISTRY: Final = Registry().with_resources([(one["$id"], Resource.from_contents(one)) for one in SCHEMAS.values()])


def faults(name: str, value: Any) -> list[str]:
    """What breaks the schema ``name``."""
    validator = Draft202012Validator(SCHEMAS[name], registry=REGISTRY)
    return [f"{'.'.join(map(str, fault.absolute_path))}: {fault.message}" for fault in validator.iter_errors(value)]


@dataclass
class Life:
    """A prototype's life: what each command printed, by the shape's name."""

    site: Site
    printed: dict[str, list[Any]] = field(default_factory=dict)
    errors: dict[int, list[Any]] = field(default_factory=dict)

    def __call__(self, *words: str, code: int = 0, cwd: Path | None = None) -> Any:
        """Run a command that prints a result, perhaps with an error besides."""
        done = self.site.run("--json", *words, code=code, cwd=cwd)
        lines = done.stdout.splitlines()
        assert len(lines) == 1, done.stdout
        value = json.loads(lines[0])
        self.printed.setdefault(value["schema"].removesuffix("/1"), []).append(value)
        if code > 1:
            self._error(done.stderr, code)
        else:
            assert done.stderr == ""
        return value

    def fails(self, code: int, *words: str) -> str:
        """Run a command that prints nothing but an error; its message."""
        done = self.site.run("--json", *words, code=code)
        assert done.stdout == ""
        return self._error(done.stderr, code)

    def _error(self, text: str, code: int) -> str:
        assert len(text.splitlines()) == 1, text
        value = json.loads(text)
        assert value["error"]["code"] == code
        self.errors.setdefault(code, []).append(value)
        return str(value["error"]["message"])


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    place = tmp_path_factory.mktemp("json")
    life = Life(Site(place / "site"))
    plant(place / "root")
    _begin(life, place)
    _look_back(life, place)
    _serve(life, place)
    _enter_clients(life)
    _know_hardware(life, place)
    _release(life)
    _prepare(life, place)
    _make_writable(life, place)
    _keep_secrets(life, place)
    _fail(life, place)
    _end(life, place)
    yield life
    shutil.rmtree(place)


def _begin(life: Life, place: Path) -> None:
    root = place / "root"
    life("help", "prototype", "create")
    life("init", "-n")
    life("init")
    assert life("prototype", "list") == {"schema": "prototype-list/1", "prototypes": []}
    create = ("prototype", "create", "desktop", "--live", str(root))
    life(*create, "-n")
    life(*create)
    assert life("prototype", "list")["prototypes"][0]["commit"] is None
    first = life("status", "desktop")
    assert first["base"] is None
    assert first["sockets"] == ["var/socket"]
    life("checkin", "desktop", "-m", "first", "-n")
    life("checkin", "desktop", "-m", "first")
    assert life("checkin", "desktop", "-m", "again")["commit"] is None
    edit(root)
    assert {one["status"] for one in life("status", "desktop")["changes"]} == set("AMDT")
    assert life("diff", "desktop", "--exit-code", code=1)["links"]
    life("restore", "desktop", "-n", "--all", "--delete")
    for more in (("-n",), ()):
        assert not life("update", "desktop", *more)["edited"]
    assert life("restore", "desktop", "etc/group")["metadata"] == 1
    life("checkin", "desktop", "-m", "second", "-n", "--branch", "other")
    assert life("checkin", "desktop", "-m", "second")["commit"]
    (root / "etc" / "ssh").mkdir()
    (root / "etc" / "ssh" / "ssh_host_rsa_key").write_text("key\n")
    assert life("status", "desktop")["refused"][0]["path"] == "etc/ssh/ssh_host_rsa_key"
    life("checkin", "desktop", "-m", "third", "-n", code=4)
    life.fails(4, "checkin", "desktop", "-m", "third")
    shutil.rmtree(root / "etc" / "ssh")
    assert life("restore", "desktop", "etc")["metadata"] == 1  # the directory's time


def _look_back(life: Life, place: Path) -> None:
    life("export", "desktop", "--oci", str(place / "image"), "-n")
    life("export", "desktop", "--oci", str(place / "image"))
    for more in (("-n",), ()):
        assert life("live", "desktop", *more)["trees"][0]["mode"] == "dir"
    life("log", "desktop")
    life("log", "desktop", "--", "etc/fstab")
    life("blame", "desktop", "etc/fstab")
    life("show", "desktop")
    life("show", "desktop", "HEAD~1", "HEAD")
    both = life("diff", "desktop", "HEAD~1", "HEAD")
    assert {one["path"] for one in both["changes"]} >= {"etc/fstab", "dev/sda", "usr/bin/false"}
    assert [one["links"] for one in both["links"]] == ["joined", "split"]
    life("export", "desktop", "HEAD~1", "-n")
    life("export", "desktop", "HEAD~1")
    life("export", "desktop", "-n")
    made = life("export", "desktop")
    assert made["linked"] > 0
    assert life("export", "desktop")["present"]
    assert life("manifest", "desktop")["entries"] > 20
    assert life("verify", "desktop")["equal"]
    life("verify", "--all")
    life("export", "desktop", "HEAD", "--to", str(place / "mine"))
    (place / "mine" / "etc" / "hosts").write_text("other\n")
    assert not life("verify", "desktop", "HEAD", str(place / "mine"), code=1)["equal"]
    life("clone", "desktop", str(place / "clone"), "-n")
    life("clone", "desktop", str(place / "clone"))
    life("fsck")
    life("gc", "-n")
    life("gc", "desktop")
    life("prototype", "show", "desktop")


def _release(life: Life) -> None:
    settings = life.site.path / "site.toml"
    settings.write_text(settings.read_text().partition("[boot]")[0])  # nothing here has a kernel
    assert life("channel", "list")["channels"] == []
    create = ("channel", "create", "lab3", "--prototype", "desktop")
    life(*create, "-n")
    life(*create)
    life("layer", "create", "lab/lab3", "-n")
    life("layer", "create", "class/intel", "--shipped", "-n")
    life.fails(10, "layer", "create", "class/none", "--shipped")
    assert not life("layer", "list", "--shipped")["layers"][0]["exists"]
    life("layer", "create", "lab/lab3")
    (life.site.path / "live" / "lab" / "lab3" / "motd").write_text("lab3\n")
    life("checkin", "lab/lab3", "-m", "motd")
    assert life("layer", "list")["layers"][0]["subject"] == "motd"
    assert life("layer", "list", "lab/lab3")["repository"] == "lab/lab3"
    for more in (("-n",), (), ()):
        life("layer", "owner", "lab/lab3", "lp:lp", "/motd", *more)
    life("layer", "owner", "lab/lab3", "-", "/motd")
    life("tag", "desktop", "as-installed", "HEAD~1", "-n")
    assert life("tag", "desktop", "as-installed", "HEAD~1")["channel"] is None
    life("push", "desktop", "lab3", "HEAD~1", "-n")
    assert life("push", "desktop", "lab3", "HEAD~1", "--yes")["release"]["release"] == "lab3/1"
    life("push", "desktop", "lab3", "--yes")
    _look_at_layers(life)
    assert not life("push", "desktop", "lab3", "--yes")["needed"]
    life("rollback", "lab3", "-n")
    life("rollback", "lab3")
    who = ("-c", "user.name=A", "-c", "user.email=a@b", "-c", "core.hooksPath=/dev/null")
    for name, words in (("lab3/9", ("-a", "-m", "x")), ("lab3/5", ("-a", "-m", "x")), ("lab3/light", ())):
        git(life.site.repository("desktop"), *who, "tag", name, *words)
        life("reconcile", "-n", code=4 if name == "lab3/light" else 0)
        life("reconcile", code=4 if name == "lab3/light" else 0)
    assert life("channel", "show", "lab3")["current"]["release"] == "lab3/9"
    assert life("channel", "list")["channels"]
    assert life("status", cwd=life.site.path)["channels"][0]["release"] == "lab3/9"
    _review(life)
    life("channel", "remove", "lab3", "--yes", "-n")
    life("channel", "remove", "lab3", "--yes")
    git(life.site.repository("desktop"), "tag", "-d", "lab3/light")


def _review(life: Life) -> None:
    life("client", "add", "lab3-21", "--channel", "lab3")
    commit = git(life.site.repository("desktop"), "rev-parse", "main").strip()
    sent = life.site.path.parent / "sent"
    digest = hashlib.sha256(b"x").hexdigest()
    head = f"gitstate-checkin 1\nsnapshot desktop@{commit}\nuser ada\ntime 0\nmessage edits\n"
    lines = [f"entry 1 1.000000000 1:1:1 f 0644 0 0 {digest} etc/{name}\n" for name in ("a", "b")]
    sent.write_bytes(f"{head}{''.join(lines)}end\n".encode() + b"xx")
    receive = ("review", "receive", "lab3-21", str(sent))
    assert life(*receive, "-n")["review"] is None
    review = life(*receive)["review"]
    assert life(*receive)["was_there"]
    life("review", "list")
    assert life("review", "show", review)["differences"][0]["repository"] == "desktop"
    for more in (("-n",), ()):
        split = life("review", "split", review, "etc/a", *more)["new"]
    for more in (("-n",), ()):
        life("review", "drop", split, *more)
        assert life("review", "merge", review, "--to", "lab/lab3", *more)["merged"][0]["to"] == "lab/lab3"
    life("client", "remove", "lab3-21")


def _look_at_layers(life: Life) -> None:
    live = life.site.path / "live" / "lab" / "lab3"
    (live / "etc").mkdir()
    (live / "etc" / "hosts.j2").write_text("127.0.0.1 {{ host }}\n")
    (live / "etc" / "x.json").write_text('{"a": 1, "b": [1]}\n')
    life("checkin", "lab/lab3", "-m", "hosts")
    life("push", "lab/lab3", "lab3", "--yes")
    (live / "etc" / "x.json").write_text('{"a": 2, "b": [1, {"c": null}]}\n')
    (live / "etc" / ".wh.fstab").touch()
    life("checkin", "lab/lab3", "-m", "x")
    version = life("push", "lab/lab3", "lab3", "--yes")["release"]["release"]
    life("client", "add", "lab3-20", "--channel", "lab3", "--layer", "lab/lab9")
    life("client", "add", "lab4-1")
    found = life("layer", "resolve", "lab3-20")
    assert ([one["repository"] for one in found["layers"]], found["release"]) == (["lab/lab3"], version)
    assert found["missing"] == [{"repository": "lab/lab9", "why": "named in the directory"}]
    assert life("layer", "resolve", "lab4-1")["prototype"] is None
    to = str(life.site.path.parent / "rendered")
    life("layer", "render", "lab3-20", "--to", to, "-n")
    assert life("layer", "render", "lab3-20", "--to", to)["entries"]
    life("layer", "render", "lab4-1")
    assert life("layer", "which", "lab3-20", "/etc/hosts")["layers"][0]["lines"][0]["number"] == 1
    assert life("layer", "which", "lab3-20", "etc/fstab", "--all")["image"]
    assert life("layer", "which", "lab3-20", "etc/passwd")["layers"] == []
    assert life("layer", "diff", "lab3-20", "lab3-20")["changes"] == []
    before = f"lab3/{int(version.partition('/')[2]) - 1}"
    assert life("diff", "lab3-20", "lab3-20")["layers"] == []
    keys = [one["keys"] for one in life("layer", "diff", "lab3-20", "--at", before, version)["changes"]]
    assert [one["key"] for one in keys[1]] == ["a", "b[1]"]
    assert life("layer", "diff", "lab3-20", "lab4-1", "--exit-code", code=1)["changes"]
    (live / "etc" / "hosts.j2").write_text("{{ nope }}\n")
    life("checkin", "lab/lab3", "-m", "broken")
    life("client", "set", "lab3-20", "--pin", "desktop@main")
    life.fails(7, "layer", "render", "lab3-20")
    life("client", "remove", "lab3-20", "lab4-1")


def _serve(life: Life, place: Path) -> None:
    with (life.site.path / "site.toml").open("a") as settings:
        settings.write('[boot]\ninterface = "lo"\nserver = "10.77.0.1"\nnetwork = "10.77.0.0/24"\ndhcp = "none"\n')
        settings.write(f'nfs = "ganesha"\nhttp = false\ngroup = "root"\netc = "{place}/etc"\n')
    (place / "etc").mkdir()
    life("boot", "write", "-n", "--diff")
    assert life("boot", "write")["written"]
    assert {one["state"] for one in life("doctor", code=1)["checks"]} == {"ok", "note", "bad"}
    assert life("client", "list", "--new")["machines"] == []
    (life.site.path / "log" / "dnsmasq.log").write_bytes(LOG.read_bytes())
    assert life("client", "list", "--new")["machines"][0]["firmware"] == "BIOS"


def _enter_clients(life: Life) -> None:
    assert life("client", "list") == {"schema": "client-list/1", "revision": None, "clients": []}
    add = ("client", "add", "lab3-12", "--mac", "52-54-00-12-34-56", "--ip", "10.77.0.12", "--pin", "desktop@main")
    assert life(*add, "-n")["revision"] is None
    assert life(*add)["changes"][0]["new"]["macs"] == ["52:54:00:12:34:56"]
    life("client", "add", "lab3-13", "--layer", "lab/lab4", "--state", "local", "--kind", "live")
    both = ("client", "set", "lab3-12", "lab3-13", "--workload", "kiosk")
    life(*both, "-n")
    assert len(life(*both)["changes"]) == 2
    assert life(*both)["revision"] is None
    assert [one["name"] for one in life("client", "list", "--prototype", "desktop")["clients"]] == ["lab3-12"]
    assert life("client", "show", "lab3-13")["last_change"]["subject"].startswith("client set")
    life("client", "remove", "lab3-13", "-n")
    life("client", "remove", "lab3-13")
    life.fails(2, "client", "add", "lab3-13", "--mac", "52:54:00:12:34:56")
    life.fails(10, "client", "show", "lab3-13")
    adopt = ("client", "adopt", "52:54:00:12:34:57", "lab3-14", "--force")
    life(*adopt, "-n")
    assert life(*adopt)["changes"][0]["old"] is None
    life("client", "remove", "lab3-14")
    machines = life.site.path.parent / "machines.csv"
    machines.write_text("name,mac,kind\nlab3-15,,\nlab3-12,,live\n=,,\n")
    words = ("client", "import", str(machines), "--skip-bad")
    assert life(*words, "-n", code=3)["bad"][0]["line"] == 4
    assert len(life(*words, code=3)["differing"]) == 1
    life("client", "remove", "lab3-15")
    text = life.site.path.parent / "all.ldif"
    text.write_text(life("directory", "export")["ldif"])
    life("client", "remove", "lab3-12")
    for more in (("-n",), ()):
        assert life("directory", "import", str(text), *more)["clients"] == ["lab3-12"]
    assert life("directory", "check")["problems"] == []


def _know_hardware(life: Life, place: Path) -> None:
    assert life("class", "list")["classes"] == []
    for more in (("-n",), ()):
        assert len(life("class", "set", "--shipped", *more)["classes"]) == 3
    report = place / "report.json"
    pci = {"slot": "0000:01:00.0", "vendor": "0x10de", "device": "0x1b81", "class": "0x030000"}
    pci["modalias"] = "pci:v000010DEd00001B81sv000019DAsd00001434bc03sc00i00"
    plain = {"schema": "probe/1", "host": "x", "architecture": None, "cpus": 4, "memory": None}
    report.write_text(json.dumps({**plain, "dmi": {}, "pci": [pci], "network": [], "disks": []}))
    for more in (("-n",), ()):
        assert life("client", "report", "lab3-12", str(report), *more)["classes"] == ["nvidia"]
    assert life("client", "show", "lab3-12")["hardware"]["pci"] == [pci]
    assert life("class", "of", "lab3-12")["classes"] == life("class", "test", str(report))["classes"] != []
    assert life("class", "list")["classes"][0]["clients"] == 1
    assert life("directory", "check")["classes"] == 3
    for more in (("-n",), ()):
        assert life("class", "remove", "nvidia", *more)["clients"][0]["before"] == ["nvidia"]
    life("class", "remove", "intel", "virtual")
    life.fails(10, "class", "remove", "nvidia")
    life.fails(5, "client", "report", "lab3-12", str(place))


def _prepare(life: Life, place: Path) -> None:
    bootable.dirty(bootable.plant(place / "bootable"))
    life("prototype", "create", "bootable", "--live", str(place / "bootable"))
    steps = life("prepare", "bootable", "-n")["steps"]
    assert {one["action"] for one in steps} == {"clear", "empty", "link", "remove", "write"}
    assert len(life("prepare", "bootable")["initrds"]) == 1
    assert life("prepare", "bootable")["steps"] == []
    (place / "bootable" / "usr" / "bin" / "setfattr").unlink()
    assert life("prepare", "bootable", "--install", "-n")["install"] == ["attr"]
    life.fails(5, "prepare", "bootable")
    life.fails(5, "prepare", "desktop")
    assert life("shell", "bootable", "-n", "--", "true")["program"] == ["true"]
    assert life("shell", "bootable", "-m", "m", "--", "touch", "/root/x")["recorded"]
    for verb in ("mount", "umount"):
        planned = life(verb, "bootable", "-n")["mounts"]
        assert life(verb, "bootable")["mounts"] == planned
    life("prototype", "remove", "bootable", "--yes")


def _make_writable(life: Life, place: Path) -> None:
    fstab = place / "root" / "etc" / "fstab"
    life.fails(10, "local", "add", "desktop", "/etc/fstab")
    empty = life("local", "list", "desktop")
    assert (empty["live"], empty["base"], empty["files"]) == (str(place / "root"), None, [])
    life("layer", "create", "base")
    for more in (("-n",), ()):
        assert life("local", "add", "desktop", "/etc/fstab", *more)["steps"][0]["tree"] == "base"
    fstab.unlink()
    assert life("local", "list", "desktop")["files"] == [{"path": "etc/fstab", "state": "missing", "original": "same"}]
    for more in (("-n",), (), ()):
        life("local", "fix", "desktop", *more)
    fstab.unlink()
    fstab.write_text("of a package\n")
    (life.site.path / "live" / "base" / "etc" / "fstab").write_text("mine\n")
    life.fails(12, "local", "fix", "desktop")
    for more in (("-n",), ()):
        assert life("local", "autofix", "desktop", *more)["kept"] == ["etc/fstab"]
    for more in (("-n",), ()):
        life("local", "remove", "desktop", "/etc/fstab", *more)
    life.fails(2, "local", "add", "desktop", "/etc/passwd")


def _keep_secrets(life: Life, place: Path) -> None:
    (place / "keytab").write_text("keys\n")
    for more in (("-n",), ()):
        assert not life("secret", "add", "lab3-12", "/etc/krb5.keytab", str(place / "keytab"), *more)["replaced"]
        assert len(life("secret", "renew", "lab3-12", *more)["keys"]) == 2
    listed = life("secret", "list", "lab3-12")["secrets"]
    assert [one["path"] for one in listed][:2] == ["etc/krb5.keytab", "etc/ssh/ssh_host_ecdsa_key"]
    assert life("secret", "known-hosts")["keys"][0]["names"] == ["lab3-12", "10.77.0.12"]
    for more in (("-n",), ()):
        assert life("secret", "remove", "lab3-12", "--all", *more)["paths"]
    life.fails(10, "secret", "remove", "lab3-12", "--all")


def _fail(life: Life, place: Path) -> None:
    life.fails(2, "frobnicate")
    life.fails(2)
    life.fails(2, "status", "--frobnicate")
    life.fails(2, "checkin", "desktop")
    life.fails(2, "status", "desktop", "-z")
    life.fails(2, "status", "a b")
    life.fails(2, "prototype", "remove", "desktop")
    life.fails(10, "status", "desktops")
    life.fails(10, "log", "desktop", "no-such-revision")
    life.fails(10, "status", "desktop", "--site", str(place))
    life.fails(5, "status", "desktop", "--live", str(place / "nowhere"))
    with open(life.site.repository("desktop") / "gitstate" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        life.fails(11, "checkin", "desktop", "-m", "x")
    git(place / "clone", "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x")
    git(place / "clone", "push", "-q")
    life.fails(12, "checkin", "desktop", "-m", "x")


def _end(life: Life, place: Path) -> None:
    fork = ("prototype", "create", "fork", "--from", "desktop@HEAD~1")
    life(*fork, "-n")
    life(*fork)
    assert len(life("prototype", "list")["prototypes"]) == 2
    for more in (("-n",), ()):
        life("prototype", "rename", "fork", "spare", *more)
    for more in (("-n",), ()):
        life("prototype", "remove", "spare", "--yes", *more)
    life("layer", "create", "workload/one")
    for verb in (("rename", "workload/one", "workload/two"), ("remove", "workload/two", "--yes")):
        life("layer", *verb, "-n")
        life("layer", *verb)
    packs = (life.site.repository("desktop") / "objects" / "pack").glob("*.pack")
    pack = max(packs, key=lambda path: path.stat().st_size)
    pack.chmod(0o600)
    data = bytearray(pack.read_bytes())
    data[len(data) // 2] ^= 0xFF
    pack.write_bytes(data)
    assert life("fsck", "desktop", code=14)["repositories"][0]["problems"]
    (life.site.repository("desktop") / "HEAD").unlink()
    life("fsck", code=5)
    assert life("prototype", "list", code=3)["prototypes"][0]["problem"]
    (life.site.path / "site.toml").write_text("version = 99\n")
    life.fails(7, "prototype", "list")


@pytest.mark.parametrize("name", PRINTED)
def test_what_is_printed_holds_to_its_schema(life: Life, name: str) -> None:
    assert life.printed.get(name), f"no command printed {name}: add one that does"
    found = [fault for value in life.printed[name] for fault in faults(name, value)]
    assert not found, "\n".join(found)


def test_every_shape_has_a_schema(life: Life) -> None:
    assert sorted(life.printed) == PRINTED
    assert {value["schema"] for values in life.printed.values() for value in values} == {f"{n}/1" for n in PRINTED}


def test_errors_hold_to_their_schema(life: Life) -> None:
    assert set(life.errors) == {2, 3, 4, 5, 7, 10, 11, 12, 14}
    found = [fault for values in life.errors.values() for value in values for fault in faults("error", value)]
    assert not found, "\n".join(found)
    assert all(value["error"]["message"] for values in life.errors.values() for value in values)


def test_what_is_left_undone_looks_as_what_is_done(life: Life) -> None:
    writing = [name for name in PRINTED if "dry_run" in SCHEMAS[name]["properties"]]
    assert len(writing) >= 10
    for name in writing:
        assert {value["dry_run"] for value in life.printed[name]} == {True, False}, name


def test_every_command_has_a_schema() -> None:
    def commands(group: click.Command, path: str) -> Iterator[str]:
        if not isinstance(group, click.Group):
            yield path
            return
        for name in group.list_commands(click.Context(group)):
            command = group.get_command(click.Context(group), name)
            assert command is not None
            if not command.hidden:
                yield from commands(command, f"{path}-{name}" if path else name)

    assert sorted({*commands(app, ""), *OF_OPTIONS}) == PRINTED


# --- the schemas themselves -------------------------------------------------------------------------------------------


def parts(schema: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside a schema."""
    if isinstance(schema, dict):
        if {"type", "$ref", "enum", "const", "anyOf"} & schema.keys() and "properties" not in where.split("/")[-1:]:
            yield where, schema
        for key, value in schema.items():
            yield from parts(value, f"{where}/{key}")
    elif isinstance(schema, list):
        for place, value in enumerate(schema):
            yield from parts(value, f"{where}/{place}")


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_schemas_are_strict_and_explained(name: str) -> None:
    schema = SCHEMAS[name]
    Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:gitstate:{name}:1"
    assert schema["title"]
    assert schema["description"]
    for where, part in parts(schema, name):
        if "properties" in part and part is not SCHEMAS["definitions"]["$defs"]["snapshot"]:
            closed = part.get("additionalProperties") is False or part.get("unevaluatedProperties") is False
            assert closed, f"{where}: additionalProperties"
        for key, value in part.get("properties", {}).items():
            assert value.get("description") or "$ref" in value, f"{where}: {key} has no description"


@pytest.mark.parametrize("name", sorted(SCHEMAS.keys() - NOT_PRINTED))
def test_a_schema_finds_faults(life: Life, name: str) -> None:
    value = life.errors[2][0] if name == "error" else life.printed[name][0]
    assert faults(name, value | {"surprise": 1})
    for key in value:
        assert faults(name, {other: value[other] for other in value if other != key}), key
        assert faults(name, value | {key: {"surprise": 1}}), key
