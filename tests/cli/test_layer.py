"""layer resolve, render, which, diff: on a site with releases, as users run them."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import listing
from tests.gitstate_command import Site, git, make_site
from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("git", "rsync"), pytest.mark.xdist_group("layer")]

LAYERS = ("base", "network/10.77.0.255", "lab/lab3", "host/lab3-14", "ip/10.77.0.14")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A channel with two releases, two clients, five layers; its last snapshots are not released."""
    place = tmp_path_factory.mktemp("layers")
    site = make_site(place / "site")
    subprocess.run([PROJECT / "tests" / "docs" / "setup" / "small-root", place / "root"], check=True)
    (place / "root" / "etc" / "ssh" / "ssh_host_ed25519_key").unlink()
    with (site.path / "site.toml").open("a") as settings:
        settings.write('[layers]\ndomain = "example.org"\nnetworks = ["10.77.0.0/24"]\n')
    site.run("prototype", "create", "desktop", "--live", str(place / "root"))
    site.run("checkin", "desktop", "-m", "first")
    for name in LAYERS:
        site.run("layer", "create", name)
    write(site, "base", "etc/motd.j2", "{{ fqdn }} {{ ip }}\nroom\t{{ vars.room }}\n")
    write(site, "base", "vars.toml", 'room = "none"\n')
    write(site, "base", "lib/x", "x\n")
    write(site, "network/10.77.0.255", "etc/resolv.conf", "nameserver 10.77.0.1\n")
    write(site, "lab/lab3", "vars.toml", 'room = "A7"\n')
    write(site, "lab/lab3", "etc/app.yaml", "servers: [a, b]\nlevel: 1\n")
    write(site, "host/lab3-14", "etc/motd.j2", "mine\n{{ host }}\n")
    write(site, "host/lab3-14", "etc/passwd.merge", "kiosk:x:1000:1000::/:/bin/sh\n")
    write(site, "ip/10.77.0.14", "etc/.wh.fstab", "")
    for name in LAYERS:
        site.run("checkin", name, "-m", f"{name} begins", "--author", "Ada <ada@example.org>")
    site.run("channel", "create", "lab3", "--prototype", "desktop")
    site.run("client", "add", "lab3-14", "--ip", "10.77.0.14", "--channel", "lab3")
    site.run("client", "add", "lab3-15", "--ip", "10.77.0.15", "--channel", "lab3")
    site.run("push", "desktop", "lab3", "--yes")
    write(site, "lab/lab3", "etc/app.yaml", "servers: [a, c, d]\nlevel: 1\n")
    site.run("checkin", "lab/lab3", "-m", "servers", "--author", "Bob <bob@example.org>")
    site.run("push", "lab/lab3", "lab3", "--yes")
    write(site, "host/lab3-14", "etc/motd.j2", "mine\n{{ host }} {{ nope }}\n")
    site.run("checkin", "host/lab3-14", "-m", "broken, and not released", "--author", "Bob <bob@example.org>")
    yield place
    shutil.rmtree(place)


def write(site: Site, name: str, path: str, text: str) -> None:
    file = site.path / "live" / name / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.fixture
def site(place: Path) -> Site:
    return Site(place / "site")


def test_resolve(site: Site) -> None:
    lines = site.out("layer", "resolve", "lab3-14").splitlines()
    assert [line.split()[0] for line in lines] == list(LAYERS)
    assert lines[1].endswith("network 10.77.0.0/24")
    assert site.run("layer", "resolve", "lab3-15", "-z").stdout == "\0".join([*LAYERS[:3], ""])
    assert site.out("layer", "resolve", "LAB3-14", "--at", "1") == site.out(
        "layer", "resolve", "lab3-14", "--at", "lab3/1"
    )


def test_a_client_that_follows_nothing_gets_what_stands_at_main(site: Site) -> None:
    site.run("client", "add", "lab3-99")
    try:
        found = site.json("layer", "resolve", "lab3-99")
        assert (found["release"], found["prototype"]) == (None, None)
        assert [one["repository"] for one in found["layers"]] == ["base", "lab/lab3"]
        site.refuses(7, "layer", "render", "lab3-99", naming="'ip'")
        site.run("client", "set", "lab3-99", "--pin", "desktop@main")
        assert site.json("layer", "resolve", "lab3-99")["prototype"]["repository"] == "desktop"
    finally:
        site.run("client", "remove", "lab3-99")


def test_render_writes_what_it_lists(site: Site, tmp_path: Path) -> None:
    to = tmp_path / "new" / "root"
    listed = site.run("layer", "render", "lab3-14", "-z", "--to", str(to)).stdout.split("\0")[:-1]
    assert listed == ["etc/app.yaml", "etc/fstab", "etc/motd", "etc/passwd", "etc/resolv.conf", "usr/lib/x"]
    made = {str(path.relative_to(to)) for path in to.rglob("*") if not path.is_dir()}
    assert made == {one.replace("fstab", ".wh.fstab") for one in listed}
    assert (to / "etc" / "motd").read_text() == "mine\nlab3-14\n"
    assert (to / "etc" / "passwd").read_text().endswith("nologin\nkiosk:x:1000:1000::/:/bin/sh\n")
    assert stat.S_IMODE(to.stat().st_mode) == 0o700
    source = site.path / "live" / "lab" / "lab3" / "etc" / "app.yaml"
    assert (to / "etc" / "app.yaml").stat().st_mtime_ns == source.stat().st_mtime_ns
    other = tmp_path / "other"
    site.run("layer", "render", "lab3-15", "--to", str(other))
    assert (other / "etc" / "motd").read_text() == "lab3-15.example.org 10.77.0.15\nroom\tA7\n"


