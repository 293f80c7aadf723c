"""Read-only file systems, mount points, and users without root: what can't be done is told, the rest is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.damage.harness import NOBODY, READERS, Harness, environment, git, gitstate, mounted, plant
from tests.fork_server import ForkServer
from tests.support import PROJECT, needs, root_only, unavailable

pytestmark = [root_only, needs("rsync", "setpriv")]


# --- read-only file systems -----------------------------------------------------------------------------------------


def test_a_live_tree_on_a_read_only_file_system(harness: Harness) -> None:
    plant(harness.live, 10)
    harness.check_in()
    (harness.live / "new").write_text("new")
    elsewhere = harness.path / "read-only"
    with mounted(elsewhere, "--bind", str(harness.live)):
        subprocess.run(["mount", "-o", "remount,bind,ro", elsewhere], check=True)
        for words in (("checkin", "p", "-m", "m"), ("status", "p")):
            said = harness(*words, "--live", elsewhere).told(5)
            assert "read-only" in said.err
    with mounted(elsewhere, "-t", "tmpfs", "tmpfs"):
        (elsewhere / "file").touch()
        subprocess.run(["mount", "-o", "remount,ro", elsewhere], check=True)
        harness("checkin", "p", "-m", "m", "--live", elsewhere).told(5)
    harness.tidy()


def test_an_export_on_a_read_only_file_system_can_be_verified(harness: Harness) -> None:
    """That is how clients see it."""
    plant(harness.live, 10)
    harness.check_in()
    exported = harness.export()
    elsewhere = harness.path / "read-only"
    with mounted(elsewhere, "--bind", str(exported)):
        subprocess.run(["mount", "-o", "remount,bind,ro", elsewhere], check=True)
        harness("verify", "p", "HEAD", elsewhere).well()


def test_a_site_on_a_read_only_file_system(harness: Harness) -> None:
    harness.check_in()
    plant(harness.live, 10)
    harness.check_in()
    elsewhere = harness.path / "read-only"
    with mounted(elsewhere, "--bind", str(harness.site)):
        subprocess.run(["mount", "-o", "remount,bind,ro", elsewhere], check=True)
        harness.site = elsewhere
        for words in (
            ("checkin", "p", "-m", "m"),
            ("export", "p"),
            ("gc", "p"),
            ("prototype", "create", "q"),
            ("prototype", "remove", "p", "--yes"),
        ):
            assert "ead-only" in harness(*words).told(5).err
        for words in (
            ("log", "p"),
            ("manifest", "p"),
            ("fsck", "p"),
            ("prototype", "list"),
            ("diff", "p", "HEAD~1", "HEAD"),
        ):
            harness(*words).well()


def test_a_mount_point_as_a_target(harness: Harness) -> None:
    """An export is renamed into place, which a mount point refuses."""
    harness.check_in()
    with mounted(harness.path / "target", "-t", "tmpfs", "tmpfs") as target:
        assert "mount" in harness("export", "p", "HEAD", "--to", target).told(5).err
        assert list(target.iterdir()) == []
        harness("export", "p", "HEAD", "--to", target / "root").well()


def test_a_prototype_with_something_mounted_below_is_not_removed(harness: Harness) -> None:
    plant(harness.live, 5)
    harness.check_in()
    for name in ("mnt", "d03/e3"):
        (harness.live / name).mkdir(exist_ok=True)
        with mounted(harness.live / name, "-t", "tmpfs", "tmpfs") as memory:
            (memory / "precious").write_text("precious")
            harness("prototype", "remove", "p", "--yes").told(5)
            assert (memory / "precious").exists()
    harness.check_in()
    harness.sound()
    harness.faithful()


# --- without root ---------------------------------------------------------------------------------------------------


@pytest.fixture
def owned(place: Path, fork_server: ForkServer) -> Harness:
    """A site that nobody owns, with a live tree of which nobody can read a part."""
    probe = [*("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"), sys.executable, "-c"]
    done = subprocess.run([*probe, "import gitstate, pygit2"], env=environment(), capture_output=True, check=False)
    if done.returncode:
        unavailable(f"an unprivileged user can't reach {sys.executable} or {PROJECT}")
    home = place / "nobody"
    home.mkdir()
    harness = Harness(home, fork_server)
    os.chown(home, NOBODY, NOBODY)
    gitstate(harness.site, "init", nobody=True).well()
    gitstate(harness.site, "prototype", "create", "p", nobody=True).well()
    plant(harness.live, 30)
    (harness.live / "empty").mkdir()
    subprocess.run(["chown", "-Rh", f"{NOBODY}:{NOBODY}", harness.live], check=True)
    return harness


UNREADABLE = ("d01/e1/f1", "d02/e2", "d03", "d04/e4")


def lock_away(harness: Harness) -> None:
    """Root's files, directories of all rights but one."""
    for name, owner, mode in (
        ("d01/e1/f1", 0, 0o600),
        ("d02/e2", 0, 0o700),
        ("d03", NOBODY, 0o300),
        ("d04/e4", NOBODY, 0o600),
    ):
        os.chown(harness.live / name, owner, owner)
        (harness.live / name).chmod(mode)


