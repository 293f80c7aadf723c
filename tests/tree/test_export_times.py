"""An export to a file system that keeps fewer times says so, once, and how many; real disks, judged by stat(1)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitstate.core import fs
from tests.damage.harness import mounted
from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "mkfs.ext4")]

NS = 10**9
TIMES = {"whole": 10**9 * NS, "part": 10**9 * NS + 1, "late": 12 * 10**9 * NS, "far": 2**40 * NS}
"""Of which 128-byte inodes keep one, and larger ones all but the last."""


@contextmanager
def disk(place: Path, inode: int) -> Iterator[Path]:
    image = place / f"{inode}.image"
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-I", str(inode), image], capture_output=True, check=True)
    with mounted(place / f"disk-{inode}", "-o", "loop", str(image)) as made:
        yield made


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A prototype whose files have the TIMES, on a tmpfs, which keeps all of them."""
    with mounted(tmp_path / "root", "-t", "tmpfs", "tmpfs") as live:
        for name, time in TIMES.items():
            (live / name).write_text(f"{name}\n")
            os.utime(live / name, ns=(time, time))
        os.utime(live, ns=(0, 0))
        site = make_site(tmp_path / "site")
        site.run("prototype", "create", "desktop", "--live", str(live))
        site.run("checkin", "desktop", "-m", "one")
        yield site


@pytest.mark.parametrize(("inode", "lost"), [(128, ["far", "late", "part"]), (256, ["far"])])
def test_times_that_are_lost_are_told(site: Site, tmp_path: Path, inode: int, lost: list[str]) -> None:
    with disk(tmp_path, inode) as place:
        own = place / "own"
        done = site.run("export", "desktop", "HEAD", "--to", str(own))
        assert [name for name in sorted(TIMES) if (own / name).stat().st_mtime_ns != TIMES[name]] == lost
        assert len(done.stderr.splitlines()) == 1
        assert all(f"/{name}" in done.stderr for name in lost)
        assert not any(f"/{name}" in done.stderr for name in TIMES if name not in lost)
        assert site.json("export", "desktop", "HEAD", "--to", str(place / "again"))["inexact_times"] == len(lost)
        changes = site.json("verify", "desktop", "HEAD", str(own), code=1)["changes"]
        assert [change["path"] for change in changes] == lost


def test_where_all_are_kept_nothing_is_said(site: Site, tmp_path: Path) -> None:
    with mounted(tmp_path / "memory", "-t", "tmpfs", "tmpfs") as place:
        done = site.run("export", "desktop", "HEAD", "--to", str(place / "own"))
        assert done.stderr.count("keeps") == 0
        site.run("verify", "desktop", "HEAD", str(place / "own"))


@pytest.mark.parametrize(("inode", "step", "last"), [(128, NS, 2**31 - 1), (256, 1, 2**34 - 2**31 - 1)])
def test_what_a_file_system_keeps(tmp_path: Path, inode: int, step: int, last: int) -> None:
    with disk(tmp_path, inode) as place:
        descriptor = os.open(place, os.O_RDONLY)
        try:
            assert fs.kept_times(descriptor) == fs.KeptTimes(-(2**31) * NS, last * NS, step)
        finally:
            os.close(descriptor)
