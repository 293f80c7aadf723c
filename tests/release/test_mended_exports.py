"""A released export that is missing or damaged is found and made again, under machines that have the old one open."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.release.harness import Harness
from tests.release.test_integrity import rot
from tests.support import needs, root_only
from tests.testing import judges

pytestmark = [root_only, needs("git", "mtree", "rsync", "getcap", "getfacl")]


@pytest.fixture
def released(harness: Harness) -> Harness:
    """A site with a release."""
    (harness.site / "live/desktop/etc/motd").write_text("welcome\n" * 100)
    harness("checkin", "desktop", "-m", "more")
    harness("push", "desktop", "lab3", "--yes")
    return harness


def export_of(harness: Harness, revision: str = "main") -> Path:
    return harness.site / "exports/desktop" / harness.head("desktop", revision)


def is_right(harness: Harness) -> None:
    assert judges.mtree(harness.site / "live/desktop", export_of(harness)) == []
    assert all(not one["problems"] for one in harness.json("verify", "--all")["checks"])
    assert "bad" not in {one["state"] for one in harness.json("doctor", code=1)["checks"] if one["area"] == "exports"}
    assert harness("reconcile") == "nothing to publish"


def found(harness: Harness) -> dict[str, str]:
    """The exports in which ``verify --all`` finds fault, with their cures."""
    checks = harness.json("verify", "--all", code=14)["checks"]
    return {one["what"].rpartition("/")[2]: one["cure"] for one in checks if one["problems"]}


@pytest.mark.parametrize("how", ["missing", "rotten", "changed", "a file"])
def test_reconcile_makes_it_again(released: Harness, how: str) -> None:
    export = export_of(released)
    if how == "rotten":
        rot(export / "etc/motd")
    elif how == "changed":
        (export / "etc/motd").write_text("changed\n")
    else:
        shutil.rmtree(export)
        if how == "a file":
            export.write_text("x")
    assert found(released) == {export.name: "gitstate reconcile"}
    state = "missing" if how == "missing" else "damaged"
    assert f"the export of lab3/1, desktop {export.name[:7]}, is {state}" in released("doctor", code=1)
    assert f"would fix: export desktop {export.name[:7]}" in released("reconcile", "-n")
    assert f"fixed: export desktop {export.name[:7]}" in released("reconcile")
    is_right(released)


def test_a_change_is_noticed_before_anybody_verifies(released: Harness) -> None:
    (export_of(released) / "etc/more").write_text("x")
    assert "fixed: export" in released("reconcile")
    is_right(released)


def test_the_old_one_stays_for_machines_that_have_it_open(released: Harness) -> None:
    """An NFS client has a handle of the root, and opens what it hasn't opened yet."""
    export = export_of(released)
    rot(export / "etc/motd")
    rotten = (export / "etc/motd").read_bytes()
    root = os.open(export, os.O_PATH)
    try:
        released("verify", "desktop", code=1)
        said = released.run("reconcile")
        kept = export.with_name(f".{export.name}.replaced-1")
        assert f"remove {kept} then" in said.err
        with open(os.open("etc/motd", os.O_RDONLY, dir_fd=root), "rb") as file:
            assert file.read() == rotten
    finally:
        os.close(root)
    assert (kept / "etc/motd").read_bytes() == rotten
    assert f"{kept} was damaged, and replaced" in released("doctor", code=1)
    rot(export / "etc/motd")
    released("verify", "desktop", code=1)
    released("reconcile")
    assert kept.is_dir()
    assert export.with_name(f".{export.name}.replaced-2").is_dir()
    is_right(released)


def test_an_inode_that_two_exports_share(released: Harness) -> None:
    """What rots in one rots in the other: neither is made again from the other."""
    old = export_of(released)
    released.edit("desktop", "other\n", "etc/hostname")
    released("push", "desktop", "lab3", "--yes")
    new = export_of(released)
    assert (old / "etc/motd").samefile(new / "etc/motd")
    rot(old / "etc/motd")
    assert found(released) == {
        new.name: "gitstate reconcile",
        old.name: f"gitstate export desktop {old.name[:7]}",
    }
    released("reconcile")
    assert found(released) == {old.name: f"gitstate export desktop {old.name[:7]}"}
    released("export", "desktop", old.name)
    is_right(released)


def test_what_is_verified_again_and_sound_is_left(released: Harness) -> None:
    export = export_of(released)
    before, good = export.stat().st_ino, (export / "etc/motd").read_bytes()
    rot(export / "etc/motd")
    assert found(released) == {export.name: "gitstate reconcile"}
    status = (export / "etc/motd").stat()
    with (export / "etc/motd").open("r+b") as file:
        file.write(good)
    os.utime(export / "etc/motd", ns=(status.st_atime_ns, status.st_mtime_ns))
    is_right(released)
    assert export.stat().st_ino == before


@pytest.mark.parametrize("words", ["push desktop lab3 --yes", "export desktop", "boot write"])
def test_other_commands_notice_it_too(boots: Harness, words: str) -> None:
    boots("push", "desktop", "lab3", "--yes")
    export = export_of(boots)
    rot(next(one for one in export.rglob("vmlinuz*") if one.is_file()))
    boots("verify", "desktop", code=1)
    boots(*words.split())
    boots("verify", "desktop")


def test_all_cures_are_named(released: Harness) -> None:
    rot(export_of(released) / "etc/motd")
    for pack in (released.repository("desktop") / "objects/pack").glob("*.idx"):
        pack.chmod(0o600)
        rot(pack)
    said = released.run("verify", "--all", code=14)
    assert "  fetch what is missing from a clone or a backup;\n" in said.err
    assert "cure: " in said.out


@pytest.mark.parametrize("words", ["reconcile", "export desktop", "export desktop main~1"])
def test_a_replacement_killed_half_way(released: Harness, words: str) -> None:
    """Between taking the name and setting the old one aside: the old one isn't taken for a leftover."""
    export = export_of(released)
    (export / "rotten").write_text("x")
    released("verify", "desktop", code=1)
    partial = export.with_name(f".{export.name}.gitstate-partial")
    shutil.copytree(export, partial, symlinks=True)
    (partial / "rotten").unlink()
    inodes = export.stat().st_ino, partial.stat().st_ino
    export.rename(export.with_name("aside"))
    partial.rename(export)
    export.with_name("aside").rename(partial)
    assert (partial.stat().st_ino, export.stat().st_ino) == inodes
    if words != "reconcile":
        released.edit("desktop", "other\n", "etc/hostname")
    released(*words.split())
    assert (export.with_name(f".{export.name}.replaced-1") / "rotten").exists()
    assert not partial.exists()
