"""Live trees, tarballs and snapshots made to lead gitstate astray: nothing outside the target is read or touched.

A canary stands beside every target. What is refused is damaged data, exit code 14, in one line.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from gitstate.core import fs
from tests.damage.harness import Canary, Harness, looks, plant
from tests.support import needs, root_only

pytestmark = [root_only, needs("rsync", "tar", "mtree")]


# --- live trees -----------------------------------------------------------------------------------------------------


def test_a_live_tree_whose_symlinks_lead_out(harness: Harness) -> None:
    """``opt -> /opt`` and ``var/lib -> ../../..``: recorded as what they are, never gone through."""
    canary = Canary(harness.path / "canary")
    os.symlink(canary.path, harness.live / "opt")
    (harness.live / "var").mkdir()
    os.symlink("../../..", harness.live / "var" / "lib")
    os.symlink("../../../../../canary/sub", harness.live / "var" / "tmp")
    os.symlink(canary.path, harness.live / "tmp")
    os.symlink("/", harness.live / "run")
    os.symlink("/proc", harness.live / "proc")
    os.symlink("loop", harness.live / "loop")
    before = looks(harness.live)
    harness.check_in()
    assert looks(harness.live) == before
    names = harness.git("ls-tree", "-r", "-t", "--name-only", "main").split()
    assert not any("file" in name or "deep" in name for name in names)
    assert harness.git("cat-file", "-p", "main:opt") == str(canary.path)
    harness.faithful()
    assert not list((harness.exports / harness.head / "var").glob("*/*/*/*/*/nothing"))
    canary.sings()


@pytest.mark.parametrize("link", ["etc/gitstate/policy.toml", "etc/gitstate", "etc"])
def test_a_policy_behind_a_symlink_is_not_followed_and_not_passed_over(harness: Harness, link: str) -> None:
    """A policy outside the tree would decide what is recorded, and none would let everything in."""
    outside = harness.path / "outside"
    (outside / "gitstate").mkdir(parents=True)
    policy = 'version = 1\n[record]\nskip = ["etc/fstab"]\n'
    for place in (outside, outside / "gitstate"):
        (place / "policy.toml").write_text(policy)
    before = harness.git("for-each-ref")
    place = harness.live / link
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(exist_ok=True)
    os.symlink(outside / "policy.toml" if link.endswith("toml") else outside, place)
    harness("checkin", "p", "-m", "m").told(7)
    assert harness.git("for-each-ref") == before


def test_a_live_tree_of_special_files_is_not_opened(harness: Harness) -> None:
    """A fifo blocks its reader, and /dev/watchdog reboots."""
    plant(harness.live, 5)
    for number, kind in enumerate((stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK)):
        os.mknod(harness.live / f"special{number}", kind | 0o666, os.makedev(1, 7))
    harness.check_in()
    harness.check_in()
    harness.faithful()


@contextmanager
def swapping(place: Path, other: Path) -> Iterator[None]:
    """Beside the block a directory is exchanged for a symlink to ``other`` and back, without pause."""
    real = place.with_name(place.name + ".real")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            with suppress(OSError):  # it is being removed
                place.rename(real)
                os.symlink(other, place)
                place.unlink()
                real.rename(place)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_directory_becomes_a_symlink_during_scans(harness: Harness) -> None:
    plant(harness.live, 60)
    harness.check_in()
    canary = Canary(harness.path / "canary")
    with swapping(harness.live / "d03" / "e3", canary.path), swapping(harness.live / "d04", canary.path):
        for number in range(25):
            said = harness("checkin", "p", "-m", f"{number}")
            assert said.code in (0, 3), said
    for line in harness.git("log", "--all", "--format=", "--name-only").splitlines():
        assert "sub/deep" not in line
    assert "canary\n" not in {harness.git("cat-file", "-p", oid) + "\n" for oid in blobs_of_size(harness, 7)}
    harness.check_in("after")
    harness.faithful()
    canary.sings()


def blobs_of_size(harness: Harness, size: int) -> list[str]:
    """Ids of all blobs of a size."""
    every = harness.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype) %(objectsize)")
    return [line.split()[0] for line in every.splitlines() if line.endswith(f" blob {size}")]


def test_a_directory_becomes_a_symlink_during_removals(place: Path) -> None:
    """A race that the removal loses is an error; the canary is never what pays for it."""
    canary = Canary(place / "canary")
    for number in range(20):
        interrupted = place / f"interrupted{number}"
        plant(interrupted, 60)
        with swapping(interrupted / "d03", canary.path), suppress(OSError):
            fs.remove_tree(interrupted)
    canary.sings()


def test_a_removal_follows_no_symlink(harness: Harness) -> None:
    canary = Canary(harness.path / "canary")
    plant(harness.live, 10)
    os.symlink(canary.path, harness.live / "out")
    os.symlink(canary.path / "file", harness.live / "file")
    os.link(canary.path / "file", harness.live / "hard link out")
    canary = Canary(harness.path / "second")
    harness.check_in()
    harness.export()
    harness("prototype", "remove", "p", "--yes").well()
    assert not harness.live.exists()
    assert (harness.path / "canary" / "file").read_text() == "canary\n"
    canary.sings()


def test_a_live_tree_that_is_a_symlink(harness: Harness) -> None:
    """What the admin named may be a symlink; nothing below it is gone through."""
    real = harness.path / "real"
    harness.live.rename(real)
    os.symlink(real, harness.live)
    assert harness.check_in()["entries"] >= 4


# --- tarballs -------------------------------------------------------------------------------------------------------


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"hostile\n") -> tarfile.TarInfo:
    """A member, its content in ``pax_headers`` until it is written."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, 0o644
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info


