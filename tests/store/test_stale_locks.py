"""git's lock files: those of a live git stay however old they are, those of a killed one go and are named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitstate.core.errors import LockedError
from gitstate.store import MAIN, Commit, Type, repack, stale_locks, write_objects
from gitstate.store.edit import NewObjects, edit_tree
from gitstate.store.lock import recorded, settle_records
from gitstate.store.repository import Repository
from tests.store.harness import WHO
from tests.testing.killed import leave_record

LOCK = "refs/heads/main.lock"
YEAR = 365 * 86400


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stale_locks, "_TIMEOUT", 0.1)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "desktop.git", hooked=False)


def commit(repository: Repository, message: str) -> bytes:
    """A commit that no ref names."""
    objects = NewObjects()
    tree = edit_tree(repository.read, None, {}, objects)
    oid = objects.add(Type.COMMIT, Commit(tree, [], WHO, WHO, message).encode())
    write_objects(repository, objects, [], "test")
    return oid


Start = Callable[[Path], tuple[list[str], Path, dict[str, str]]]
WAYS: dict[str, Start] = {
    "by an argument": lambda path: ([f"--git-dir={path}"], Path("/"), {}),
    "by a relative argument": lambda path: (["--git-dir", path.name], path.parent, {}),
    "by its directory": lambda path: ([], path, {}),
    "by another directory": lambda path: (["-C", path.name], path.parent, {}),
    "by a variable": lambda path: ([], Path("/"), {"GIT_DIR": str(path)}),
}


@contextmanager
def live_git(repository: Repository, oid: bytes, way: Start) -> Iterator[subprocess.Popen[bytes]]:
    """A git that has locked main, closed the file, and waits."""
    options, place, variables = way(repository.path)
    argv = ["git", *options, "update-ref", "--stdin"]
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, cwd=place, env={**os.environ, **variables}) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(f"start\nupdate {MAIN} {oid.hex()}\nprepare\n".encode())
        child.stdin.flush()
        assert [child.stdout.readline() for _ in range(2)] == [b"start: ok\n", b"prepare: ok\n"]
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("way", WAYS)
def test_a_lock_of_a_live_git_stays_however_old(repository: Repository, way: str) -> None:
    first, second = commit(repository, "first"), commit(repository, "second")
    lock = repository.path / LOCK
    with live_git(repository, first, WAYS[way]) as child:
        os.utime(lock, (time.time() - YEAR,) * 2)
        with pytest.raises(LockedError) as caught:
            repository.move_refs([(MAIN, second, None)], "test")
        assert f"pid {child.pid}" in caught.value.hint
        assert LOCK in caught.value.message
        assert lock.exists()
        assert child.stdin
        child.stdin.write(b"commit\n")
        child.stdin.close()
        child.wait()
    assert repository.ref(MAIN) == first


def kill_git(repository: Repository, oid: bytes) -> Path:
    """The lock file that it leaves."""
    with live_git(repository, oid, WAYS["by an argument"]) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert (repository.path / LOCK).exists()
    return repository.path / LOCK


def test_a_lock_of_a_git_that_was_killed_with_us_goes_and_is_named(repository: Repository) -> None:
    first, second = commit(repository, "first"), commit(repository, "second")
    kill_git(repository, first)
    leave_record(repository.path)
    with pytest.warns(UserWarning, match=LOCK):
        repository.move_refs([(MAIN, second, None)], "test")
    assert repository.ref(MAIN) == second
    assert list(repository.private.glob("git-of-*")) == []


def test_a_lock_from_before_the_machine_started_goes(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = commit(repository, "first"), commit(repository, "second")
    kill_git(repository, first)
    monkeypatch.setattr(stale_locks, "_boot_time", lambda: int(time.time()) + 5)
    with pytest.warns(UserWarning, match=LOCK):
        repository.move_refs([(MAIN, second, None)], "test")
    assert repository.ref(MAIN) == second


def test_a_lock_that_nobody_can_tell_of_stays_until_gc(repository: Repository) -> None:
    """Its git may run where we can't see it: on another machine, or outside of our container."""
    first, second = commit(repository, "first"), commit(repository, "second")
    lock = kill_git(repository, first)
    with pytest.raises(LockedError) as caught:
        repository.move_refs([(MAIN, second, None)], "test")
    assert LOCK in caught.value.message
    assert "gitstate gc" in caught.value.hint
    assert lock.exists()
    with warnings.catch_warnings(record=True, action="always") as caught_warnings, repository.lock("gc"):
        repack.apply(repository, repack.plan(repository, aggressive=False))
    assert LOCK in " ".join(str(one.message) for one in caught_warnings)
    repository.move_refs([(MAIN, second, None)], "test")
    assert repository.ref(MAIN) == second