def test_what_is_rendered_is_a_layer(site: Site, tmp_path: Path) -> None:
    """What a machine gets, checked in as its only layer, makes the same once more; rsync is the judge."""
    once, twice = tmp_path / "once", tmp_path / "twice"
    site.run("layer", "render", "lab3-14", "--to", str(once))
    (once / "etc" / "passwd").rename(once / "etc" / "passwd.merge")
    copy = Site(tmp_path / "site")
    subprocess.run(["cp", "-a", site.path, copy.path], check=True)  # its exports hold devices
    shutil.rmtree(copy.path / "layers")
    (copy.path / "layers").mkdir()
    shutil.rmtree(copy.path / "live")
    (copy.path / "live").mkdir()
    copy.run("layer", "create", "base")
    subprocess.run(["cp", "-a", f"{once}/.", copy.path / "live" / "base"], check=True)
    copy.run("checkin", "base", "-m", "all")
    copy.run("client", "set", "lab3-14", "--no-channel", "--pin", "desktop@main")
    copy.run("layer", "render", "lab3-14", "--to", str(twice))
    (once / "etc" / "passwd.merge").rename(once / "etc" / "passwd")
    done = subprocess.run(
        ["rsync", "-ncrlpgoD", "-i", "--delete", f"{once}/", f"{twice}/"], capture_output=True, text=True, check=True
    )
    assert done.stdout == ""


