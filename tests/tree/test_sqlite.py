"""A SQLite database in use is recorded consistently, whatever its writer does meanwhile."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.gitstate_command import make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

WRITER = """
import itertools, sqlite3, sys
path, mode = sys.argv[1:]
db = sqlite3.connect(path, isolation_level=None)
db.execute(f"pragma journal_mode={mode}")
db.execute("pragma wal_autocheckpoint=8")
db.execute("create table if not exists pair (a, b, filler)")
for n in itertools.count():
    db.execute("begin immediate")
    db.execute("insert into pair values (?, ?, zeroblob(3000))", (n, n))
    db.execute("delete from pair where a < ?", (n - 50,))
    db.execute("update pair set b = b + 1, a = a + 1, filler = randomblob(3000)")
    db.execute("update pair set b = b - 1, a = a - 1")
    db.execute("commit")
    if n == 20:
        print("running", flush=True)
"""


@contextmanager
def writer(database: Path, mode: str) -> Iterator[None]:
    """A process that writes transactions to ``database`` without a pause."""
    child = subprocess.Popen([sys.executable, "-c", WRITER, database, mode], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"running\n"
        yield
        assert child.poll() is None, "the writer was stopped by us"
    finally:
        child.kill()
        child.communicate()


@pytest.mark.parametrize("mode", ["delete", "persist", "wal"])
def test_a_database_in_use(tmp_path: Path, mode: str) -> None:
    live = tmp_path / "live"
    (live / "var/lib/app").mkdir(parents=True)
    database = live / "var/lib/app/state.db"
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "app", "--live", str(live))
    with writer(database, mode):
        for turn in range(4):
            site.run("checkin", "app", "-m", f"turn {turn}")
            time.sleep(0.05)
    commits = site.git("app", "rev-list", "HEAD").split()
    assert len(commits) == 4
    for commit in commits:
        export = Path(site.out("export", "app", commit))
        copy = tmp_path / commit
        subprocess.run(["cp", "-a", export / "var/lib/app", copy], check=True)
        with closing(sqlite3.connect(copy / "state.db")) as db:
            assert db.execute("pragma integrity_check").fetchall() == [("ok",)]
            assert db.execute("select count(*) from pair where a != b").fetchone() == (0,)
            assert 20 <= db.execute("select count(*) from pair").fetchone()[0] <= 52
        assert not (export / "var/lib/app/state.db-shm").exists()
