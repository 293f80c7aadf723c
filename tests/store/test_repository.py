"""Repositories against real git: opened or refused, locked, damaged, repacked under our feet."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from gitstate.core.errors import ConfigError, DamagedError, GitstateError, HostError, LockedError, NotFoundError
from gitstate.store.repository import MAIN, Repository
from tests.store.harness import assert_clear, commit, stage
from tests.support import PROJECT, needs
from tests.testing.git import EMPTY_TREE, Git

pytestmark = needs("git")


TEXTCONV: Final = r"sed -E 's/ time=-?[0-9.]+| oid=[0-9a-f]+//g'"
"""As docs/format.md has it."""


# --- created and opened ---------------------------------------------------------------------------------------------


def test_a_new_repository_is_set_up_as_the_format_says(repository: Repository) -> None:
    git = Git(repository.path)
    for setting in (
        *("gc.auto=0", "receive.autogc=false", "maintenance.auto=false", "core.bigFileThreshold=32m"),
        *("core.logAllRefUpdates=true", "transfer.fsckObjects=true", "gitstate.format=1"),
        "merge.directoryRenames=false",
        f"diff.gitstate.textconv={TEXTCONV}",
    ):  # fmt: skip
        name, _, value = setting.partition("=")
        assert git("config", "--get", name).decode().rstrip("\n") == value
    assert git("symbolic-ref", "HEAD") == b"refs/heads/main\n"
    assert (repository.path / "info/attributes").read_text() == ".gitstate diff=gitstate merge=gitstate\n"
    assert stat.S_IMODE(repository.path.stat().st_mode) == 0o700
    assert git.fsck() == "notice: HEAD points to an unborn branch (main)\nnotice: No default references\n"
    assert repository.fsck() == []
    assert Repository.open(repository.path, "desktop").settings == repository.settings


def test_the_live_path_is_remembered_byte_for_byte(tmp_path: Path) -> None:
    live = tmp_path / os.fsdecode('sp ace "quote" ;#\\ \udcff é'.encode("utf-8", "surrogateescape"))
    repository = Repository.create(tmp_path / "r.git", live=live)
    assert Repository.open(repository.path, "r").live == live


def test_any_bare_repository_will_do(tmp_path: Path) -> None:
    git = Git.create(tmp_path / "plain.git")
    git.put(2, b"")
    git("update-ref", MAIN, git.commit(EMPTY_TREE).hex())
    assert Repository.open(git.path, "plain").tree(EMPTY_TREE) == []


def configured(path: Path, *settings: str) -> None:
    git = Git.create(path)
    for setting in settings:
        name, _, value = setting.partition("=")
        git("config", "--file", str(path / "config"), name, value)


def partial(path: Path) -> None:
    origin = Git.create(path.with_name("origin.git"))
    origin.put(2, b"")
    origin("update-ref", MAIN, origin.commit(EMPTY_TREE).hex())
    origin("config", "uploadpack.allowFilter", "true")
    url = f"file://{origin.path}"
    subprocess.run(["git", "clone", "-q", "--bare", "--filter=blob:none", url, path], check=True, capture_output=True)


def broken(path: Path, text: str) -> None:
    Git.create(path)
    (path / "config").write_text(text)


REFUSED: Final[dict[str, tuple[Callable[[Path], object], type[GitstateError], str]]] = {
    "missing": (lambda path: None, NotFoundError, "no repository desktop"),
    "a file": (lambda path: path.write_text("x"), HostError, "no directory"),
    "empty": (lambda path: path.mkdir(), HostError, "not a git repository"),
    "no HEAD": (lambda path: (Git.create(path), (path / "HEAD").unlink()), HostError, "not a git repository"),
    "no objects": (
        lambda path: (Git.create(path), (path / "objects").rename(path / "x")),
        HostError,
        "not a git repository",
    ),
    "a working copy": (lambda path: Git.create(path / ".git", bare=False), HostError, "not a git repository"),
    "newer": (lambda path: configured(path, "gitstate.format=2"), ConfigError, "format 2"),
    "much newer": (lambda path: configured(path, "gitstate.format=10"), ConfigError, "format 10"),
    "absurdly newer": (lambda path: configured(path, f"gitstate.format={'9' * 5000}"), ConfigError, "of format 999"),
    "no number": (lambda path: configured(path, "gitstate.format=one"), ConfigError, "of format one"),
    "a negative number": (lambda path: configured(path, "gitstate.format=-1"), ConfigError, "of format -1"),
    "a superscript": (lambda path: configured(path, "gitstate.format=²"), ConfigError, "of format ²"),
    "no value": (lambda path: configured(path, "gitstate.format="), ConfigError, "of format "),
    "sha256": (
        lambda path: subprocess.run(["git", "init", "-q", "--bare", "--object-format=sha256", path], check=True),
        ConfigError,
        "SHA-256",
    ),
    "reftable": (
        lambda path: configured(path, "core.repositoryFormatVersion=1", "extensions.refStorage=reftable"),
        ConfigError,
        "refstorage",
    ),
    "a partial clone": (partial, ConfigError, "partial clone"),
    "an old partial clone": (
        lambda path: configured(path, "core.repositoryFormatVersion=1", "extensions.partialClone=origin"),
        ConfigError,
        "partial clone",
    ),
    "a config of noise": (lambda path: broken(path, "[core\n"), ConfigError, "config"),
    "a config of zeros": (lambda path: broken(path, "\0" * 100), ConfigError, "config"),
    "no config": (lambda path: (Git.create(path), (path / "config").unlink()), ConfigError, "config"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_be_read_is_refused(tmp_path: Path, what: str) -> None:
    make, error, said = REFUSED[what]
    make(tmp_path / "desktop.git")
    with pytest.raises(error) as caught:
        Repository.open(tmp_path / "desktop.git", "desktop")
    assert said in caught.value.message
    assert_clear(caught.value)


# --- one writer at a time -------------------------------------------------------------------------------------------

_HOLD: Final = """
import sys, time
from pathlib import Path
from gitstate.store.repository import Repository
repository = Repository(Path(sys.argv[1]))
with repository.lock("checkin"), repository.staging() as staging:
    staging.blob(bytes(20), b"x" * 100_000)
    print("locked", flush=True)
    time.sleep(60)
