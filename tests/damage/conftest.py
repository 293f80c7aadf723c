"""Fixtures."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.damage.harness import Harness, forced_removal, is_tmpfs
from tests.damage.pair import Pair, settle
from tests.fork_server import ForkServer
from tests.support import PROJECT, unavailable


@pytest.fixture(scope="session")
def own_disk() -> Iterator[Path]:
    """A directory on an ext4 of our own, whose syncs wait for nobody else's writes.

    Without root or loop devices some directory on a disk: on a tmpfs the stat cache is off.
    """
    above = Path(tempfile.mkdtemp(prefix="gitstate-damage-"))
    above.chmod(0o755)
    disk, image = above / "disk", above / "image"
    disk.mkdir()
    with open(image, "wb") as file:
        file.truncate(4 << 30)
    formatted = subprocess.run(["mkfs.ext4", "-q", "-N", "200000", str(image)], capture_output=True, check=False)
    mounted = subprocess.run(["mount", "-o", "loop,discard", str(image), str(disk)], capture_output=True, check=False)
    if not formatted.returncode and not mounted.returncode:
        yield disk
        subprocess.run(["umount", "--lazy", str(disk)], check=False)
    elif is_tmpfs(above):
        yield PROJECT / ".work"
    else:
        yield above
    forced_removal(above)


@pytest.fixture
def place(own_disk: Path) -> Iterator[Path]:
    """A directory on a disk that everybody can go through."""
    own_disk.mkdir(exist_ok=True)
    if is_tmpfs(own_disk):
        unavailable("missing: a file system that is not a tmpfs")
    path = Path(tempfile.mkdtemp(prefix="place-", dir=own_disk))
    path.chmod(0o755)
    yield path
    forced_removal(path)


@pytest.fixture
def bare(place: Path, fork_server: ForkServer) -> Harness:
    """No site yet."""
    return Harness(place, fork_server)


@pytest.fixture
def harness(bare: Harness) -> Harness:
    """A site with a prototype whose live tree is small and not checked in yet."""
    bare.begin()
    (bare.live / "etc").mkdir()
    (bare.live / "etc" / "fstab").write_text("proc /proc proc defaults 0 0\n")
    (bare.live / "etc" / "shadow").write_text("root:*:19000:0:99999:7:::\n")
    (bare.live / "etc" / "shadow").chmod(0o640)
    os.symlink("usr/bin", bare.live / "bin")
    return bare


@pytest.fixture
def pair(place: Path) -> Pair:
    """A small live tree, checked in."""
    live = place / "live"
    live.mkdir()
    for name in ("a", "b", "c"):
        (live / name).mkdir()
        for number in range(4):
            (live / name / f"f{number}").write_text(f"{name} {number}\n")
    pair = Pair(place, live)
    pair.check_in()
    settle(pair)
    return pair
