"""An unmounted or emptied live tree is no edit."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gitstate_command import Site, make_site
from tests.support import root_only

pytestmark = root_only


def fill(live: Path, entries: int) -> None:
    live.mkdir(exist_ok=True)
    for number in range(entries - 1):
        (live / f"file-{number}").write_text(f"{number}\n")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with a live tree of 60 entries."""
    site = make_site(tmp_path / "site")
    fill(tmp_path / "live", 60)
    site.run("prototype", "create", "p", "--live", str(tmp_path / "live"))
    site.run("checkin", "p", "-m", "one")
    return site


def remove(live: Path, number: int) -> None:
    for path in sorted(live.iterdir())[:number]:
        path.unlink()


def test_more_than_half_gone(site: Site, tmp_path: Path) -> None:
    live = tmp_path / "live"
    remove(live, 31)
    said = site.refuses(4, "checkin", "p", "-m", "two", naming=["31 of 60", str(live)])
    assert "gitstate restore p --all" in said
    assert "--yes-delete 31" in said
    site.run("checkin", "p", "-m", "two", "-n", code=4)
    site.run("checkin", "p", "-m", "two", "--yes-delete", "30", code=4)
    assert site.git("p", "rev-list", "--count", "main").strip() == "1"
    site.run("checkin", "p", "-m", "two", "--yes-delete", "31")
    remove(live, 14)  # of 29: few
    site.run("checkin", "p", "-m", "three")


def test_half_may_go(site: Site, tmp_path: Path) -> None:
    remove(tmp_path / "live", 30)
    site.run("checkin", "p", "-m", "two")


def test_a_small_tree_may_be_emptied(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    fill(tmp_path / "live", 21)
    site.run("prototype", "create", "p", "--live", str(tmp_path / "live"))
    site.run("checkin", "p", "-m", "one")
    remove(tmp_path / "live", 20)
    site.run("checkin", "p", "-m", "two")


def test_what_is_replaced_is_no_loss(site: Site, tmp_path: Path) -> None:
    remove(tmp_path / "live", 59)
    for number in range(60):
        (tmp_path / "live" / f"new-{number}").write_text("x")
    site.run("checkin", "p", "-m", "two")


def test_another_directory(site: Site, tmp_path: Path) -> None:
    live = tmp_path / "live"
    live.rename(tmp_path / "old")
    subprocess.run(["cp", "-a", tmp_path / "old", live], check=True)
    said = site.refuses(5, "checkin", "p", "-m", "two", naming=str(live))
    assert "--yes-delete 0" in said
    assert "another directory" in site.run("status", "p").stderr
    site.refuses(5, "update", "p", naming=str(live))
    site.refuses(5, "restore", "p", "--all", naming=str(live))
    (live / "new").write_text("x")
    site.run("checkin", "p", "-m", "two", "--yes-delete", "0")
    (live / "newer").write_text("x")
    site.run("checkin", "p", "-m", "three")


def test_a_lost_tree_that_was_restored_is_the_live_tree(site: Site, tmp_path: Path) -> None:
    live = tmp_path / "live"
    shutil.rmtree(live)
    site.run("restore", "p", "--all")
    (live / "new").write_text("x")
    site.run("checkin", "p", "-m", "two")
    live.rename(tmp_path / "old")
    live.mkdir()
    site.refuses(5, "restore", "p", "--all", naming=str(live))
    site.run("restore", "p", "--all", "--live", str(live))
    (live / "new").unlink()
    site.run("checkin", "p", "-m", "three")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A directory on which a file system is mounted."""
    live = tmp_path / "mounted"
    live.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(live)], check=True)
    yield live
    subprocess.run(["umount", "-q", str(live)], check=False)


def test_an_unmounted_file_system(tmp_path: Path, mounted: Path) -> None:
    site = make_site(tmp_path / "site")
    fill(mounted, 5)
    site.run("prototype", "create", "p", "--live", str(mounted))
    site.run("checkin", "p", "-m", "one")
    subprocess.run(["umount", str(mounted)], check=True)
    site.refuses(5, "checkin", "p", "-m", "two", naming=str(mounted))
    assert site.git("p", "ls-tree", "--name-only", "main").split() == [
        ".gitstate",
        "file-0",
        "file-1",
        "file-2",
        "file-3",
    ]


def test_the_whole_machine_with_the_site_in_it(tmp_path: Path) -> None:
    """As ``--live /``: the site lies below, and isn't recorded."""
    live = tmp_path / "machine"
    fill(live, 30)
    (live / "srv").mkdir()
    site = make_site(live / "srv" / "gitstate")
    site.run("prototype", "create", "p", "--live", str(live))
    site.run("checkin", "p", "-m", "one")
    for path in live.glob("file-*"):
        path.unlink()
    site.refuses(4, "checkin", "p", "-m", "two", naming="29 of")
    site.run("restore", "p", "--all")
    assert len(list(live.glob("file-*"))) == 29
    assert site.git("p", "rev-list", "--count", "main").strip() == "1"
    assert "nothing to check in" in site.out("status", "p")


def test_a_copy_of_the_whole_site_is_no_other_directory(tmp_path: Path) -> None:
    """As it comes back from a backup."""
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "p")
    fill(site.path / "live" / "p", 30)
    site.run("checkin", "p", "-m", "one")
    site.path.rename(tmp_path / "old")
    subprocess.run(["cp", "-a", tmp_path / "old", site.path], check=True)
    (site.path / "live" / "p" / "new").write_text("x")
    site.run("checkin", "p", "-m", "two")