def test_the_record_of_a_killed_gitstate_waits_for_a_live_git(repository: Repository) -> None:
    first, second = commit(repository, "first"), commit(repository, "second")
    leave_record(repository.path)
    with live_git(repository, first, WAYS["by an argument"]), pytest.raises(LockedError):
        repository.move_refs([(MAIN, second, None)], "test")
    with pytest.warns(UserWarning, match=LOCK):
        repository.move_refs([(MAIN, second, None)], "test")


def test_a_record_of_the_living_stays(repository: Repository) -> None:
    with recorded(repository.private):
        settle_records(repository.private, lambda: pytest.fail("it lives"))
        assert len(list(repository.private.glob("git-of-*"))) == 1
    assert list(repository.private.glob("git-of-*")) == []


def test_whoever_has_the_file_open_owns_it(repository: Repository) -> None:
    oid, lock = commit(repository, "x"), repository.path / LOCK
    script = "import sys, time; file = open(sys.argv[1], 'x'); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(lock)], stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline()
        with pytest.raises(LockedError):
            repository.move_refs([(MAIN, oid, None)], "test")
        child.kill()
        child.wait()
    leave_record(repository.path)
    with pytest.warns(UserWarning, match=LOCK):
        repository.move_refs([(MAIN, oid, None)], "test")


def test_a_git_that_works_elsewhere_is_no_owner(repository: Repository, tmp_path: Path) -> None:
    other = Repository.create(tmp_path / "desktop.git.old.git", hooked=False)
    oid, elsewhere = commit(repository, "x"), commit(other, "y")
    (repository.path / LOCK).touch()
    leave_record(repository.path)
    with (
        live_git(other, elsewhere, WAYS["by an argument"]),
        pytest.warns(UserWarning, match=LOCK),
    ):
        repository.move_refs([(MAIN, oid, None)], "test")


def test_what_can_not_be_read_counts_as_an_owner(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    oid = commit(repository, "x")
    (repository.path / LOCK).touch()
    leave_record(repository.path)

    def refuse(process: Path) -> bool:
        raise PermissionError

    monkeypatch.setattr(stale_locks, "_is_git", refuse)
    with pytest.raises(LockedError):
        repository.move_refs([(MAIN, oid, None)], "test")
    assert (repository.path / LOCK).exists()


def test_a_lock_that_is_made_while_we_look_stays(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = repository.path / LOCK
    lock.touch()

    def meanwhile(*_: object) -> list[str]:
        lock.rename(lock.with_name("committed"))
        lock.touch()
        return []

    monkeypatch.setattr(stale_locks, "_owners", meanwhile)
    stale_locks.clear_idle(repository.path)
    assert lock.exists()


# --- temporary files --------------------------------------------------------------------------------------------------


def left(repository: Repository) -> list[Path]:
    """Temporary files as gits leave them that were killed in a repack, a push and a pack-refs."""
    objects = repository.path / "objects"
    paths = [objects / "pack" / "tmp_pack_Ab12", objects / "tmp_objdir-incoming-x1" / "pack" / "tmp_idx"]
    keep = objects / "pack" / f"pack-{'0' * 40}.keep"
    for path in paths:
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text("half")
    keep.write_text(f"receive-pack 4711 on {os.uname().nodename}\n")
    return [*paths, keep]


def test_temporary_files_of_a_killed_git_go_and_are_named(repository: Repository) -> None:
    paths = left(repository)
    own = repository.path / "objects" / "pack" / f"pack-{'1' * 40}.keep"
    own.write_text("mine\n")
    with pytest.warns(UserWarning, match=paths[0].name), repository.lock("test"):
        pass
    assert [path for path in paths if path.exists()] == []
    assert own.exists()


def test_temporary_files_stay_while_a_git_is_at_work(repository: Repository) -> None:
    paths = left(repository)
    with live_git(repository, commit(repository, "x"), WAYS["by an argument"]), repository.lock("test"):
        pass
    assert [path for path in paths if not path.exists()] == []


def test_a_pack_refs_that_was_killed_stops_no_other(repository: Repository) -> None:
    repository.move_refs([(MAIN, commit(repository, "x"), None)], "test")
    for name in ("packed-refs.lock", "packed-refs.new"):
        (repository.path / name).write_text("half")
    leave_record(repository.path)
    with pytest.warns(UserWarning, match=r"packed-refs\.lock"):
        repository.git("pack-refs", "--all")
    (repository.path / "packed-refs.new").write_text("half")
    leave_record(repository.path)
    with pytest.warns(UserWarning, match=r"packed-refs\.new"):
        repository.git("pack-refs", "--all")
    assert repository.ref(MAIN)
