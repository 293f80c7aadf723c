"""`gitstate prepare` as a person or a script runs it."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path

import pytest

from tests.cli.harness import listing
from tests.cli.terminal import on_terminal
from tests.gitstate_command import Site, make_site
from tests.support import PROJECT, needs, root_only
from tests.tree.prepare.harness import INITRD, can, dirty, plant, probe

pytestmark = [root_only, needs("busybox", "unshare", "setpriv", "git")]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path / "site")
    dirty(plant(tmp_path / "root"))
    site.run("prototype", "create", "desktop", "--live", str(tmp_path / "root"))
    return site


@pytest.fixture
def root(site: Site) -> Path:
    return site.path.parent / "root"


def test_it_says_in_a_line_what_was_done(site: Site) -> None:
    done = site.run("prepare", "desktop")
    assert done.stdout.rstrip("\n").split(", ") == [
        "host keys removed",
        "machine-id emptied",
        "disks commented out of fstab",
        "boot interface left alone",
        "initrd has nfs + overlay",
    ]
    assert done.stderr == "next: gitstate checkin desktop -m 'ready to boot'\n"
    done = site.run("prepare", "desktop")
    assert (done.stdout, done.stderr) == ("desktop: nothing to do\n", "")


def test_only_what_was_done_is_said(site: Site, root: Path) -> None:
    site.run("prepare", "desktop")
    (root / "tmp/x").touch()
    assert site.out("prepare", "desktop") == "desktop: tidied"
    (root / "etc/ssh/ssh_host_rsa_key").touch()
    assert site.out("prepare", "desktop") == "host keys removed"


def test_the_repository_may_be_left_out_inside_the_live_tree(site: Site, root: Path) -> None:
    assert "initrd has nfs + overlay" in site.run("prepare", cwd=root / "etc").stdout


def test_a_dry_run_lists_what_would_be_done_and_does_nothing(site: Site, root: Path) -> None:
    before = listing(root)
    lines = site.out("prepare", "desktop", "--dry-run").splitlines()
    assert lines[0].split() == ["ACTION", "PATH", "REASON"]
    assert {tuple(line.split()[:2]) for line in lines} >= {
        ("clear", "/tmp"),
        ("empty", "/var/log/dpkg.log"),
        ("empty", "/etc/machine-id"),
        ("remove", "/etc/ssh/ssh_host_rsa_key"),
        ("write", "/etc/initramfs-tools/hooks/gitstate"),
        ("make", f"/{INITRD}"),
    }
    assert listing(root) == before
    site.run("prepare", "desktop")
    assert site.out("prepare", "desktop", "-n") == "desktop: nothing to do"


def test_json_of_a_dry_run_is_that_of_the_run(site: Site) -> None:
    would = site.json("prepare", "desktop", "-n")
    did = site.json("prepare", "desktop")
    assert would.pop("dry_run")
    assert not did.pop("dry_run")
    assert would == did
    assert site.json("prepare", "desktop")["steps"] == []


def test_what_it_leaves_can_be_checked_in(site: Site) -> None:
    site.run("checkin", "desktop", "-m", "as installed", code=4)
    site.run("prepare", "desktop")
    site.run("checkin", "desktop", "-m", "ready to boot")
    site.run("prepare", "desktop")
    assert site.json("status", "desktop")["changes"] == []


def test_missing_packages_are_an_error_of_the_environment(site: Site, root: Path) -> None:
    (root / "usr/bin/setfattr").unlink()
    before = listing(root)
    printed = site.refuses(5, "prepare", "desktop", naming="attr")
    assert "apt-get install --no-install-recommends attr" in printed
    assert listing(root) == before
    assert "install  attr" in site.out("prepare", "desktop", "--install", "-n")


def test_a_failing_mkinitramfs_is_told_in_its_own_words(site: Site, root: Path) -> None:
    probe(root, "echo 'E: nothing works today'; exit 1")
    site.refuses(5, "prepare", "desktop", naming=("mkinitramfs", "nothing works today"))
    (root / "root/probe").unlink()
    can(root, ["nfs"])
    error = json.loads(site.run("prepare", "desktop", "--json", code=5).stderr)["error"]
    assert "nfsv3, nfsv4, overlay" in error["message"]


def test_only_one_at_a_time_changes_a_prototype(site: Site, root: Path) -> None:
    before = listing(root)
    with open(site.repository("desktop") / "gitstate" / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        site.run("prepare", "desktop", code=11)
    assert listing(root) == before


def test_a_prototype_without_a_live_tree_is_named(site: Site, root: Path) -> None:
    root.rename(root.with_name("elsewhere"))
    site.refuses(5, "prepare", "desktop", naming=str(root))


def test_who_waits_sees_that_it_goes_on(site: Site, root: Path) -> None:
    probe(root, "for n in 1 2 3 4 5 6 7 8; do echo Adding module $n; sleep 0.2; done")
    environment = {**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)}
    screen = on_terminal([sys.executable, "-m", "gitstate", "prepare", "desktop"], environment, size=(24, 120))
    assert screen.code == 0
    assert "initrd of 6.1.0-31-amd64" in screen.text
    assert "files" in screen.text


def test_ctrl_c_leaves_nothing_half_done(site: Site, root: Path) -> None:
    probe(root, "echo here >/boot/here; sleep 1000")
    environment = {**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)}
    words = [sys.executable, "-m", "gitstate", "prepare", "desktop"]
    screen = on_terminal(words, environment, until=(root / "boot/here").exists)
    assert screen.code == 130
    assert "interrupted" in screen.text
    assert [path.name for path in (root / "boot").glob(".*")] == []
    (root / "root/probe").unlink()
    assert site.out("prepare", "desktop") == "initrd has nfs + overlay"
