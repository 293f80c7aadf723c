"""What an export shares with others: inodes by links, extents by clones, nothing with another file system.

The disks are real: filefrag asks the kernel where bytes stand (FIEMAP), and outside programs judge the trees.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.cli.harness import plant
from tests.damage.harness import forced_removal, mounted
from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only, unavailable
from tests.testing import judges

pytestmark = [
    root_only,
    pytest.mark.lab,
    needs("filefrag", "mkfs.ext4", "mkfs.btrfs", "mkfs.xfs", "mtree", "rsync", "getcap", "getfacl", "setcap"),
]

MIB: Final = 1 << 20
MAKE: Final = {"btrfs": ["mkfs.btrfs", "-q"], "xfs": ["mkfs.xfs", "-q"], "ext4": ["mkfs.ext4", "-q", "-N", "80000"]}


def disk(path: Path, kind: str) -> Iterator[Path]:
    """A file system of its own at ``path``."""
    path.mkdir()
    image = path.with_suffix(".image")
    with open(image, "wb") as file:
        file.truncate(600 * MIB)
    subprocess.run([*MAKE[kind], str(image)], check=True, capture_output=True)
    try:
        subprocess.run(["mount", "-t", kind, "-o", "loop", str(image), str(path)], check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        unavailable(f"missing: {kind}: {error.stderr.decode().strip()}")
    yield path
    forced_removal(path)
    subprocess.run(["umount", "--lazy", str(path)], check=True)
    image.unlink()


@pytest.fixture(params=["btrfs", "xfs"])
def cloning(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A disk whose files can share bytes."""
    yield from disk(tmp_path / "disk", request.param)


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Path]:
    """A disk on which only links share."""
    yield from disk(tmp_path / "disk", "ext4")


def begin(place: Path) -> tuple[Site, Path]:
    """A site with a live tree of all kinds of entries, large and sparse files and a hard link in it, checked in."""
    live = place / "live"
    plant(live)
    (live / "var" / "socket").unlink()
    for name in ("proc", "tmp"):  # whose times are not recorded
        (live / name).rmdir()
    (live / "large").write_bytes(os.urandom(3 * MIB))
    (live / "small").write_bytes(b"small\n")
    with open(live / "holes", "wb") as file:
        file.write(os.urandom(MIB))
        file.seek(8 * MIB)
        file.write(os.urandom(MIB))
    os.link(live / "large", live / "twin")
    site = make_site(place / "site")
    site.run("prototype", "create", "desktop", "--live", str(live))
    site.run("checkin", "desktop", "-m", "first")
    return site, live


EXTENT: Final = re.compile(r"^\s*\d+:\s+(\d+)\.\.\s*(\d+):\s+(\d+)\.\.\s*(\d+):.*?(\S*)$", re.MULTILINE)


def extents(path: Path) -> list[tuple[str, str, str]]:
    """Where a file's bytes stand in it and on the disk, and the kernel's flags."""
    said = subprocess.run(["filefrag", "-v", "-s", str(path)], capture_output=True, text=True, check=True).stdout
    return [(start, where, flags) for start, _, where, _, flags in EXTENT.findall(said)]


def share_bytes(one: Path, other: Path) -> bool:
    """Whether two files are two, and all of their bytes stand in the same places of the disk."""
    places = [[(start, where) for start, where, _ in extents(path)] for path in (one, other)]
    shared = all("shared" in flags for path in (one, other) for _, _, flags in extents(path))
    return one.stat().st_ino != other.stat().st_ino and bool(places[0]) and places[0] == places[1] and shared


def files(tree: Path) -> list[Path]:
    """The regular files that aren't empty, each inode once."""
    found = {}
    for directory, _, names in os.walk(tree):
        for name in names:
            status = os.lstat(path := Path(directory, name))
            if stat.S_ISREG(status.st_mode) and status.st_size:
                found[status.st_ino] = path
    return list(found.values())


def test_filefrag_tells_a_clone_from_a_copy(cloning: Path) -> None:
    one, two, three = (cloning / name for name in ("one", "two", "three"))
    one.write_bytes(os.urandom(MIB))
    subprocess.run(["cp", "--reflink=always", str(one), str(two)], check=True)
    subprocess.run(["cp", "--reflink=never", str(one), str(three)], check=True)
    os.sync()
    assert share_bytes(one, two)
    assert not share_bytes(one, three)
    assert not share_bytes(one, one)


def test_a_tree_of_the_users_own_shares_bytes_with_the_export(cloning: Path) -> None:
    site, live = begin(cloning)
    export = Path(site.out("export", "desktop"))
    own = cloning / "own"
    said = site.json("export", "desktop", "HEAD", "--to", str(own))
    assert judges.everything(live, own) == []
    assert said["nearest"] is None
    assert said["cloned"] >= len(files(own))
    assert said["bytes"] == 0
    assert {path.stat().st_ino for path in files(own)}.isdisjoint(path.stat().st_ino for path in files(export))
    for name in ("large", "holes"):
        assert share_bytes(export / name, own / name)
    (own / "large").write_bytes(b"changed")
    (own / "small").write_bytes(b"changed")
    assert judges.everything(live, export) == []
    site.run("verify", "desktop", "HEAD")


