"""Live trees that are overlays: recorded from the upper directory, folded, and no edit lost wherever it is killed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from gitstate.core.monitor import SILENT
from gitstate.store.repository import Repository
from gitstate.tree import live
from gitstate.tree.live import Action
from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only

pytestmark = [needs("git", "mount"), root_only]

FOLD_STEPS: Final = ("exported", "layers", "unmounted", "configured", "recorded", "mounted")
DIRECTORY_STEPS: Final = ("made", "unmounted", "moved", "placed", "configured")


class Machine:
    """A site with one prototype, and its live tree."""

    def __init__(self, place: Path) -> None:
        self.site: Site = make_site(place / "site")
        self.site.run("prototype", "create", "desktop")
        self.tree = self.site.path / "live" / "desktop"
        (self.tree / "etc").mkdir()
        for name in ("hosts", "motd", "fstab"):
            (self.tree / "etc" / name).write_text(f"{name} as made\n")
        os.link(self.tree / "etc/hosts", self.tree / "hosts")
        self.checkin("first")

    def checkin(self, message: str, *words: str, code: int = 0) -> str:
        done = self.site.run("checkin", "desktop", "-m", message, *words, code=code)
        return done.stdout + done.stderr

    def live(self, *words: str, code: int = 0) -> str:
        done = self.site.run("live", "desktop", *words, code=code)
        return done.stdout + done.stderr

    def show(self, revision: str) -> str:
        return self.site.git("desktop", "show", revision)

    def tip(self) -> str:
        return self.site.git("desktop", "rev-parse", "main").strip()

    def is_mounted(self) -> bool:
        return self.tree.is_mount()

    def killed_at(self, name: str, mode: Action | None = None) -> None:
        """Do it in a process that ends at a step as if by SIGKILL."""
        pid = os.fork()
        if pid == 0:
            try:
                repository = Repository(self.site.repository("desktop"), "desktop")
                plan = live.plan(repository, self.site.path / "exports/desktop", SILENT, mode=mode, fold=mode is None)
                live.apply(plan, SILENT, lambda step: os._exit(9) if step == name else None)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9

    def end(self) -> None:
        while self.is_mounted():
            subprocess.run(["umount", "--lazy", str(self.tree)], check=True)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Its live tree is an overlay."""
    made = Machine(tmp_path)
    try:
        made.live("--mode", "overlay")
        yield made
    finally:
        made.end()


def edited(machine: Machine) -> None:
    """Edits, recorded: one file changed, one made and removed again."""
    (machine.tree / "etc/hosts").write_text("edited\n")
    (machine.tree / "etc/passing").write_text("passing\n")
    machine.checkin("second")
    (machine.tree / "etc/passing").unlink()
    machine.checkin("third")


def test_edits_are_recorded_from_the_upper_directory(machine: Machine) -> None:
    edited(machine)
    assert machine.show("main:etc/hosts") == "edited\n"
    assert "passing" not in machine.show("main:etc")
    said = machine.site.run("status", "desktop")
    assert (said.stdout, said.stderr) == (f"desktop: nothing to check in since {machine.tip()[:7]}\n", "")
    assert machine.show("main:hosts") == "hosts as made\n"  # the copy broke the hard link


def test_only_what_was_edited_is_read(machine: Machine) -> None:
    (machine.tree / "etc/motd").write_text("edited\n")
    assert machine.site.json("status", "desktop")["entries"] == 3


@pytest.mark.parametrize("way", ["update", "fold"])
def test_a_merge_keeps_what_others_did_and_what_was_done_here(machine: Machine, way: str) -> None:
    clone = machine.site.path.parent / "clone"
    machine.site.run("clone", "desktop", str(clone))
    (clone / "etc/fstab").write_text("by a colleague\n")
    identity = ["-c", "user.name=Eve", "-c", "user.email=eve@example.org"]
    for words in (("commit", "-qam", "fstab"), ("push", "-q")):
        subprocess.run(["git", "-C", str(clone), *identity, *words], check=True)
    for number in range(3):
        (machine.tree / "etc/hosts").write_text(f"edit {number}\n")
        machine.checkin(f"edit {number}")
        assert machine.show("main:etc/hosts") == f"edit {number}\n"
        assert machine.show("main:etc/fstab") == "by a colleague\n"
    assert (machine.tree / "etc/fstab").read_text() == "fstab as made\n"
    assert "nothing to check in" in machine.site.out("status", "desktop")
    if way == "update":
        machine.site.run("update", "desktop")
        assert (machine.tree / "etc/fstab").read_text() == "by a colleague\n"
        assert "nothing to check in" in machine.site.out("status", "desktop")
    machine.live("--fold")
    assert (machine.tree / "etc/fstab").read_text() == "by a colleague\n"
    assert (machine.tree / "etc/hosts").read_text() == "edit 2\n"
    assert "nothing to check in" in machine.site.out("status", "desktop")
    machine.site.run("fsck")


def test_what_does_not_go_together_is_a_conflict(machine: Machine) -> None:
    tip = machine.tip()
    upper = machine.site.path.parent / "upper"
    (upper / "etc").mkdir(parents=True)
    (upper / "etc/hosts").write_text("elsewhere\n")
    machine.site.run("checkin", "desktop", "-m", "elsewhere", "--upper", str(upper), "--base", tip)
    (machine.tree / "etc/hosts").write_text("here\n")
    assert "/etc/hosts (both sides changed its content)" in machine.checkin("here", code=12)
    assert "/etc/hosts (both sides changed its content)" in machine.checkin("here", "-n", code=12)
    assert machine.show("main:etc/hosts") == "elsewhere\n"
    machine.checkin("here", "--branch", "here")
    assert machine.show("here:etc/hosts") == "here\n"


