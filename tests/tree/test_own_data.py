"""A site and live trees that lie in one another: nothing of the site is ever recorded."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitstate.core.errors import UsageError
from gitstate.store import site as store
from gitstate.tree.own_data import OwnData, check_overlap
from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

USAGE = 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system."""
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (root / "srv").mkdir()
    return root


@contextmanager
def bind(source: Path, target: Path) -> Iterator[Path]:
    target.mkdir()
    subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        yield target
    finally:
        subprocess.run(["umount", target], check=True)


def inside(root: Path) -> Site:
    """A site in the root, with a secret and something in a live tree."""
    site = make_site(root / "srv/gitstate")
    (site.path / "secrets/m-1").mkdir()
    (site.path / "secrets/m-1/token").write_text("secret\n")
    (site.path / "live/note").write_text("edited\n")
    return site


def recorded(site: Site) -> list[str]:
    return [name for name in site.git("self", "ls-tree", "-r", "--name-only", "main").split() if ".git" not in name]


def check_that_the_site_is_left_out(site: Site, live: Path) -> None:
    assert "leave" in site.out("prototype", "create", "self", "--live", str(live), "-n")
    site.run("prototype", "create", "self", "--live", str(live))
    assert "srv/gitstate" in site.run("checkin", "self", "-m", "one").stderr
    assert recorded(site) == ["etc/hosts"]
    assert (site.json("status", "self")["changes"], site.json("checkin", "self", "-m", "two")["commit"]) == ([], None)
    export = Path(site.out("export", "self"))
    assert (export / "srv/gitstate").stat().st_mode & 0o7777 == 0o711
    assert list((export / "srv/gitstate").iterdir()) == []
    site.run("verify", "self", "main", str(live))
    assert "secret" not in site.out("diff", "self")


def test_a_site_in_the_live_tree_is_left_out(root: Path) -> None:
    check_that_the_site_is_left_out(inside(root), root)


def test_a_site_that_is_reached_by_other_paths_is_left_out(root: Path, tmp_path: Path) -> None:
    site = inside(root)
    (tmp_path / "short").symlink_to(site.path)
    with bind(root, tmp_path / "bound") as bound:
        check_that_the_site_is_left_out(Site(tmp_path / "short"), bound)


def test_a_site_that_was_recorded_before_goes_from_the_next_snapshot(root: Path, tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "self", "--live", str(root))
    (root / "srv/gitstate/secrets").mkdir(parents=True)
    (root / "srv/gitstate/secrets/old").write_text("secret\n")
    site.run("checkin", "self", "-m", "one")
    moved = Site(root / "srv/gitstate")
    (moved.path / "secrets/old").unlink()
    (moved.path / "secrets").rmdir()
    subprocess.run(["cp", "-a", f"{site.path}/.", moved.path], check=True)
    (moved.path / "secrets/new").write_text("secret\n")
    moved.run("checkin", "self", "-m", "two")
    assert recorded(moved) == ["etc/hosts"]


@pytest.mark.parametrize("part", ["", "secrets", "secrets/m-1", "live", "prototypes"])
def test_no_part_of_a_site_is_a_live_tree(root: Path, tmp_path: Path, part: str) -> None:
    site = inside(root)
    (tmp_path / "link").symlink_to(site.path / part)
    with bind(site.path / part, tmp_path / "bound") as bound:
        for live in (site.path / part, tmp_path / "link", bound):
            with pytest.raises(UsageError) as raised:
                OwnData(site.path).check(live)
            assert str(live) in raised.value.message


def test_commands_refuse_it(root: Path) -> None:
    site = inside(root)
    site.run("prototype", "create", "other")
    secrets = str(site.path / "secrets/m-1")
    site.refuses(USAGE, "prototype", "create", "self", "--live", secrets, naming=secrets)
    site.refuses(USAGE, "checkin", "other", "-m", "one", "--live", secrets, naming=secrets)
    site.refuses(USAGE, "prototype", "create", "copy", "--from", f"{root}/", naming=str(site.path))


def test_a_live_tree_has_one_repository(root: Path, tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "first", "--live", str(root))
    (tmp_path / "link").symlink_to(root)
    with bind(root, tmp_path / "bound") as bound, bind(root / "etc", tmp_path / "bound-etc") as part:
        for live in (root, root / "etc", tmp_path, tmp_path / "link", bound, part):
            with pytest.raises(UsageError) as raised:
                check_overlap(store.Site(site.path), live)
            assert str(live) in raised.value.message
            assert "first" in raised.value.message
    site.refuses(USAGE, "prototype", "create", "second", "--live", str(root), naming=str(root))
    (tmp_path / "root2").mkdir()
    check_overlap(store.Site(site.path), tmp_path / "root2")


def test_trees_in_a_site_that_is_left_out_are_in_nobodys_way(root: Path) -> None:
    site = inside(root)
    site.run("layer", "create", "lab/one")
    check_overlap(store.Site(site.path), root)
    with pytest.raises(UsageError, match="lab/one"):
        check_overlap(store.Site(site.path), site.path / "live/lab")