def test_a_tree_of_the_users_own_is_like_its_snapshot_not_like_the_nearest_export(cloning: Path) -> None:
    site, live = begin(cloning)
    site.run("export", "desktop")
    (live / "large").chmod(0o4711)
    (live / "small").write_bytes(b"other\n")
    (live / "holes").rename(live / "moved")
    (live / "etc" / "new").write_bytes(b"new\n")
    shutil.rmtree(live / "odd")
    site.run("checkin", "desktop", "-m", "second")
    own = cloning / "own"
    said = site.json("export", "desktop", "HEAD", "--to", str(own))
    assert said["cloned"]
    assert said["bytes"]
    assert judges.everything(live, own) == []
    site.run("verify", "desktop", "HEAD", str(own))


def test_what_changed_in_metadata_alone_shares_bytes(cloning: Path) -> None:
    site, live = begin(cloning)
    first = Path(site.out("export", "desktop"))
    (live / "large").chmod(0o600)
    (live / "holes").chmod(0o640)
    os.chown(live / "small", 12, 34)
    site.run("checkin", "desktop", "-m", "modes")
    said = site.json("export", "desktop")
    second = Path(site.out("export", "desktop"))
    assert judges.everything(live, second) == []
    assert (said["cloned"], said["bytes"]) == (3, 0), "large, one of two links, holes, small"
    for name in ("large", "holes"):
        assert share_bytes(first / name, second / name)
    assert (first / "large").stat().st_mode != (second / "large").stat().st_mode
    site.run("verify", "desktop", "HEAD~1")


def test_a_fork_shares_bytes_with_an_export(cloning: Path) -> None:
    site, live = begin(cloning)
    export = Path(site.out("export", "desktop"))
    site.run("prototype", "create", "fork", "--from", "desktop")
    forked = site.path / "live" / "fork"
    assert judges.everything(live, forked) == []
    assert share_bytes(export / "large", forked / "large")


def test_a_full_link_count_becomes_a_clone(tmp_path: Path) -> None:
    """A btrfs inode has 65,535 links at most."""
    for place in disk(tmp_path / "disk", "btrfs"):
        site, live = begin(place)
        first = Path(site.out("export", "desktop"))
        fill_links(first / "holes", place / "many")
        (live / "small").write_bytes(b"other\n")
        site.run("checkin", "desktop", "-m", "second")
        said = site.json("export", "desktop")
        second = Path(site.out("export", "desktop"))
        assert judges.everything(live, second) == []
        assert said["cloned"] == 1
        assert share_bytes(first / "holes", second / "holes")


def fill_links(path: Path, place: Path) -> None:
    """Link ``path`` until the file system refuses."""
    place.mkdir()
    for number in range(100_000):
        try:
            os.link(path, place / str(number))
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            return
    pytest.fail("no limit of links")


def test_a_full_link_count_becomes_a_file_where_nothing_can_be_cloned(plain: Path) -> None:
    site, live = begin(plain)
    first = Path(site.out("export", "desktop"))
    for name in ("holes", "large"):  # one file, and a group of two
        fill_links(first / name, plain / f"many {name}")
    (live / "small").write_bytes(b"other\n")
    site.run("checkin", "desktop", "-m", "second")
    said = site.run("export", "desktop", "--json")
    assert said.stderr == ""
    assert '"cloned": 0' in said.stdout
    second = Path(site.out("export", "desktop"))
    assert judges.everything(live, second) == []
    assert (second / "large").stat().st_ino == (second / "twin").stat().st_ino
    assert (second / "large").stat().st_ino != (first / "large").stat().st_ino


def test_without_clones_a_tree_of_the_users_own_is_written(plain: Path) -> None:
    site, live = begin(plain)
    export = Path(site.out("export", "desktop"))
    said = site.run("export", "desktop", "HEAD", "--to", str(plain / "own"))
    assert said.stderr == "", "that is how most file systems are"
    assert judges.everything(live, plain / "own") == []
    assert not share_bytes(export / "large", plain / "own" / "large")


def test_an_export_that_is_gone_or_broken_lends_nothing(cloning: Path) -> None:
    """Whoever removes an export while it lends its bytes keeps nobody from an export of his own."""
    site, live = begin(cloning)
    export = Path(site.out("export", "desktop"))
    (export / "large").unlink()
    (export / "twin").unlink()
    shutil.rmtree(export / "etc")
    shutil.rmtree(export / "usr" / "bin")
    own = cloning / "own"
    site.run("export", "desktop", "HEAD", "--to", str(own))
    assert judges.everything(live, own) == []


def test_another_file_system_is_told_of_once_and_written(cloning: Path, tmp_path: Path) -> None:
    site, live = begin(cloning)
    export = Path(site.out("export", "desktop"))
    with mounted(tmp_path / "memory", "-t", "tmpfs", "tmpfs") as other:
        own = other / "own"
        said = site.run("export", "desktop", "HEAD", "--to", str(own))
        assert said.stderr.count("another file system") == 1
        assert len(said.stderr.splitlines()) == 1
        assert (own / "large").read_bytes() == (live / "large").read_bytes()
        # An export on a disk of its own can't lend an inode either.
        kept = tmp_path / "kept"
        subprocess.run(["cp", "-a", str(export), str(kept)], check=True)
        (live / "small").write_bytes(b"other\n")
        site.run("checkin", "desktop", "-m", "second")
        with mounted(export, "--bind", str(kept)):
            said = site.run("export", "desktop")
        assert said.stderr.count("another file system") == 1
        assert len(said.stderr.splitlines()) == 1
    assert judges.everything(live, Path(site.out("export", "desktop"))) == []
