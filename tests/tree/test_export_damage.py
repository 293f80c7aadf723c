"""A damaged export is never linked into the next one, wherever it is damaged, and the next one is right."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only
from tests.testing import judges

pytestmark = [root_only, needs("mtree", "rsync", "getcap", "getfacl")]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with an export."""
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "p")
    live = site.path / "live" / "p"
    for directory in ("etc/a", "usr/bin", "usr/lib/deep", "var"):
        (live / directory).mkdir(parents=True)
        (live / directory / "file").write_text(f"{directory}\n" * 9)
    os.link(live / "usr" / "bin" / "file", live / "usr" / "lib" / "linked")
    (live / "usr" / "bin" / "link").symlink_to("file")
    site.run("checkin", "p", "-m", "one")
    site.run("export", "p")
    return site


def touch(path: Path, data: bytes) -> None:
    """Other content of the same size; only the time tells."""
    with path.open("r+b") as file:
        file.write(data)


def swap(path: Path) -> None:
    """A file in the place of a directory."""
    shutil.rmtree(path)
    path.write_text("x")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a file that is cut": lambda root: os.truncate(root / "usr" / "lib" / "deep" / "file", 3),
    "a file with another time": lambda root: touch(root / "usr" / "bin" / "file", b"USR"),
    "a file that is gone": lambda root: (root / "usr" / "bin" / "file").unlink(),
    "a file too many": lambda root: (root / "usr" / "lib" / "more").write_text("x"),
    "a mode": lambda root: (root / "var" / "file").chmod(0o4755),
    "an owner": lambda root: os.chown(root / "etc" / "a" / "file", 5, 5),
    "a directory that is gone": lambda root: shutil.rmtree(root / "usr" / "lib"),
    "a directory's mode": lambda root: (root / "usr").chmod(0o700),
    "a file for a directory": lambda root: swap(root / "usr" / "lib"),
    "a file in a changed directory": lambda root: (root / "etc" / "a" / "file").write_text("changed\n"),
    "the root's owner": lambda root: os.chown(root, 7, 7),
    "all of it": lambda root: [shutil.rmtree(path) for path in root.iterdir()],
}


@pytest.mark.parametrize("what", DAMAGE)
def test_the_next_export_is_right(site: Site, what: str) -> None:
    (old,) = (site.path / "exports" / "p").iterdir()
    DAMAGE[what](old)
    (site.path / "live" / "p" / "etc" / "a" / "new").write_text("new\n")
    site.run("checkin", "p", "-m", "two")
    done = site.run("export", "p")
    assert "isn't as it was written" in done.stderr
    assert judges.mtree(site.path / "live" / "p", Path(done.stdout.strip())) == []
    site.run("verify", "p")


def test_a_sound_one_is_linked_and_one_that_nobody_knows_is_not(site: Site) -> None:
    names = []
    for number in range(2):
        (site.path / "live" / "p" / "etc" / "number").write_text(f"{number}\n")
        site.run("checkin", "p", "-m", "more")
        names.append(Path(site.out("export", "p")) / "usr" / "bin" / "file")
    (old,) = set((site.path / "exports" / "p").iterdir()) - {name.parents[2] for name in names}
    assert old.joinpath("usr", "bin", "file").samefile(names[0])
    assert names[0].samefile(names[1])
    for known in (site.repository("p") / "gitstate" / "exports").iterdir():
        known.write_bytes(known.read_bytes()[:-1])
    (site.path / "live" / "p" / "etc" / "number").write_text("last\n")
    site.run("checkin", "p", "-m", "last")
    assert not (Path(site.out("export", "p")) / "usr" / "bin" / "file").samefile(names[1])