def test_a_directory_in_use_is_refused(site: Site, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    for to in (tmp_path, tmp_path / "x"):
        for more in ((), ("-n",)):
            assert (
                "not an empty directory"
                in site.run("layer", "render", "lab3-14", "--to", str(to), *more, code=2).stderr
            )
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    site.run("layer", "render", "lab3-14", "--to", str(tmp_path / "link"), code=2)


def test_what_a_machine_got_on_a_day(site: Site) -> None:
    """Its release, its entry in the directory and site.toml as they were."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S")
    before = site.out("layer", "resolve", "lab3-14")
    toml = site.path / "site.toml"
    text = toml.read_text()
    time.sleep(1.1)
    site.run("client", "set", "lab3-14", "--ip", "10.77.0.99")
    toml.write_text(text.replace("10.77.0.0/24", "10.78.0.0/24"))
    try:
        found = site.out("layer", "resolve", "lab3-14").splitlines()
        assert [line.split()[0] for line in found] == ["base", *LAYERS[2:4]]
        assert site.out("layer", "resolve", "lab3-14", "--at", now) == before
        today = time.strftime("%Y-%m-%d")
        changes = site.json("layer", "diff", "lab3-14", "--at", now, today)["changes"]
        assert {one["path"] for one in changes} == {"etc/fstab"}
        site.refuses(10, "layer", "resolve", "lab3-14", "--at", "2001-01-01", naming="lab3-14")
        site.run("layer", "resolve", "lab3-14", "--at", "2001-13-01", code=10)
    finally:
        toml.write_text(text)
        site.run("client", "set", "lab3-14", "--ip", "10.77.0.14")


def test_looking_leaves_no_trace(site: Site, place: Path, tmp_path: Path) -> None:
    site.run("layer", "resolve", "lab3-14")  # who reads clients first after a change keeps what was parsed
    before = listing(place)
    site.run("layer", "resolve", "lab3-14")
    site.run("layer", "render", "lab3-14", "-n", "--to", str(tmp_path / "new"))
    site.run("layer", "which", "lab3-14", "/etc/motd", "--all")
    site.run("layer", "diff", "lab3-14", "lab3-15")
    assert listing(place) == before
    assert not (tmp_path / "new").exists()


def test_which_tells_who_set_each_line(site: Site) -> None:
    found = site.json("layer", "which", "lab3-14", "/etc/motd")
    (word,) = found["layers"]
    assert (word["layer"], word["path"], word["action"]) == ("host/lab3-14", "etc/motd.j2", "rendered")
    assert (word["author"], word["subject"]) == ("Ada <ada@example.org>", "host/lab3-14 begins")
    assert [line["text"] for line in word["lines"]] == ["mine", "{{ host }}"]
    assert found["hides"] == [{"layer": "base", "path": "etc/motd.j2"}]
    blamed = git(site.path / "layers" / "lab" / "lab3.git", "blame", "-s", "main", "--", "etc/app.yaml").splitlines()
    (word,) = site.json("layer", "which", "lab3-14", "etc/app.yaml")["layers"]
    assert [line["commit"][:7] for line in word["lines"]] == [line.lstrip("^")[:7] for line in blamed]
    assert [line["author"] for line in word["lines"]] == ["Bob <bob@example.org>", "Ada <ada@example.org>"]


def test_which_of_whiteouts_links_and_what_nobody_sets(site: Site) -> None:
    assert "ip/10.77.0.14 hides it" in site.out("layer", "which", "lab3-14", "/etc/fstab")
    assert "it hides: desktop" in site.out("layer", "which", "lab3-14", "/etc/fstab")
    assert site.out("layer", "which", "lab3-14", "/lib/x").startswith("/usr/lib/x: base sets it (lib/x)")
    assert "/etc/hosts: desktop" in site.out("layer", "which", "lab3-14", "/etc/hosts")
    assert "adds lines" in site.out("layer", "which", "lab3-14", "/etc/passwd")
    assert site.run("layer", "which", "lab3-14", "/etc/motd", "--all", "-z").stdout == "host/lab3-14\0base\0"
    assert "gitstate secret list lab3-14" in site.refuses(10, "layer", "which", "lab3-14", "/nope", naming="/nope")
    site.run("layer", "which", "lab3-14", "../etc", code=2)


def test_diff_of_machines_and_of_releases(site: Site) -> None:
    found = site.json("layer", "diff", "lab3-14", "lab3-15")["changes"]
    assert [(one["status"], one["path"]) for one in found] == [
        ("D", "etc/fstab"),
        ("M", "etc/motd"),
        ("D", "etc/passwd"),
    ]
    assert "   +room\tA7" in site.out("layer", "diff", "lab3-14", "lab3-15").splitlines()
    text = site.out("layer", "diff", "lab3-14", "--at", "lab3/1", "lab3/2")
    assert text.splitlines() == [
        "M  etc/app.yaml  lab/lab3",
        '   servers[1]: "b" -> "c"',
        '   +servers[2] = "d"',
    ]
    assert site.out("layer", "diff", "lab3-14", "--at", "1", "2") == text
    site.run("layer", "diff", "lab3-14", "lab3-15", "--exit-code", code=1)
    site.run("layer", "diff", "lab3-14", "lab3-14", "--exit-code")
    assert site.run("layer", "diff", "lab3-14", "--at", "1", "2", "-z").stdout == "etc/app.yaml\0"
    assert site.out("layer", "diff", "lab3-14", "lab3-15", "--at", "lab3/1")


@pytest.mark.parametrize(
    ("words", "code", "naming"),
    [
        (("resolve", "nobody"), 10, "nobody"),
        (("resolve", "lab3-14", "--at", "lab3/9"), 10, "lab3/9"),
        (("resolve", "lab3-14", "--at", "a b"), 2, "a b"),
        (("diff", "lab3-14"), 2, ""),
        (("diff", "lab3-14", "lab3-15", "lab3-16"), 2, ""),
    ],
)
def test_what_cant_be(site: Site, words: tuple[str, ...], code: int, naming: str) -> None:
    site.refuses(code, "layer", *words, naming=naming)


def test_layers_of_networks_and_addresses_are_named_as_directories_can_be(site: Site) -> None:
    for given, name in (("ip/fd00::17", "ip/fd00--17"), ("network/fd00::/64", "network/fd00--_64")):
        assert site.json("layer", "create", given, "-n")["repository"] == name
    assert os.listdir(site.path / "layers" / "ip") == ["10.77.0.14.git"]


def report(site: Site, host: str, text: str) -> None:
    """Let the channel's release hold what a machine reported, as a release with facts does."""
    book = site.path / "site.git"
    blob = subprocess.run(
        ["git", "-C", str(book), "hash-object", "-w", "--stdin"], input=text, capture_output=True, text=True, check=True
    ).stdout.strip()
    facts = f"100644 blob {blob}\t{host}.json\n"
    tree = git(book, "ls-tree", "lab3^{tree}")
    made = ""
    for lines in (facts, None):
        entries = lines or "".join(one for one in tree.splitlines(keepends=True) if "\tfacts" not in one)
        entries += f"040000 tree {made}\tfacts\n" if lines is None else ""
        made = subprocess.run(
            ["git", "-C", str(book), "mktree", "--missing"], input=entries, capture_output=True, text=True, check=True
        ).stdout.strip()
    message = git(book, "log", "-1", "--format=%B", "lab3")
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    commit = git(book, *who, "commit-tree", made, "-p", "lab3~1", "-m", message).strip()
    for ref in ("refs/heads/lab3", "refs/tags/lab3/2"):
        git(book, "update-ref", ref, commit)


def test_what_a_machine_had_reported_is_known(site: Site) -> None:
    look = ("layer", "render", "lab3-14", "--at", "lab3/2")
    key = site.json(*look)["key"]
    report(site, "lab3-14", '{"architecture": "riscv64", "memory": 8}')
    assert site.json(*look)["key"] != key
    report(site, "lab3-15", '{"architecture": "riscv64"}')
    assert site.json(*look)["key"] == key
    for text in ("[1]", "{", "[" * 100_000):
        report(site, "lab3-14", text)
        site.refuses(14, *look, naming="facts/lab3-14.json of lab3/2")
    report(site, "lab3-14", "{}")
