"""Damage is found wherever it is: the site's own repositories; and nothing in a tree keeps anybody from looking."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.gitstate_command import git
from tests.release.harness import Harness
from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("git", "systemd-analyze")]


def object_file(repository: Path, revision: str) -> Path:
    """The loose object of a revision."""
    oid = git(repository, "rev-parse", revision).strip()
    path = repository / "objects" / oid[:2] / oid[2:]
    path.chmod(0o600)
    return path


@pytest.fixture
def released(harness: Harness) -> Harness:
    """The site, with a release and a client."""
    harness("push", "desktop", "lab3", "--yes")
    harness("client", "add", "lab3-01", "--channel", "lab3")
    return harness


@pytest.mark.parametrize(
    ("name", "revision"),
    [("site.git", "lab3"), ("site.git", "lab3^{tree}"), ("directory.git", "main~1"), ("directory.git", "main^{tree}")],
)
@pytest.mark.parametrize("how", ["gone", "cut", "flipped"])
def test_damage_in_the_sites_own_repositories(released: Harness, name: str, revision: str, how: str) -> None:
    released("client", "list")  # from now on a cache knows them
    path = object_file(released.site / name, revision)
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:-5] if how == "cut" else content[:9] + bytes([content[9] ^ 1]) + content[10:])
    found = {one["repository"]: one["problems"] for one in released.json("fsck", code=14)["repositories"]}
    assert [where for where, problems in found.items() if problems] == [name]
    checks = [one for one in released.json("doctor", code=1)["checks"] if one["area"] == "repositories"]
    assert {one["state"] for one in checks if one["text"].startswith(name)} == {"bad"}


def test_a_release_of_a_snapshot_that_is_gone(released: Harness) -> None:
    object_file(released.site / "site.git", "lab3")
    commit = released.head("desktop")
    for pack in (released.repository("desktop") / "objects" / "pack").iterdir():
        pack.unlink()
    assert f"lab3/1 needs {commit[:7]} of desktop" in released("fsck", code=14)


def rot(path: Path) -> None:
    """Change one byte in the middle, as a disk would: no time moves."""
    before, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("what", ["vmlinuz", "initrd.img", "caps.cpio", "lab3-12.cpio", "lab3.ipxe"])
def test_boot_write_cures_what_has_rotted(boots: Harness, what: str) -> None:
    boots.layer("base")
    boots("push", "desktop", "lab3", "--yes")
    boots("boot", "write")
    (path,) = (boots.site / "tftp").rglob(what)
    good = path.read_bytes()
    rot(path)
    areas = {one["area"]: one["state"] for one in boots.json("doctor", code=1)["checks"]}
    assert areas["layers" if what.endswith("12.cpio") else "boot files"] == "bad"
    assert "nothing to write" not in boots("boot", "write", "-n")
    boots("boot", "write")
    assert path.read_bytes() == good
    assert "nothing to write" in boots("boot", "write")


def test_verify_all_finds_what_has_rotted_anywhere(boots: Harness) -> None:
    boots.layer("base")
    (boots.site / "secrets" / "lab3-12").mkdir(mode=0o700)
    (boots.site / "secrets" / "lab3-12" / "token").write_text("secret\n")
    (boots.site / "secrets" / "lab3-12" / "token").chmod(0o600)
    boots("push", "desktop", "lab3", "--yes")
    boots("boot", "write")
    kinds = {one["what"].partition("/")[0] for one in boots.json("verify", "--all")["checks"]}
    assert kinds >= {"desktop", "base", "site.git", "directory.git", "exports", "boot files", "tftp", "secrets"}
    (export,) = (boots.site / "exports" / "desktop").iterdir()
    places = {
        f"exports/desktop/{export.name}": next(one for one in export.rglob("vmlinuz*") if one.is_file()),
        "boot files": next((boots.site / "tftp").rglob("initrd.img")),
        "tftp/archives": next((boots.site / "tftp").rglob("lab3-12.cpio")),
        "secrets": boots.site / "secrets" / "lab3-12" / "token",
        "directory.git": object_file(boots.site / "directory.git", "main^{tree}"),
    }
    for path in places.values():
        rot(path)
    found = boots.json("verify", "--all", code=14)["checks"]
    assert {one["what"] for one in found if one["problems"]} == set(places)
    (boots.site / "secrets" / "lab3-12" / "token").write_text("another\n")  # a person's work is no damage
    found = boots.json("verify", "--all", code=14)["checks"]
    assert "secrets" not in {one["what"] for one in found if one["problems"]}


def test_the_units_are_as_systemd_wants_them() -> None:
    units = [str(path) for path in (PROJECT / "hooks" / "systemd").iterdir()]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_mailmap_in_a_tree_renames_nobody(harness: Harness) -> None:
    work = harness.clone("desktop")
    (work / ".mailmap").write_text("Somebody Else <else@example.org> <grace@example.org>\n")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", "names")
    git(work, "push", "-q", "origin", "main")
    assert "Author: Grace Hopper <grace@example.org>" in harness("log", "desktop", "main")
    assert harness("log", "desktop", "main", "--format=%aN", "-1") == "Grace Hopper"
    assert harness.git("desktop", "log", "-1", "--format=%aN") == "Grace Hopper"


@pytest.mark.parametrize("what", ["symlink", "nonsense", "directory"])
def test_no_policy_keeps_anybody_from_comparing(harness: Harness, what: str) -> None:
    work = harness.clone("desktop")
    policy = work / "etc" / "gitstate" / "policy.toml"
    policy.parent.mkdir()
    if what == "symlink":
        policy.symlink_to("../hostname")
    elif what == "directory":
        policy.mkdir()
        (policy / "file").write_text("x")
    else:
        policy.write_text("[record\n")
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", what)
    harness.git("desktop", "-c", "core.hooksPath=/dev/null", "fetch", "-q", str(work), "HEAD:refs/heads/odd")
    target = harness("export", "desktop", "odd")
    harness("verify", "desktop", "odd")
    (Path(target) / "etc" / "hostname").write_text("changed\n")
    assert "etc/hostname" in harness("verify", "desktop", "odd", code=1)