"""


@contextmanager
def holder(repository: Repository) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that holds the lock and stages."""
    command = [sys.executable, "-c", _HOLD, repository.path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"locked\n"
        try:
            yield child
        finally:
            child.kill()


def private(repository: Repository) -> list[str]:
    return sorted(path.name for path in repository.private.iterdir())


def test_the_second_writer_is_told_who_is_the_first(repository: Repository) -> None:
    with holder(repository) as child:
        with (
            pytest.raises(LockedError, match=rf"desktop\.git is locked by checkin \(pid {child.pid}, since ") as caught,
            repository.lock("gc"),
        ):
            pass
        assert_clear(caught.value)
        assert len(private(repository)) == 2, "its staging directory stands"
        child.send_signal(signal.SIGKILL)
        child.wait()
        with repository.lock("gc"):
            assert private(repository) == ["lock"], "what the dead left is cleared"
    with (
        pytest.raises(LockedError, match=rf"locked by gc \(pid {os.getpid()}, since "),
        repository.lock("gc"),
        repository.lock("gc"),
    ):
        pass
    with repository.lock("gc"):
        pass


def test_only_our_own_leftovers_are_cleared(repository: Repository) -> None:
    kept = commit(repository, {"a": b"a"})
    packs = repository.path / "objects/pack"
    (published,) = packs.glob("*.pack")
    ours, foreign = published.with_suffix(".keep"), packs / f"pack-{'1' * 40}.keep"
    half = packs / f"pack-{'2' * 40}.pack"
    ours.write_bytes(b"gitstate 12345\n")
    foreign.write_bytes(b"fetch-pack 12345 on server\n")
    half.write_bytes(b"half")
    half.with_suffix(".keep").write_bytes(b"gitstate 12345\n")
    (packs / f"pack-{'3' * 40}.keep").write_bytes(b"")
    with repository.lock("checkin"):
        left = {path.name for path in packs.iterdir()}
    assert left == {published.name, published.with_suffix(".idx").name, foreign.name, f"pack-{'3' * 40}.keep"}
    assert Repository(repository.path).read(kept)
    assert Git(repository.path).fsck() == ""


_DIE: Final = """
import os, sys
from pathlib import Path
from gitstate.store.objects import Type
from gitstate.store.repository import MAIN, Repository
repository = Repository(Path(sys.argv[1]))
with repository.lock("checkin"), repository.staging() as staging:
    oid = staging.add(Type.BLOB, b"lost")
    staging.stream(3, iter([b"abc", b""]).__next__, repository.has_packed)
    staging.publish([(MAIN, oid, None)], "test", lambda step: os._exit(9) if step == sys.argv[2] else None)
"""


@pytest.mark.parametrize("step", ["pack", "idx"])
def test_what_a_killed_writer_kept_is_let_go(repository: Repository, step: str) -> None:
    first = commit(repository, {"a": b"1"})
    command = [sys.executable, "-c", _DIE, repository.path, step]
    assert subprocess.run(command, cwd=PROJECT, check=False).returncode == 9
    packs = repository.path / "objects/pack"
    assert len(list(packs.glob("*.keep"))) == (step == "idx")
    with repository.lock("checkin"):
        assert list(packs.glob("*.keep")) == []
        assert private(repository) == ["lock"]
    assert repository.ref(MAIN) == first
    assert Git(repository.path).fsck() == ""
    Git(repository.path)("repack", "-adq")
    assert len(list(packs.glob("*.pack"))) == 1


def test_what_was_not_published_leaves_no_trace(repository: Repository) -> None:
    before = sorted(repository.path.rglob("*"))
    with pytest.raises(RuntimeError), repository.lock("checkin"), repository.staging() as staging:  # noqa: PT012
        stage(staging, {"a": b"a"})
        staging.stream(3, iter([b"abc", b""]).__next__, repository.has_packed)
        raise RuntimeError
    assert sorted(repository.path.rglob("*")) == sorted([*before, repository.private / "lock"])


# --- damage ---------------------------------------------------------------------------------------------------------


def spoilt(text: bytes) -> Callable[[Repository], object]:
    return lambda repository: (repository.path / MAIN).write_bytes(text)


def without_packs(repository: Repository) -> None:
    for path in (repository.path / "objects/pack").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    "spoil",
    [spoilt(b""), spoilt(b"noise\n"), spoilt(bytes(41)), spoilt(b"1" * 40 + b"\n"), spoilt(b"1" * 39), without_packs],
    ids=["empty ref", "noise", "zeros", "missing commit", "short", "no packs"],
)
def test_a_damaged_ref_is_not_a_missing_one(repository: Repository, spoil: Callable[[Repository], object]) -> None:
    """What a crash of the machine leaves must not look like a prototype that was never checked in."""
    commit(repository, {"a": b"1"})
    spoil(repository)
    again = Repository.open(repository.path, "desktop")
    for ask in (
        lambda: again.ref(MAIN),
        lambda: again.resolve("main"),
        lambda: again.resolve("HEAD"),
        lambda: again.resolve("@"),
        lambda: again.resolve("main~1"),
    ):
        with pytest.raises(DamagedError) as caught:
            ask()
        assert_clear(caught.value)
    with pytest.raises(NotFoundError):
        again.resolve("nothing")


