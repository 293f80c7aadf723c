"""Mounts in view of all: what is there, what a check-in makes of it, and that umount finds them after a crash."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitstate.core.errors import HostError
from gitstate.store import Repository
from gitstate.tree import mounts
from tests.gitstate_command import Site
from tests.support import needs, root_only
from tests.tree.shell.harness import prototype, visible_mounts

pytestmark = [root_only, needs("busybox", "umount", "mount", "git")]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A prototype; whatever a test leaves mounted goes."""
    try:
        yield prototype(tmp_path)
    finally:
        for point in reversed(visible_mounts(tmp_path)):
            subprocess.run(["umount", "--lazy", str(tmp_path / point)], check=False)


@pytest.fixture
def root(site: Site) -> Path:
    return site.path.parent / "root"


@pytest.fixture
def repository(site: Site) -> Repository:
    return Repository.open(site.repository("desktop"), "desktop")


def in_chroot(root: Path, *words: str) -> str:
    """What a program prints in plain chroot."""
    return subprocess.run(["chroot", str(root), *words], check=True, capture_output=True, text=True).stdout


def test_programs_work_in_a_chroot_and_a_check_in_records_nothing_of_it(site: Site, root: Path) -> None:
    (root / "dev/sda").write_text("a file of the tree\n")
    site.run("checkin", "desktop", "-m", "before")
    before = site.git("desktop", "rev-parse", "main")
    plan = site.json("mount", "desktop", "-n")["mounts"]
    assert visible_mounts(root) == []
    done = site.run("mount", "desktop")
    assert f"{len(plan)} mounts in {root}" in done.stdout
    assert visible_mounts(root) == sorted(plan)
    assert in_chroot(root, "cat", "/etc/resolv.conf") == Path("/etc/resolv.conf").read_text()
    assert "/proc/self" in in_chroot(root, "ls", "-d", "/proc/self", "/dev/null", "/dev/pts/ptmx", "/dev/fd/0")
    (root / "tmp/x").write_text("x")
    (root / "dev/shm/x").write_text("x")
    assert site.out("status", "desktop").startswith("desktop: nothing to check in since")
    (root / "etc/new").write_text("new\n")
    site.run("checkin", "desktop", "-m", "with mounts")
    assert site.git("desktop", "diff", "--name-only", before.strip(), "main", "--", ":!*.gitstate").split() == [
        "etc/new"
    ]
    assert site.out("mount", "desktop") == "desktop: all is mounted already"
    assert site.json("umount", "desktop", "-n")["mounts"] == plan
    assert site.json("umount", "desktop")["busy"] == []
    assert visible_mounts(root) == []
    assert sorted(path.name for path in (root / "dev").iterdir()) == ["console", "sda"]
    assert not (site.repository("desktop") / "gitstate/mounts").exists()
    assert site.out("umount", "desktop") == "desktop: nothing is mounted"
    assert site.out("status", "desktop").startswith("desktop: nothing to check in since")


def test_what_is_used_goes_out_of_sight_and_others_mounts_stay(site: Site, root: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "theirs", str(root / "root")], check=True)
    site.run("mount", "desktop")
    with subprocess.Popen(["sleep", "100"], cwd=root / "dev/shm") as user:
        done = site.run("umount", "desktop")
        assert "/dev/shm" in done.stderr
        assert visible_mounts(root) == ["root"]
        user.kill()


@pytest.mark.parametrize("count", [1, 3, 9, 13])
def test_after_a_crash_both_commands_go_on(
    site: Site, root: Path, repository: Repository, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed process leaves the first few mounts."""
    todo = mounts.plan(root, repository.private / "mounts")
    (repository.private / "mounts").mkdir()
    mounts.furnish(todo)
    mounts.apply(mounts.Plan(todo.live, todo.place, todo.mounts[:count]))
    assert len(visible_mounts(root)) == count
    if count % 2:
        site.run("mount", "desktop")
        assert len(visible_mounts(root)) == len(todo.mounts)
    site.run("umount", "desktop")
    assert visible_mounts(root) == []


def test_what_cannot_be_mounted_leaves_nothing(
    site: Site, root: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "var/tmp").rmdir()
    (root / "var/tmp").mkdir()
    plan = mounts.view.__globals__["plan_view"]

    def swapped(*words: object) -> mounts.Plan:
        todo = plan(*words)
        (root / "var/tmp").rmdir()
        (root / "var/tmp").symlink_to(root.parent)
        return todo  # type: ignore[no-any-return]

    monkeypatch.setitem(mounts.view.__globals__, "plan_view", swapped)
    with pytest.raises(HostError, match="/var/tmp"):
        mounts.view(repository, root)
    assert visible_mounts(root.parent) == []
    assert not (repository.private / "mounts").exists()


def test_a_parent_that_became_a_symlink_leads_umount_nowhere(site: Site, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "tmp").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "theirs", str(outside / "tmp")], check=True)
    site.run("mount", "desktop")
    os.rename(root / "var", root / "moved")
    (root / "var").symlink_to(outside)
    site.run("umount", "desktop")
    assert visible_mounts(tmp_path) == ["outside/tmp"]
