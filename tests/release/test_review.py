"""Edits on a machine become a review: sorted by the machine, recorded by the server, merged, split and dropped."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.harness import Machine, only_busybox
from tests.release.harness import Harness
from tests.release.overlaid import HOST, overlaid
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "dash", "busybox", "getfattr", "setfattr", "cpio")]

KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.fixture
def site(boots: Harness) -> Harness:
    """A prototype and two layers, released."""
    live = boots.site / "live/desktop"
    (live / "etc").mkdir()
    for name, text in (("motd", "welcome\n"), ("fstab", "proc /proc proc\n"), ("gone", "x\n"), ("issue", "image\n")):
        (live / "etc" / name).write_text(text)
    (live / "opt/d").mkdir(parents=True)
    for name in ("a", "b"):
        (live / "opt/d" / name).write_text(f"{name}\n")
    boots("checkin", "desktop", "-m", "files")
    lab = boots.layer("lab/lab3")
    (lab / "etc/motd").write_text("lab 3\n")
    (lab / "etc/cups.conf").write_text("printer 3\n")
    (lab / "etc/issue.j2").write_text("{{ host }}\n")
    (lab / "etc/.wh.gone").touch()
    boots("checkin", "lab/lab3", "-m", "files")
    boots("push", "desktop", "lab3", "--yes")
    return boots


@pytest.fixture(params=["dash", "busybox"])
def shell(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[tuple[str, ...], str]:
    """A shell and a PATH: dash among GNU's programs, or busybox among its own."""
    if request.param == "dash":
        return (shutil.which("dash") or "",), os.environ["PATH"]
    programs = only_busybox(tmp_path / "bin")
    return (str(programs / "busybox"), "sh"), str(programs)


@pytest.fixture
def machine(site: Harness, tmp_path: Path, shell: tuple[tuple[str, ...], str]) -> Iterator[Machine]:
    with overlaid(site, tmp_path / "machine", *shell) as machine:
        yield machine


@pytest.fixture
def plain(site: Harness, tmp_path: Path) -> Iterator[Machine]:
    """The same with dash alone, for what the server does."""
    with overlaid(site, tmp_path / "machine", ("dash",), os.environ["PATH"]) as machine:
        yield machine


def send(site: Harness, machine: Machine, *words: str, code: int = 0) -> list[str]:
    """Check in on the machine, and receive it; what the server says."""
    sent = machine.place / "sent"
    machine.run("checkin", "--output", str(sent), *words)
    return site("review", "receive", HOST, str(sent), code=code).splitlines()


def changed(site: Harness, repository: str, review: str) -> list[str]:
    """What a review changes in a repository, as plain git tells it."""
    lines = site.git(repository, "diff", "--name-status", "--no-renames", f"{review}^", review).splitlines()
    return [line.replace("\t", " ") for line in lines if not line.endswith((".gitstate", ".gitstate-links"))]


def name_of(site: Harness) -> str:
    (found,) = site.json("review", "list")["reviews"]
    return str(found["review"])