def tarball(path: Path, *members: tarfile.TarInfo) -> Path:
    """A tarball of exactly these members."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        for info in members:
            archive.addfile(info, io.BytesIO(b"hostile\n"[: info.size]))
    return path


SYM, HARD, CHAR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE
DIRECTORY = tarfile.DIRTYPE

TARBALLS: dict[str, Callable[[str], list[tarfile.TarInfo]]] = {
    "dot-dot": lambda canary: [member("good"), member("../canary/file"), member("../../canary/file")],
    "deep dot-dot": lambda canary: [member("a/b/../../../canary/file"), member("good")],
    "absolute": lambda canary: [member(f"{canary}/file"), member("good")],
    "absolute symlink, then through it": lambda canary: [member("x", SYM, canary), member("x/file"), member("x/new")],
    "relative symlink, then through it": lambda canary: [
        member("x", SYM, "../../../canary"),
        member("x/file"),
        member("x/sub/deep"),
    ],
    "symlink chain": lambda canary: [
        member("a", SYM, "."),
        member("a/b", SYM, ".."),
        member("a/b/c", SYM, "../.."),
        member("a/b/c/canary/file"),
        member("b/b/b/canary/file"),
    ],
    "symlink over a directory": lambda canary: [
        member("d", DIRECTORY),
        member("d", SYM, canary),
        member("d/file"),
    ],
    "hard link out": lambda canary: [
        member("x", HARD, f"{canary}/file"),
        member("y", HARD, "../../../canary/file"),
        member("x"),
        member("y"),
    ],
    "hard link to a symlink": lambda canary: [
        member("s", SYM, f"{canary}/file"),
        member("h", HARD, "s"),
        member("h"),
        member("s"),
    ],
    "device": lambda canary: [member("dev/sda", CHAR), member("good")],
    "mode of the parent": lambda canary: [member(".", DIRECTORY), member("..", DIRECTORY), member("good")],
}


@pytest.mark.parametrize("name", TARBALLS)
def test_a_hostile_tarball(bare: Harness, name: str) -> None:
    """Taken in or refused as a whole; either way everything it made is below its own tree."""
    bare("init").well()
    (bare.site / "live").chmod(0o700)
    canary = Canary(bare.path / "canary")
    inner = Canary(bare.site / "live" / "canary")
    path = tarball(bare.path / "hostile.tar", *TARBALLS[name](str(canary.path)))
    parent = (bare.path.stat().st_mode, (bare.site / "live").stat().st_mode)
    said = bare("prototype", "create", "q", "--from", path)
    if said.code:
        said.told(14)
        assert not (bare.site / "live" / "q").exists()
    else:
        assert bare("checkin", "q", "-m", "m").code in (0, 3)
        bare("export", "q").well()
    assert (bare.path.stat().st_mode, (bare.site / "live").stat().st_mode) == parent
    assert sorted(path.name for path in (bare.site / "live").iterdir()) in (["canary"], ["canary", "q"])
    canary.sings()
    inner.sings()


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "gzip bomb"])
def test_a_tarball_that_is_none(bare: Harness, damage: str) -> None:
    bare("init").well()
    path = tarball(bare.path / "q.tar", *[member(f"f{number}") for number in range(50)])
    match damage:
        case "truncated":
            path.write_bytes(path.read_bytes()[:10000])
        case "garbage":
            path.write_bytes(os.urandom(5000))
        case "empty":
            path.write_bytes(b"")
        case _:
            path.write_bytes(b"\x1f\x8b" + os.urandom(5000))
    bare("prototype", "create", "q", "--from", path).told(14)
    assert list((bare.site / "live").iterdir()) == []
    assert list((bare.site / "prototypes").iterdir()) == []