def unlock(harness: Harness) -> None:
    """For everybody again."""
    for name in UNREADABLE:
        os.chown(harness.live / name, NOBODY, NOBODY)
        path = harness.live / name
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_without_root_what_can_not_be_read_keeps_its_record(owned: Harness) -> None:
    gitstate(owned.site, "checkin", "p", "-m", "all", nobody=True).well()
    before = {name: git(owned.repository, "rev-parse", f"main:{name}") for name in UNREADABLE}
    lock_away(owned)
    (owned.live / "d05" / "e5" / "f5").write_text("changed\n")
    said = gitstate(owned.site, "checkin", "p", "-m", "part", nobody=True, json=True).told(3)
    assert sorted(one["path"] for one in said.json["unrecorded"]) == sorted(UNREADABLE)
    assert {name: git(owned.repository, "rev-parse", f"main:{name}") for name in UNREADABLE} == before
    assert [one["path"] for one in said.json["changes"]] == ["d05/e5/f5"]
    assert git(owned.repository, "show", "main:d05/e5/f5") == "changed"
    assert "d02" in gitstate(owned.site, "status", "p", nobody=True).told(3).err
    unlock(owned)
    (owned.live / "d02" / "e2" / "f2").write_text("changed too\n")
    gitstate(owned.site, "checkin", "p", "-m", "all again", nobody=True).well()
    assert git(owned.repository, "show", "main:d02/e2/f2") == "changed too"
    give_to_root(owned)
    owned.faithful()


def test_without_root_what_could_not_be_read_at_first_is_found_later(owned: Harness) -> None:
    """The directories above it don't change when it becomes readable."""
    lock_away(owned)
    for _ in range(3):
        said = gitstate(owned.site, "checkin", "p", "-m", "part", nobody=True, json=True).told(3)
        assert sorted(one["path"] for one in said.json["unrecorded"]) == sorted(UNREADABLE)
    assert git(owned.repository, "ls-tree", "-r", "--name-only", "main", "d03", "d02/e2") == ""
    unlock(owned)
    gitstate(owned.site, "checkin", "p", "-m", "all", nobody=True).well()
    give_to_root(owned)
    owned.faithful()


def give_to_root(owned: Harness) -> None:
    """The site, but not the live tree."""
    for path in (owned.site / "prototypes", owned.site / "exports"):
        subprocess.run(["chown", "-R", "root:root", path], check=True)


def test_root_does_not_work_on_another_users_repository(owned: Harness) -> None:
    """Its configuration and hooks would run as root."""
    gitstate(owned.site, "checkin", "p", "-m", "all", nobody=True).well()
    witness = owned.path / "ran"
    hook = owned.repository / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {witness}\n")
    hook.chmod(0o755)
    (owned.live / "new").write_text("new")
    for words in READERS:
        owned(*words).told(5)
    assert not witness.exists()


def test_root_records_what_nobody_could_not(owned: Harness) -> None:
    """A check-in by root after one without it."""
    lock_away(owned)
    gitstate(owned.site, "checkin", "p", "-m", "part", nobody=True).told(3)
    give_to_root(owned)
    owned.check_in("by root")
    owned.faithful()


def test_without_root_nothing_can_be_exported(owned: Harness) -> None:
    gitstate(owned.site, "checkin", "p", "-m", "all", nobody=True).well()
    for words in (("export", "p"), ("export", "p", "HEAD", "--to", str(owned.path / "t"))):
        said = gitstate(owned.site, *words, nobody=True).told(5)
        assert "root" in said.err
    assert gitstate(owned.site, "export", "p", nobody=True, json=True).told(5).err.startswith("{")


def test_without_root_a_live_tree_that_can_not_be_read_at_all(owned: Harness) -> None:
    gitstate(owned.site, "checkin", "p", "-m", "all", nobody=True).well()
    for mode in (0o000, 0o300, 0o600):
        owned.live.chmod(mode)
        gitstate(owned.site, "checkin", "p", "-m", "m", nobody=True).told(3, 5)
        assert git(owned.repository, "log", "--oneline", "main").count("\n") == 0


def test_without_root_the_site_of_root(harness: Harness) -> None:
    """Every command says that it isn't allowed, not that there is nothing."""
    harness.check_in()
    for words in (*READERS, ("init",), ("prototype", "create", "q"), ("clone", "p", str(harness.path / "c"))):
        gitstate(harness.site, *words, nobody=True).told(2 if words == ("init",) else 5)


def test_reading_commands_work_without_root(owned: Harness) -> None:
    gitstate(owned.site, "checkin", "p", "-m", "all", nobody=True).well()
    for words in (
        ("status", "p"),
        ("manifest", "p"),
        ("verify", "p", "HEAD", str(owned.live)),
        ("log", "p"),
        ("fsck", "p"),
    ):
        gitstate(owned.site, *words, nobody=True).well()
