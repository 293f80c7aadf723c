"""A live tree follows main: with its edits, or not at all."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from gitstate.core.monitor import SILENT
from gitstate.store import Repository
from gitstate.tree import checkin, update
from tests.cli.harness import plant
from tests.gitstate_command import Site, git, make_site
from tests.support import needs, root_only
from tests.testing import judges
from tests.testing.mutation import mutate

pytestmark = [root_only, needs("mtree", "rsync", "getcap", "getfacl")]


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A live tree, checked in; a copy of it stands beside."""
    live = tmp_path / "live"
    plant(live)
    (live / "var" / "socket").unlink()
    for name in ("proc", "tmp"):  # whose times aren't recorded
        (live / name).rmdir()
    (live / "etc" / "long").write_text("".join(f"{number}\n" for number in range(20)))
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "p", "--live", str(live))
    site.run("checkin", "p", "-m", "one")
    keep(live, "one")
    return live


@pytest.fixture
def site(tmp_path: Path, live: Path) -> Site:
    """Its site."""
    return Site(tmp_path / "site")


def keep(live: Path, name: str) -> None:
    subprocess.run(["cp", "-a", str(live), str(live.with_name(name))], check=True)


def push(site: Site, live: Path) -> None:
    """What the live tree holds becomes the next commit of main, and the live tree is as before."""
    before = site.git("p", "rev-parse", "main").strip()
    site.run("checkin", "p", "-m", "pushed")
    keep(live, "pushed")
    site.run("restore", "p", before, "--all", "--delete")
    pushed(site, before)
    assert judges.everything(live.with_name("one"), live) == []


def pushed(site: Site, before: str) -> None:
    """Make it look as if the last check-in had been pushed from a clone."""
    after = site.git("p", "rev-parse", "main").strip()
    site.git("p", "update-ref", "refs/gitstate/live", before)
    for commit in (before, after):
        site.git("p", "update-ref", "-m", "push", "refs/heads/main", commit)


SEEDS = [2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (0, 3, 4))]


@pytest.mark.parametrize("seed", SEEDS)
def test_fast_forward(site: Site, live: Path, seed: int) -> None:
    done = mutate(live, seed, 40)
    push(site, live)
    assert "1 commit behind main: gitstate update p" in site.out("status", "p")
    assert site.json("status", "p")["main"] == {
        "commit": site.git("p", "rev-parse", "main").strip(),
        "behind": 1,
        "ahead": 0,
    }
    site.run("update", "p")
    assert judges.everything(live.with_name("pushed"), live) == [], done
    assert "nothing to check in" in site.out("status", "p", "--times")
    assert site.json("status", "p")["main"] is None


def test_edits_stay(site: Site, live: Path) -> None:
    (live / "etc" / "hosts").write_text("pushed\n")
    (live / "etc" / "long").write_text((live / "etc" / "long").read_text().replace("3\n", "three\n", 1))
    (live / "etc" / "motd").unlink()
    push(site, live)
    (live / "etc" / "new").write_text("mine\n")
    (live / "etc" / "hosts").chmod(0o600)
    (live / "etc" / "long").write_text((live / "etc" / "long").read_text().replace("17\n", "seventeen\n"))
    value = site.json("update", "p")
    assert value["edited"]
    assert (live / "etc" / "hosts").read_text() == "pushed\n"
    assert (live / "etc" / "hosts").stat().st_mode & 0o777 == 0o600
    assert {"three", "seventeen"} <= set((live / "etc" / "long").read_text().split())
    assert not (live / "etc" / "motd").exists()
    changed = {one["path"] for one in site.json("status", "p")["changes"]}
    assert {"etc/new", "etc/hosts", "etc/long"} <= changed <= {"etc", "etc/new", "etc/hosts", "etc/long"}


def test_a_conflict_writes_nothing(site: Site, live: Path) -> None:
    (live / "etc" / "hosts").write_text("pushed\n")
    (live / "etc" / "motd").write_text("pushed\n")
    push(site, live)
    (live / "etc" / "hosts").write_text("mine\n")
    keep(live, "edited")
    for words in (("update", "p"), ("update", "-n", "p")):
        said = site.refuses(12, *words, naming="/etc/hosts")
        assert "gitstate restore p main -- etc/hosts" in said
    assert judges.everything(live.with_name("edited"), live) == []
    site.run("restore", "p", "main", "--", "etc/hosts")
    site.run("update", "p")
    assert judges.everything(live.with_name("pushed"), live) == []