def test_edits_are_sorted_and_arrive_as_they_are(site: Harness, machine: Machine) -> None:
    root = machine.root
    assert machine.run("checkin", "-n") == "1 left out as state (-v lists them)\n"
    (root / "etc/fstab").write_text("proc /proc proc\nscratch /scratch ext4\n")
    (root / "etc/new file").write_text("new\n")
    (root / "etc/new file").chmod(0o4750)
    os.chown(root / "etc/new file", 7, 8)
    os.link(root / "etc/new file", root / "opt/linked")
    (root / "etc/motd").write_text("lab 3, edited\n")
    (root / "opt/link").symlink_to("d")
    shutil.rmtree(root / "opt/d")
    (root / "opt/empty").mkdir(0o700)
    (root / "var/log").mkdir(parents=True)
    (root / "var/log/x").write_text("state")
    subprocess.run(["setfattr", "-n", "security.capability", "-v", "0x0100000200200000000000000000000000000000",
                    str(root / "etc/new file")], check=True)  # fmt: skip
    shown = machine.run("checkin", "-n").splitlines()
    assert shown[:7] == [
        "changed  /etc/fstab  prototype",
        "changed  /etc/motd  layer",
        r"added    /etc/new\040file  prototype",
        "removed  /opt/d  prototype",
        "added    /opt/empty  prototype",
        "added    /opt/link  prototype",
        "added    /opt/linked  prototype",
    ]
    assert shown[-1].endswith("left out as state (-v lists them)")
    said = send(site, machine, "-m", "mount scratch")
    review = name_of(site)
    assert [line.split(" -> branch ")[1] for line in said] == [review, review]
    assert changed(site, "desktop", review) == [
        *("M etc/fstab", "A etc/new file", "D opt/d/a", "D opt/d/b", "A opt/link", "A opt/linked")
    ]
    assert changed(site, "lab/lab3", review) == ["M etc/motd"]
    base = site.runs("lab3")
    assert site.head("desktop", f"{review}^") == base["desktop"]
    assert site.head("lab/lab3", f"{review}^") == base["lab/lab3"]
    assert site.git("desktop", "log", "-1", "--format=%s|%ae", review).startswith("mount scratch|root@lab3-12")
    shows_the_same(site, machine, review)


