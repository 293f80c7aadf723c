"""`gitstate local` as it is typed: where REPO may be left out, what is refused, and with which exit code."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from tests.gitstate_command import Site, make_site
from tests.support import root_only

pytestmark = root_only


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = make_site(tmp_path / "site")
    (tmp_path / "root/etc").mkdir(parents=True)
    for name in ("fstab", "hosts", "a b"):
        (tmp_path / "root/etc" / name).write_text(f"{name}\n")
    site.run("prototype", "create", "desktop", "--live", str(tmp_path / "root"))
    return site


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


def test_without_base_nothing_is_done_and_the_hint_says_how(site: Site, root: Path) -> None:
    assert "gitstate layer create base" in site.refuses(10, "local", "add", "desktop", "/etc/fstab")
    assert not (root / "etc/fstab").is_symlink()
    assert site.out("local", "list", "desktop") == ""


def test_inside_the_live_tree_repo_is_left_out(site: Site, root: Path) -> None:
    site.run("layer", "create", "base")
    site.run("local", "add", "/etc/fstab", "a b", cwd=root / "etc")
    assert site.run("local", "list", "-z", cwd=root).stdout == "etc/a b\0etc/fstab\0"
    (root / "etc/fstab").unlink()
    assert site.run("local", "autofix", cwd=root).stdout == "/etc/fstab -> local/fstab\n"
    done = site.run("local", "autofix", cwd=root)
    assert (done.stdout, done.stderr) == ("", "")
    assert "desktop" in site.run("local", "fix", cwd=root).stderr


def test_a_name_may_hold_anything(site: Site, root: Path) -> None:
    name = os.fsdecode(b"etc/\xff\n x")
    (root / name).write_text("x\n")
    site.run("layer", "create", "base")
    site.run("local", "add", "desktop", name)
    assert (root / name).is_symlink()
    assert "/etc/\\377\\012 x" in site.out("local", "list", "desktop")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("add", "base", "/etc/fstab"), 2),
        (("list", "base"), 2),
        (("add", "desktop"), 2),
        (("add", "desktop", "/etc/passwd"), 2),
        (("add", "desktop", "/etc/../../x"), 2),
        (("add", "desktop", "/etc/fstab", "--keep", "--replace"), 2),
        (("add", "desktop", "/etc/nothing"), 10),
        (("add", "desktop", "/etc"), 12),
        (("remove", "desktop", "/etc/fstab"), 10),
        (("fix", "desktop", "/etc/fstab"), 10),
        (("add", "desktops", "/etc/fstab"), 10),
    ],
)
def test_what_is_refused_changes_nothing(site: Site, root: Path, words: tuple[str, ...], code: int) -> None:
    site.run("layer", "create", "base")
    site.refuses(code, "local", *words)
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["a b", "fstab", "hosts"]
    assert not any((site.path / "live/base").iterdir())


def test_one_bad_path_stops_all(site: Site, root: Path) -> None:
    site.run("layer", "create", "base")
    site.run("local", "add", "desktop", "/etc/fstab", "/etc/nothing", code=10)
    site.run("local", "add", "desktop", "/etc/fstab", "/etc/shadow", code=2)
    assert not (root / "etc/fstab").is_symlink()


@pytest.mark.parametrize("who", ["prototypes/desktop.git", "layers/base.git"])
def test_it_waits_for_nobody_who_holds_a_lock(site: Site, root: Path, who: str) -> None:
    site.run("layer", "create", "base")
    with open(site.path / who / "gitstate/lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        site.run("local", "add", "desktop", "/etc/fstab", code=11)
        site.run("local", "add", "desktop", "/etc/fstab", "-n")
    assert not (root / "etc/fstab").is_symlink()


def test_a_dry_run_says_what_would_be_done_and_does_nothing(site: Site, root: Path) -> None:
    site.run("layer", "create", "base")
    out = site.out("local", "add", "desktop", "/etc/fstab", "-n")
    assert [line.split()[0] for line in out.splitlines()] == ["ACTION", "copy", "make", "write", "link"]
    assert not (root / "etc/local").exists()


def test_a_snapshot_has_the_links_and_its_list(site: Site) -> None:
    site.run("layer", "create", "base")
    site.run("local", "add", "desktop", "/etc/fstab")
    site.run("checkin", "desktop", "-m", "writable")
    site.run("checkin", "base", "-m", "originals")
    assert site.git("desktop", "show", "main:etc/fstab") == "local/fstab"
    assert site.git("desktop", "show", "main:etc/local/fstab") == "fstab\n"
    assert site.git("desktop", "show", "main:etc/gitstate/local").endswith("\n/etc/fstab\n")