def test_an_edit_while_it_runs_stays_and_is_merged_by_the_next(site: Site, live: Path) -> None:
    """The live tree isn't taken for recorded as main before it was merged with all edits."""
    for name in ("hosts", "long"):
        (live / "etc" / name).write_text("pushed\n")
    push(site, live)
    repository = Repository(live.with_name("site") / "prototypes" / "p.git")
    recorded = repository.ref(checkin.LIVE)
    done = update.run(
        repository, live, SILENT, lambda step: (live / "etc" / "hosts").write_text("mine\n") if step == "removed" else 0
    )
    assert done.counts is not None
    assert done.counts.unfinished
    assert (live / "etc" / "hosts").read_text() == "mine\n"
    assert (live / "etc" / "long").read_text() == "pushed\n"
    assert repository.ref(checkin.LIVE) == recorded
    site.refuses(12, "update", "p", naming="/etc/hosts")


def test_what_cant_be_replaced_isnt_taken_for_main_s(site: Site, live: Path) -> None:
    """Else the next check-in would take back what main has there."""
    held = live / "etc" / "hosts"
    held.write_text("pushed\n")
    push(site, live)
    if subprocess.run(["chattr", "+i", held], check=False).returncode:
        pytest.skip("no immutable files here")
    try:
        for _ in range(2):
            assert "/etc/hosts (Operation not permitted)" in site.run("update", "p", code=3).stderr
    finally:
        subprocess.run(["chattr", "-i", held], check=True)
    assert "1 commit behind main" in site.out("status", "p")
    site.run("update", "p")
    assert held.read_text() == "pushed\n"


def test_a_database_isnt_taken_with_a_log_of_other_content(site: Site, live: Path) -> None:
    path = live / "var" / "db"
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("pragma journal_mode=wal")
        database.execute("create table t (a text)")
    site.run("checkin", "p", "-m", "two")
    live.with_name("one").rename(live.with_name("before"))
    keep(live, "one")
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("insert into t values ('pushed')")
        database.commit()
    push(site, live)
    for name in ("db", "db-wal", "db-shm"):
        path.with_name(name).unlink(missing_ok=True)
    subprocess.run(["cp", "-a", str(live.with_name("one") / "var" / "db"), str(path)], check=True)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("insert into t values ('mine')")
        database.commit()
        kept = {name: path.with_name(name).read_bytes() for name in ("db", "db-wal", "db-shm")}
    for name, data in kept.items():
        path.with_name(name).write_bytes(data)
    said = site.refuses(12, "update", "p", naming="/var/db ")
    site.run(*said[said.index("restore ") : said.index(";")].split())
    site.run("update", "p")
    assert judges.everything(live.with_name("pushed"), live) == []


def test_what_main_has_lost_is_an_edit(site: Site, live: Path) -> None:
    """Somebody moved main back: the live tree keeps what it was recorded as."""
    (live / "etc" / "hosts").write_text("two\n")
    site.run("checkin", "p", "-m", "two")
    site.git("p", "update-ref", "refs/heads/main", "main~1")
    assert "which lacks 1 commit" in site.out("status", "p")
    site.run("update", "p")
    assert (live / "etc" / "hosts").read_text() == "two\n"
    assert "etc/hosts" in [one["path"] for one in site.json("status", "p")["changes"]]


def test_a_clone_s_push_comes_in(site: Site, live: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    site.run("clone", "p", str(clone))
    (clone / "etc" / "hosts").write_text("from a clone\n")
    git(clone, "-c", "user.name=E", "-c", "user.email=e@example.org", "commit", "-qam", "x")
    git(clone, "push", "-q", "origin", "HEAD:main")
    site.run("update", "p")
    assert (live / "etc" / "hosts").read_text() == "from a clone\n"


def test_the_next_scan_reads_only_what_differs(site: Site, live: Path) -> None:
    """The stat cache follows: an update isn't paid for with a scan of all contents."""
    (live / "usr" / "big").write_bytes(os.urandom(300_000))
    (live / "etc" / "hosts").write_text("pushed\n")
    site.run("checkin", "p", "-m", "big")
    keep(live, "big")
    (live / "etc" / "motd").write_text("pushed\n")
    before = site.git("p", "rev-parse", "main").strip()
    site.run("checkin", "p", "-m", "pushed")
    site.run("restore", "p", before, "--all")
    pushed(site, before)
    (live / "srv" / "shared").write_text("an edit\n")
    site.run("update", "p")
    found = checkin.status(Repository.open(site.repository("p"), "p"), live, SILENT)
    assert found.findings.bytes_read < 10_000