# --- a repack beside it ---------------------------------------------------------------------------------------------


def test_a_repack_beside_it_loses_nothing(repository: Repository) -> None:
    """Between index and ref nothing reaches the new objects: a repack would drop them but for the keep file."""
    git = Git(repository.path)
    commits = [commit(repository, {"a": b"0"})]
    stop = threading.Event()
    repacks = 0

    def repack() -> None:
        nonlocal repacks
        while not stop.is_set():
            git("repack", "-adq")
            repacks += 1

    def linger(step: str) -> None:
        """Long enough for a whole repack to begin and end between two steps."""
        if step in ("idx", "ref"):
            target, deadline = repacks + 2, time.monotonic() + 5
            while repacks < target and time.monotonic() < deadline:
                time.sleep(0.005)

    thread = threading.Thread(target=repack)
    thread.start()
    try:
        for number in range(1, 9):
            with repository.staging() as staging:
                made = stage(staging, {"a": b"%d" % number, "b": b"b" * number}, commits[-1], message=f"{number}")
                staging.publish([(MAIN, made, commits[-1])], "test", linger)
            commits.append(made)
            assert all(repository.read(repository.snapshot(oid).tree) for oid in commits)
    finally:
        stop.set()
        thread.join()
    assert repacks >= 16
    assert git.fsck() == ""
    again = Repository.open(repository.path, "desktop")
    for number, oid in enumerate(commits):
        assert [again.read(item.oid)[:1] for item in again.tree(again.snapshot(oid).tree)] == [b"%d" % number, b"b"][
            : 1 + bool(number)
        ]


def test_a_long_reader_opens_each_pack_once(repository: Repository) -> None:
    for number in range(10):
        oid = commit(repository, {"a": b"%d" % number})
        assert repository.read(oid)
        assert not repository.has_packed(bytes(20))
    opened = [os.path.realpath(link) for link in Path("/proc/self/fd").iterdir()]
    ours = [path for path in opened if path.startswith(str(repository.path)) and path.endswith(".pack")]
    assert len(ours) == len(set(ours)) == 10