def shows_the_same(site: Harness, machine: Machine, review: str) -> None:
    """The branch, exported, is what the machine shows at the paths that it changed: rsync is the judge."""
    there = site.place / "there"
    site("export", "desktop", review, "--to", str(there))
    skipped = ("/run", "/var", "/etc/motd", "/etc/cups.conf", "/etc/issue", "/etc/gone", "/etc")
    words = [f"--exclude={path}" for path in skipped[:-1]]
    done = subprocess.run(
        ["rsync", "-nacHAXi", "--delete", "--numeric-ids", *words, f"{machine.root}/", f"{there}/"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert [line for line in done.stdout.splitlines() if not line.startswith(".d..t")] == []


def test_what_layers_have_goes_to_them(site: Harness, plain: Machine) -> None:
    etc = plain.root / "etc"
    (etc / "issue").write_text("by hand\n")
    (etc / "cups.conf").unlink()
    (etc / "motd").unlink()
    (etc / "gone").write_text("back\n")
    shown = plain.run("checkin", "-n").splitlines()
    assert [line for line in shown if "/var" not in line] == [
        "removed  /etc/cups.conf  layer",
        "added    /etc/gone  layer",
        "changed  /etc/issue  layer",
        "removed  /etc/motd  layer",
        *shown[-1:],
    ]
    said = send(site, plain)
    review = name_of(site)
    assert "/etc/issue: etc/issue.j2 of lab/lab3 makes it: recorded for this machine alone" in said
    assert [line.partition(":")[0] for line in said[-2:]] == ["host/lab3-12", "lab/lab3"]
    assert changed(site, "lab/lab3", review) == [
        *("D etc/.wh.gone", "A etc/.wh.motd", "D etc/cups.conf", "A etc/gone", "D etc/motd")
    ]
    assert site.git("host/lab3-12", "show", f"{review}:etc/issue") == "by hand"
    assert not site.git("host/lab3-12", "branch", "--list", "main")
    site("review", "merge", review)
    assert site.json("review", "list")["reviews"] == []
    site("push", "lab/lab3", "lab3", "--yes")
    with overlaid(site, site.place / "again", ("dash",), os.environ["PATH"], 2) as again:
        assert (again.root / "etc/issue").read_text() == "by hand\n"
        assert (again.root / "etc/gone").read_text() == "back\n"
        assert not (again.root / "etc/motd").exists()
        assert not (again.root / "etc/cups.conf").exists()
        assert again.run("drift") == ""


def test_secrets_stay_and_the_rest_is_recorded(site: Harness, plain: Machine) -> None:
    etc = plain.root / "etc"
    (etc / "fstab").write_text("tmpfs /x tmpfs\n")
    (etc / "mine.pem").write_text(KEY)
    (etc / "krb5.keytab").write_bytes(b"\x05\x02secret")
    (etc / "shadow").write_text("root:$y$j9T$abcdefghijkl$mnopqrstuvwxyz0123456789:19000:0:99999:7:::\n")
    shown = plain.run("checkin", "-n")
    assert "left out /etc/mine.pem  secret\n" in shown
    assert "left out /etc/krb5.keytab  secret\n" in shown
    plain.run("checkin", "--output", str(plain.place / "sent"))
    said = site.fails(3, "review", "receive", HOST, str(plain.place / "sent"))
    assert "1 change left out: /etc/shadow (the password hash of root" in said
    assert changed(site, "desktop", name_of(site)) == ["M etc/fstab"]
    assert b"secret" not in (plain.place / "sent").read_bytes()
    send(site, plain, str(etc / "shadow"), code=4)


def test_paths_choose_and_are_told_if_nothing_changed(site: Harness, plain: Machine) -> None:
    for name in ("fstab", "other"):
        (plain.root / "etc" / name).write_text("x\n")
    assert plain.run("checkin", "-n", str(plain.root / "etc/other")).splitlines() == ["added    /etc/other  prototype"]
    assert "nothing was changed at /opt" in plain.run("checkin", "-n", str(plain.root / "opt"), code=10)
    (plain.root / "var/log").mkdir(parents=True)
    (plain.root / "var/log/x").write_text("x\n")
    assert "added    /var/log/x  prototype" in plain.run("checkin", "-n", str(plain.root / "var/log/x"))


def test_a_directory_that_was_renamed_or_replaced(site: Harness, plain: Machine) -> None:
    (plain.root / "opt/d").rename(plain.root / "opt/e")
    shown = [line for line in plain.run("checkin", "-n").splitlines() if "/opt" in line]
    assert shown == [
        "removed  /opt/d  prototype",
        *(f"added    /opt/e{name}  prototype" for name in ("", "/a", "/b")),
    ]
    (plain.root / "opt/d").mkdir()
    (plain.root / "opt/d/a").write_text("another\n")
    send(site, plain)
    review = name_of(site)
    assert sorted(changed(site, "desktop", review)) == sorted(["M opt/d/a", "D opt/d/b", "A opt/e/a", "A opt/e/b"])
    shows_the_same(site, plain, review)


def test_names_that_no_shell_expects(site: Harness, machine: Machine) -> None:
    names = [b"-n", b"--", b"*", b"$(id)", b"a\nb", b"a\001b", b" ", b"%s%n", b"\xff\\", b"'"]
    root = os.fsencode(machine.root)
    for name in names:
        Path(os.fsdecode(root + b"/opt/" + name)).write_bytes(name)
    replaced = machine.root / "opt/d"
    shutil.rmtree(replaced)
    replaced.mkdir()
    (replaced / "a").write_text("another\n")
    send(site, machine)
    review = name_of(site)
    listed = site.git("desktop", "ls-tree", "-z", "--name-only", review, "opt/").split("\0")
    assert {os.fsencode(one).removeprefix(b"opt/") for one in listed} >= set(names)
    shows_the_same(site, machine, review)


def test_a_replaced_directory_with_a_percent_sign(site: Harness, plain: Machine) -> None:
    live = site.site / "live/desktop"
    (live / "opt/100%s").mkdir()
    for name in ("a", "b"):
        (live / "opt/100%s" / name).write_text(f"{name}\n")
    site("checkin", "desktop", "-m", "more")
    site("push", "desktop", "lab3", "--yes")
    with overlaid(site, site.place / "again", ("dash",), os.environ["PATH"], 2) as again:
        shutil.rmtree(again.root / "opt/100%s")
        (again.root / "opt/100%s").mkdir()
        (again.root / "opt/100%s/a").write_text("another\n")
        shown = [line for line in again.run("checkin", "-n").splitlines() if "/opt" in line]
    assert [line.split()[:2] for line in shown] == [
        ["changed", r"/opt/100\045s/a"],
        ["removed", r"/opt/100\045s/b"],
    ]


def test_the_same_again_makes_nothing_new(site: Harness, plain: Machine) -> None:
    (plain.root / "etc/fstab").write_text("x\n")
    first = send(site, plain, "-m", "one")
    assert send(site, plain, "-m", "another") == [f"{line}, as before" for line in first]
    name_of(site)


# --- the review -------------------------------------------------------------------------------------------------------


def test_merge_boots_everywhere_and_leaves_no_drift(site: Harness, plain: Machine) -> None:
    (plain.root / "etc/fstab").write_text("scratch\n")
    send(site, plain, "-m", "mount scratch")
    review = name_of(site)
    assert site.json("review", "merge", review, "-n")["merged"][0]["commit"] is None
    assert "diff --git a/etc/fstab b/etc/fstab" in site("review", "show", review)
    site("review", "merge", review)
    assert site.git("desktop", "log", "-1", "--format=%s", "main", "--", "etc/fstab") == "mount scratch"
    site("push", "desktop", "lab3", "--yes")
    with overlaid(site, site.place / "again", ("dash",), os.environ["PATH"], 2) as again:
        assert (again.root / "etc/fstab").read_text() == "scratch\n"
        assert again.run("drift") == ""
        assert "left out as state" in again.run("checkin", "-n")
        assert again.run("checkin") == "nothing to check in\n"


def test_main_has_moved(site: Harness, plain: Machine) -> None:
    (plain.root / "etc/fstab").write_text("mine\n")
    (plain.root / "etc/new").write_text("new\n")
    send(site, plain, "-m", "edits")
    review = name_of(site)
    site.edit("desktop", "elsewhere\n", "etc/motd")
    site.edit("desktop", "theirs\n", "etc/fstab")
    before = site.head("desktop")
    said = site.fails(12, "review", "merge", review)
    assert "/etc/fstab of desktop (both sides changed its content)" in said
    assert (site.head("desktop"), site.head("desktop", review)) == (before, site.head("desktop", review))
    site("review", "split", review, "/etc/new")
    first, second = (one["review"] for one in site.json("review", "list")["reviews"])
    assert (changed(site, "desktop", first), changed(site, "desktop", second)) == (["M etc/fstab"], ["A etc/new"])
    site("review", "merge", second)
    site("review", "drop", first)
    assert site.git("desktop", "show", "main:etc/new") == "new"
    assert site.git("desktop", "show", "main:etc/fstab") == "theirs"
    assert site.json("review", "list")["reviews"] == []
    assert site.git("desktop", "log", "-1", "--format=%s") == f"Merge {second}: edits"


def test_to_a_layer(site: Harness, plain: Machine) -> None:
    (plain.root / "etc/fstab").write_text("of lab 3\n")
    (plain.root / "opt/d/a").unlink()
    send(site, plain, "-m", "lab")
    review, before = name_of(site), site.head("desktop")
    site.fails(2, "review", "merge", review, "--to", "desktop")
    site("review", "merge", review, "--to", "lab/lab3")
    assert site.head("desktop") == before
    assert site.git("lab/lab3", "show", "main:etc/fstab") == "of lab 3"
    assert site.git("lab/lab3", "ls-tree", "--name-only", "main", "opt/d/").split() == [
        "opt/d/.gitstate",
        "opt/d/.wh.a",
    ]
    site("push", "lab/lab3", "lab3", "--yes")
    with overlaid(site, site.place / "again", ("dash",), os.environ["PATH"], 2) as again:
        assert (again.root / "etc/fstab").read_text() == "of lab 3\n"
        assert not (again.root / "opt/d/a").exists()
        assert again.run("drift") == ""


def test_names_that_are_none(site: Harness) -> None:
    site.fails(10, "review", "show", "lab3-12/20250312T140900Z")
    site.fails(2, "review", "show", "../../main")
    site.fails(2, "review", "drop", "lab3-12")
