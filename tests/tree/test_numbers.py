"""Numbers of any size: what an entry or a commit has never stops the rest."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitstate.tree.scan.cache import UNKNOWN, pack_stat, signature, split_signature, without_racy
from tests.gitstate_command import Site, git, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

BEYOND = {"first": -(2**63), "far": 2**63 - 1, "old": -14_831_769_600, "year-2300": 10_413_792_000}
"""Seconds since the epoch that a tmpfs holds, and 64 bits of nanoseconds don't."""


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Path]:
    """A live tree on a tmpfs, in which an entry of each kind has a time beyond 64 bits of nanoseconds."""
    live = tmp_path / "root"
    live.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", live], check=True)
    try:
        for name, seconds in BEYOND.items():
            (live / name).write_text(f"{name}\n")
            set_time(live / name, seconds)
        (live / "link").symlink_to("nowhere")
        (live / "directory").mkdir()
        os.mkfifo(live / "fifo")
        for name in ("link", "directory", "fifo"):
            set_time(live / name, BEYOND["far"])
        yield live
    finally:
        subprocess.run(["umount", live], check=True)


def set_time(path: Path, seconds: int) -> None:
    os.utime(path, ns=(seconds * 10**9, seconds * 10**9), follow_symlinks=False)


def test_times_are_recorded_whatever_they_are(live: Path, tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "desktop", "--live", str(live))
    site.run("checkin", "desktop", "-m", "one")
    records = site.git("desktop", "show", "main:.gitstate")
    for name, seconds in BEYOND.items():
        assert f"\n{name} time={seconds}.000000000 " in records
    site.run("verify", "desktop", "main", str(live))
    set_time(live / "far", BEYOND["far"] - 1)
    assert [change["path"] for change in site.json("status", "desktop")["changes"]] == ["far"]


def stamped(path: Path, seconds: int) -> os.stat_result:
    set_time(path, seconds)
    return path.lstat()


def test_the_cache_tells_such_times_apart(live: Path) -> None:
    far = live / "far"
    seen = [pack_stat(stamped(far, seconds)) for seconds in (*BEYOND.values(), 0, 1)]
    assert len(set(seen)) == len(seen)
    status = stamped(far, BEYOND["far"])
    assert split_signature(signature(status, [(b"far", status)]))[b"far"] == pack_stat(status)


@pytest.mark.parametrize(("ahead", "trusted"), [(0, False), (3600, False), (400 * 365 * 86_400, True)])
def test_a_file_of_the_future_is_settled_by_its_ctime(live: Path, ahead: int, trusted: bool) -> None:
    """Its time was set by hand; else it would be read at every check-in."""
    now = (live / "fifo").lstat().st_ctime_ns // 10**9 + 60
    status = stamped(live / "far", now + ahead)
    kept = split_signature(without_racy(signature(status, [(b"far", status)]), now * 10**9, ()))
    assert kept[b"far"] == (pack_stat(status) if trusted else UNKNOWN)


def test_a_commit_of_any_date_is_listed(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "desktop")
    (site.path / "live/desktop/file").write_text("x\n")
    site.run("checkin", "desktop", "-m", "one")
    commit_of_the_year_318857(site)
    assert site.json("log", "desktop")["commits"][0]["when"] == "9999-12-31T23:59:59Z"
    assert site.json("status")
    assert site.out("status")


def commit_of_the_year_318857(site: Site) -> None:
    """Somebody's clock was wrong, and git takes it."""
    repository = site.repository("desktop")
    tree = git(repository, "rev-parse", "main^{tree}").strip()
    head = git(repository, "rev-parse", "main").strip()
    who = "Eve <eve@example.org> 9999999999999 +0000"
    body = f"tree {tree}\nparent {head}\nauthor {who}\ncommitter {who}\n\nfuture\n"
    write = ["git", "-C", repository, "hash-object", "-w", "-t", "commit", "--stdin"]
    commit = subprocess.run(write, input=body, text=True, capture_output=True, check=True).stdout.strip()
    git(repository, "update-ref", "refs/heads/main", commit)
