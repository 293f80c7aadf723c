"""How much is read for an answer about one change among many files: counted, so that no machine is too slow to tell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from gitstate.core.entry import Entry, Kind, Meta
from gitstate.core.signature import Signature
from gitstate.store import MAIN, Commit, Repository, Staging, TreeItem, Type
from gitstate.store.objects import FILE, format_tree
from gitstate.tree import history
from gitstate.tree.snapshot import make_directory
from tests.support import needs

pytestmark = needs("git")

TOPS, BELOW, FILES = 20, 50, 100
"""100,000 files in directories of two levels."""
DEPTH: Final = 3
COMMITS: Final = 60


def directory(staging: Staging, files: list[Entry], below: list[tuple[bytes, bytes]], *, root: bool = False) -> bytes:
    records, items = make_directory(Meta(Kind.DIRECTORY, 0o755, time=0), files, below, root=root)
    items.append(TreeItem(FILE, b".gitstate", staging.add(Type.BLOB, records)))
    return staging.add(Type.TREE, format_tree(items))


class Many:
    """A repository of 100,000 files, each of a time of its own, and how to change one of them."""

    def __init__(self, path: Path) -> None:
        self.repository = Repository.create(path)
        self.tip: bytes | None = None
        with self.repository.staging() as staging:
            self._blob = staging.add(Type.BLOB, b"content\n")
            self._below = [[self._leaf(staging, top, number) for number in range(BELOW)] for top in range(TOPS)]
            self._tops = [self._top(staging, number) for number in range(TOPS)]
            self._commit(staging, 0)

    def _leaf(self, staging: Staging, top: int, number: int, stamp: int = 0) -> bytes:
        times = [(top * BELOW + number) * FILES + one for one in range(FILES)]
        times[FILES // 2] += stamp * 10**9
        files = [Entry(b"f%02d" % one, Meta(Kind.FILE, 0o644, time=time), self._blob) for one, time in enumerate(times)]
        if stamp:
            files[FILES // 2] = files[FILES // 2]._replace(oid=staging.add(Type.BLOB, b"%d\n" % stamp))
        return directory(staging, files, [])

    def _top(self, staging: Staging, number: int) -> bytes:
        return directory(staging, [], [(b"b%02d" % place, oid) for place, oid in enumerate(self._below[number])])

    def _commit(self, staging: Staging, stamp: int) -> None:
        tree = directory(staging, [], [(b"t%02d" % place, oid) for place, oid in enumerate(self._tops)], root=True)
        who = Signature("A <a@example.org>", 1_700_000_000 + stamp)
        body = Commit(tree, [self.tip] if self.tip else [], who, who, f"stamp {stamp}")
        new = staging.add(Type.COMMIT, body.encode())
        staging.publish([(MAIN, new, self.tip)], "test")
        self.tip = new

    def change(self, top: int, below: int, stamp: int) -> None:
        """Check in one changed file."""
        with self.repository.staging() as staging:
            self._below[top][below] = self._leaf(staging, top, below, stamp)
            self._tops[top] = self._top(staging, top)
            self._commit(staging, stamp)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Many:
    """60 commits of one changed file each, every tenth of them in t07/b33."""
    many = Many(tmp_path_factory.mktemp("reads") / "desktop.git")
    for stamp in range(1, COMMITS + 1):
        many.change(*((7, 33) if stamp % 10 == 0 else (stamp % 7, stamp % 30)), stamp)
    return many


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """The ids of all objects that are read."""
    read: list[bytes] = []
    typed = Repository.typed

    def counted(repository: Repository, oid: bytes) -> tuple[Type, bytes]:
        read.append(oid)
        return typed(repository, oid)

    with monkeypatch.context() as patched:
        patched.setattr(Repository, "typed", counted)
        yield read


@pytest.mark.parametrize("packed", [False, True])
def test_a_diff_reads_what_leads_to_the_change(many: Many, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    if packed:
        many.repository.git("repack", "-adfq", "--depth=50")
    repository = Repository(many.repository.path)
    with counting(monkeypatch) as read:
        changes = list(history.compare(repository, ["main~1", "main"]).json())
    assert [change["path"] for change in changes] == ["t07/b33/f50"]
    # Of each directory on the way a tree and its records, old and new; the commits; the roots again for hard links.
    assert len(read) <= 4 * DEPTH + 8
    with counting(monkeypatch) as read:
        lines = b"".join(history.compare(repository, ["main~1", "main"]).lines())
    assert b"+60\n" in lines
    assert len(read) <= 4 * DEPTH + 8


def test_a_diff_within_paths_looks_nowhere_else(many: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(many.repository.path)
    old = repository.resolve("main~40").hex()
    for path, expected in (("t19", []), ("t07", ["t07/b33/f50"])):
        with counting(monkeypatch) as read:
            changes = history.compare(repository, [old, "main", "--", path]).json()
            assert [change["path"] for change in changes] == expected
        assert len(read) <= 4 * DEPTH + 8


def test_a_log_of_a_path_reads_the_commits_that_touched_it(many: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(many.repository.path)
    touched = COMMITS // 10
    with counting(monkeypatch) as read:
        lines = b"".join(history.log(repository, ["--format=%s", "--", "t07/b33/f50"])).splitlines()
    assert lines == [b"stamp %d" % (10 * number) for number in range(touched, -1, -1)]
    assert len(read) <= (touched + 1) * (4 * DEPTH + 8)


def test_a_log_of_a_path_stops_when_it_has_enough(many: Many, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = Repository(many.repository.path)
    with counting(monkeypatch) as read:
        assert b"".join(history.log(repository, ["-1", "--format=%s", "--", "t07/b33"])) == b"stamp 60\n"
    assert len(read) <= 4 * DEPTH + 8
