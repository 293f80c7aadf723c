"""A snapshot restored is the tree that was checked in: outside programs say so, not our own reader."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gitstate_command import Site, git, make_site
from tests.roots import tarball
from tests.support import needs, root_only
from tests.testing import hostile, judges

pytestmark = [root_only, needs("mtree", "rsync", "getcap", "getfacl", "setcap", "setfacl", "git")]

UNRECORDED = (
    *("proc", "sys", "run", "tmp", "var/tmp", "dev/shm", "dev/pts"),
    *("var/cache/apt/archives", "var/lib/apt/lists"),
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory that is removed whatever stands in it."""
    yield tmp_path
    hostile.remove(tmp_path)


def check_in(site: Site, name: str, live: Path) -> Path:
    """Adopt ``live``, check it in, export it; the export."""
    site.run("prototype", "create", name, "--live", str(live))
    site.run("checkin", name, "-m", "as found")
    return Path(site.out("export", name))


@pytest.mark.parametrize("deep", [False, True])
def test_a_hostile_tree_comes_back_identical(place: Path, deep: bool) -> None:
    live = place / "live"
    live.mkdir()
    hostile.build(live, sockets=False, deep=deep)
    site = make_site(place / "site")
    export = check_in(site, "hostile", live)
    assert judges.everything(live, export) == []
    assert git(site.repository("hostile"), "fsck", "--strict") == ""
    assert site.out("fsck") == "hostile: ok"
    assert "nothing to check in" in site.out("status", "hostile")


@pytest.mark.slow
def test_fifty_thousand_entries_in_one_directory(place: Path) -> None:
    live = place / "live"
    live.mkdir()
    hostile.build(live, sockets=False, wide=50_000)
    site = make_site(place / "site")
    assert judges.everything(live, check_in(site, "wide", live)) == []


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_every_next_export_is_identical_too(place: Path, seed: int) -> None:
    """Random edits, checked in and exported on top of each other: links from the export before are right."""
    live = place / "live"
    live.mkdir()
    hostile.build(live, sockets=False, wide=50)
    site = make_site(place / "site")
    check_in(site, "edited", live)
    for turn in range(3):
        edits = hostile.mutate(live, seed * 100 + turn)
        site.run("checkin", "edited", "-m", f"turn {turn}")
        export = Path(site.out("export", "edited"))
        assert judges.everything(live, export) == [], edits
    assert git(site.repository("edited"), "fsck", "--strict") == ""
    site.run("verify", "edited", "HEAD")
    site.run("verify", "edited", "HEAD~3")


def test_after_gc_the_same_tree_comes_out(place: Path) -> None:
    live = place / "live"
    live.mkdir()
    hostile.build(live, sockets=False)
    site = make_site(place / "site")
    check_in(site, "packed", live)
    site.run("gc", "packed")
    again = place / "again"
    site.run("export", "packed", "HEAD", "--to", str(again))
    assert judges.everything(live, again) == []


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stock Debian root, unpacked once."""
    root = tmp_path_factory.mktemp("debian") / "root"
    root.mkdir()
    subprocess.run(
        ["tar", "-xpf", str(tarball()), "-C", str(root), "--numeric-owner", "--xattrs", "--xattrs-include=*"],
        check=True,
    )
    yield root
    hostile.remove(root)


@needs("mmdebstrap")
@pytest.mark.xdist_group("debian")
def test_a_stock_debian_root(place: Path, debian: Path) -> None:
    site = make_site(place / "site")
    site.run("prototype", "create", "debian", "--live", str(debian))
    refused = site.run("checkin", "debian", "-m", "with host keys", code=4)
    assert "/etc/ssh/ssh_host_" in refused.stderr
    assert "prepare" in refused.stderr
    assert "nothing checked in yet" in site.out("status", "debian").splitlines()[0]
    for key in debian.glob("etc/ssh/ssh_host_*_key"):
        key.unlink()
    site.run("checkin", "debian", "-m", "as installed")
    export = Path(site.out("export", "debian"))

    reference = place / "reference"
    subprocess.run(["cp", "-a", str(debian), str(reference)], check=True)
    for name in UNRECORDED:
        for path in (reference / name).iterdir():
            hostile.remove(path)
        subprocess.run(["touch", "-d", "@0", str(reference / name)], check=True)
    for name in ("var/lib/dpkg/status-old", "var/cache/ldconfig/aux-cache"):
        (reference / name).unlink(missing_ok=True)
    restore_times(debian, reference, ("var/lib/dpkg", "var/cache/ldconfig"))
    assert judges.everything(reference, export) == []
    assert git(site.repository("debian"), "fsck", "--strict") == ""


def restore_times(original: Path, copy: Path, names: tuple[str, ...]) -> None:
    """Give directories of ``copy`` back the times that removing something from them changed."""
    for name in names:
        subprocess.run(["touch", "-r", str(original / name), str(copy / name)], check=True)