def test_edits_that_are_not_recorded_stop_a_fold(machine: Machine) -> None:
    (machine.tree / "etc/hosts").write_text("edited\n")
    for words in (("--fold",), ("--mode", "dir")):
        assert "not checked in" in machine.live(*words, code=12)
    assert (machine.tree / "etc/hosts").read_text() == "edited\n"
    assert machine.is_mounted()


def test_a_tree_in_use_is_not_unmounted(machine: Machine) -> None:
    edited(machine)
    with open(machine.tree / "etc/hosts", "a") as file:
        assert "can't be unmounted" in machine.live("--fold", code=5)
        file.write("more\n")
    assert (machine.tree / "etc/hosts").read_text() == "edited\nmore\n"


def test_after_a_boot_it_is_mounted_again(machine: Machine) -> None:
    (machine.tree / "etc/hosts").write_text("edited\n")
    subprocess.run(["umount", str(machine.tree)], check=True)
    for words in (("status", "desktop"), ("checkin", "desktop", "-m", "x")):
        machine.site.refuses(5, *words, naming="is not mounted")
    assert "mounted" in machine.site.out("live", "--all")
    assert (machine.tree / "etc/hosts").read_text() == "edited\n"
    assert "mounted" not in machine.live()


def test_something_else_that_is_mounted_there_isnt_the_overlay(machine: Machine) -> None:
    """What is edited in it would never be recorded."""
    machine.end()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(machine.tree)], check=True)
    machine.site.refuses(5, "checkin", "desktop", "-m", "x", naming="is not mounted")
    machine.live()
    assert (machine.tree / "etc/hosts").exists()


def test_a_mount_point_becomes_no_overlay(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    subprocess.run(["mount", "--bind", str(machine.tree), str(machine.tree)], check=True)
    try:
        assert "is a mount point itself" in machine.live("--mode", "overlay", code=5)
    finally:
        subprocess.run(["umount", str(machine.tree)], check=True)


def test_what_lies_below_stays_in_history(machine: Machine) -> None:
    """A check-in that is amended is gone with the next gc, and the edits over it would mean nothing."""
    (machine.tree / "etc/hosts").write_text("edited\n")
    assert "lies over" in machine.checkin("amended", "--amend", code=12)
    machine.checkin("second")
    machine.checkin("second, said better", "--amend")


@pytest.mark.parametrize("step", FOLD_STEPS)
def test_a_fold_that_is_killed_loses_nothing(machine: Machine, step: str) -> None:
    edited(machine)
    machine.killed_at(step)
    machine.live()
    assert (machine.tree / "etc/hosts").read_text() == "edited\n"
    (machine.tree / "etc/motd").write_text("edited after the kill\n")
    machine.checkin("after")
    machine.live("--fold")
    assert (machine.tree / "etc/motd").read_text() == "edited after the kill\n"
    assert (machine.tree / "etc/hosts").read_text() == "edited\n"
    assert not (machine.tree / "etc/passing").exists()
    assert "nothing to check in" in machine.site.out("status", "desktop")
    layers = machine.tree.with_name(".desktop.overlay")
    assert [path.name for path in layers.iterdir()] == [machine.tip()]


@pytest.mark.parametrize("step", DIRECTORY_STEPS)
def test_a_way_back_that_is_killed_loses_nothing(machine: Machine, step: str) -> None:
    edited(machine)
    machine.killed_at(step, Action.DIRECTORY)
    machine.live("--mode", "dir")
    assert not machine.is_mounted()
    assert (machine.tree / "etc/hosts").read_text() == "edited\n"
    assert "nothing to check in" in machine.site.out("status", "desktop")
    (machine.tree / "etc/motd").write_text("edited\n")
    machine.checkin("in a directory")
    assert machine.show("main:etc/motd") == "edited\n"


def test_a_snapshot_with_overlay_data_is_refused_by_name(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    os.mknod(machine.tree / "etc/whiteout", 0o020600, os.makedev(0, 0))
    os.setxattr(machine.tree / "etc", "user.overlay.opaque", b"y")
    machine.checkin("overlay data")
    said = machine.live("--mode", "overlay", code=4)
    assert "/etc (attribute user.overlay.opaque), /etc/whiteout (a device 0:0)" in said
    assert not machine.is_mounted()


def test_the_directory_beneath_is_kept(machine: Machine) -> None:
    edited(machine)
    machine.live("--mode", "dir")
    beneath = machine.tree.with_name(".desktop.overlay") / "beneath-1"
    assert (beneath / "etc/hosts").read_text() == "hosts as made\n"
    shutil.rmtree(beneath)
    machine.live("--mode", "overlay")
    assert (machine.tree / "etc/hosts").read_text() == "edited\n"
    machine.end()


def test_a_name_does_not_change_below_an_overlay(machine: Machine) -> None:
    for words in (("prototype", "rename", "desktop", "other"), ("prototype", "remove", "desktop", "--yes")):
        assert "--mode dir" in machine.site.refuses(5, *words, naming="the live tree of desktop is an overlay")
    machine.live("--mode", "dir")
    machine.site.run("prototype", "rename", "desktop", "other")
