"""Repositories against real git: opened or refused, locked, refs moved, revisions resolved, repacked under our feet."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from gitstate.core.errors import (
    ConfigError,
    DamagedError,
    GitstateError,
    HostError,
    LockedError,
    NotFoundError,
    RefusedError,
)
from gitstate.core.signature import Signature
from gitstate.store import objects
from gitstate.store.objects import FILE, TREE, Commit, TreeItem, Type, format_tree, object_id
from gitstate.store.repository import MAIN, Repository
from gitstate.store.staging import Staging
from tests.support import PROJECT, needs
from tests.testing.git import EMPTY_TREE, Git

pytestmark = needs("git")

WHO: Final = Signature("Ada <ada@example.com>", 1_700_000_000, "+0530")
TEXTCONV: Final = r"sed -E 's/ time=-?[0-9.]+| oid=[0-9a-f]+//g'"
"""As docs/format.md has it."""


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "desktop.git")


def stage(staging: Staging, contents: dict[str, bytes], *parents: bytes, message: str = "message") -> bytes:
    """A commit of these files, staged."""
    items = []
    for name, data in contents.items():
        staging.blob(object_id(Type.BLOB, data), data)
        items.append(TreeItem(FILE, name.encode(), object_id(Type.BLOB, data)))
    tree = staging.add(Type.TREE, format_tree(items))
    return staging.add(Type.COMMIT, Commit(tree, parents, WHO, WHO, message).encode())


def commit(
    repository: Repository, contents: dict[str, bytes], *parents: bytes, ref: str = MAIN, message: str = "message"
) -> bytes:
    """A commit of these files, published; by default on top of the ref."""
    tip = repository.ref(ref)
    with repository.staging() as staging:
        made = stage(staging, contents, *(parents or ([tip] if tip else [])), message=message)
        staging.publish([(ref, made, tip)], f"test: {message}")
    return made


def assert_clear(error: GitstateError) -> None:
    """One line that says what to do."""
    assert "\n" not in str(error)
    assert error.hint
    assert "Traceback" not in str(error)


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


# --- staging --------------------------------------------------------------------------------------------------------


def test_everything_staged_is_there_and_named_by_its_content(repository: Repository) -> None:
    big = random.Random(1).randbytes(100_000)
    with repository.staging() as staging:
        made = stage(staging, {"a": b"a", "b": b"", "c": b"a"})
        pieces = iter([big, b""])
        assert staging.stream(len(big), pieces.__next__, repository.has_packed) == object_id(Type.BLOB, big)
        assert staging.holds(object_id(Type.BLOB, big))
        assert not staging.holds(object_id(Type.BLOB, b"other"))
        items = [
            TreeItem(FILE, b"big", object_id(Type.BLOB, big)),
            TreeItem(TREE, b"old", repository_tree(staging, b"a")),
        ]
        tree = staging.add(Type.TREE, format_tree(items))
        second = staging.add(Type.COMMIT, Commit(tree, [made], WHO, WHO, "second").encode())
        assert staging.blobs == 3
        staging.publish([(MAIN, second, None)], "test")
    git = Git(repository.path)
    assert git.fsck() == ""
    assert git("cat-file", "blob", "main:big") == big
    assert git("log", "--format=%s|%an|%ae|%aI").decode().splitlines() == [
        "second|Ada|ada@example.com|2023-11-15T03:43:20+05:30",
        "message|Ada|ada@example.com|2023-11-15T03:43:20+05:30",
    ]
    assert list((repository.path / "objects/pack").glob("*.keep")) == []


def repository_tree(staging: Staging, content: bytes) -> bytes:
    return staging.add(Type.TREE, format_tree([TreeItem(FILE, b"x", object_id(Type.BLOB, content))]))


def test_a_known_or_repeated_stream_is_dropped(repository: Repository) -> None:
    known = object_id(Type.BLOB, b"a" * 1000)
    commit(repository, {"a": b"a" * 1000})
    with repository.staging() as staging:
        for _ in range(2):
            assert staging.stream(1000, iter([b"a" * 1000, b""]).__next__, repository.has_packed) == known
            assert staging.stream(1000, iter([b"b" * 1000, b""]).__next__, repository.has_packed) != known
        assert staging.blobs == 1
        assert len(list(staging.directory.iterdir())) == 2, "the main pack and one large one"


def test_threads_stage_at_once(repository: Repository) -> None:
    blobs = {f"{number:04}": b"%d" % (number // 2) for number in range(1000)}
    with repository.staging() as staging, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda data: staging.blob(object_id(Type.BLOB, data), data), blobs.values()))
        assert staging.blobs == 500
        made = stage(staging, blobs)
        staging.publish([(MAIN, made, None)], "test")
    assert repository.fsck() == []


def test_a_lost_race_loses_nothing_else(repository: Repository) -> None:
    first = commit(repository, {"a": b"1"})
    steps: list[str] = []
    with repository.staging() as staging:
        late = stage(staging, {"a": b"2"}, first)
        second = commit(repository, {"a": b"3"})
        with pytest.raises(LockedError) as caught:
            staging.publish([(MAIN, late, first)], "test", steps.append)
    assert_clear(caught.value)
    assert steps == ["pack", "idx"]
    assert repository.ref(MAIN) == second
    assert list((repository.path / "objects/pack").glob("*.keep")) == []
    with repository.staging() as staging:  # the same pack once more, now where it fits
        assert stage(staging, {"a": b"2"}, first) == late
        staging.publish([("refs/heads/late", late, None)], "test")
    assert Git(repository.path).fsck() == ""
    assert repository.ref("refs/heads/late") == late


# --- refs -----------------------------------------------------------------------------------------------------------


def test_refs_move_from_where_they_are_known_to_be(repository: Repository) -> None:
    first = commit(repository, {"a": b"1"})
    second = commit(repository, {"a": b"2"})
    git = Git(repository.path)
    assert repository.ref(MAIN) == second
    assert repository.ref("refs/heads/nothing") is None
    for move in (
        (MAIN, first, first),
        (MAIN, first, None),
        ("refs/heads/new", first, first),
        (MAIN, second, bytes.fromhex("1" * 40)),
    ):
        with pytest.raises(LockedError) as caught:
            repository.move_refs([("refs/heads/other", first, None), move], "test")
        assert_clear(caught.value)
        assert repository.ref("refs/heads/other") is None, "all or none"
        assert repository.ref(MAIN) == second
    repository.move_refs([("refs/heads/other", first, None), (MAIN, first, second)], "checkin: why")
    assert git("for-each-ref", "--format=%(refname) %(objectname)").decode().split() == [
        *(MAIN, first.hex()),
        *("refs/heads/other", first.hex()),
    ]
    assert git("reflog", "main", "-1", "--format=%gs") == b"checkin: why\n"


def hook(repository: Repository, name: str, text: str) -> None:
    place = repository.path / "hooks" / name
    place.parent.mkdir(exist_ok=True)
    place.write_text(f"#!/bin/sh\n{text}\n")
    place.chmod(0o755)


def test_moving_refs_runs_gits_hooks(repository: Repository) -> None:
    log = repository.path / "log"
    hook(repository, "reference-transaction", f'echo "$1" >>{log}; cat >>{log}')
    made = commit(repository, {"a": b"1"})
    told = log.read_text().splitlines()
    assert f"{'0' * 40} {made.hex()} {MAIN}" in told
    assert "committed" in told


def test_what_a_hook_refuses_is_not_called_a_race(repository: Repository) -> None:
    first = commit(repository, {"a": b"1"})
    hook(repository, "reference-transaction", '[ "$1" != prepared ]')
    with pytest.raises(RefusedError) as caught:
        commit(repository, {"a": b"2"})
    assert "hook" in caught.value.message
    assert_clear(caught.value)
    assert repository.ref(MAIN) == first


# --- revisions ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """Three commits on main, a side branch merged, and tags of every sort."""
    repository = Repository.create(tmp_path_factory.mktemp("past") / "desktop.git")
    first = commit(repository, {"a": b"1"}, message="first thing")
    commit(repository, {"a": b"2"}, message="second thing")
    side = commit(repository, {"b": b"x"}, first, ref="refs/heads/side/way", message="aside")
    tip = repository.ref(MAIN)
    assert tip is not None
    commit(repository, {"a": b"3"}, tip, side, message="third thing")
    git = Git(repository.path, ["user.name=A", "user.email=a@example.com"])
    git("tag", "light", first.hex())
    git("tag", "-a", "-m", "x", "lab3/1", tip.hex())
    git("tag", "-a", "-m", "x", "of-a-tag", "lab3/1")
    git("tag", "of-a-tree", "main^{tree}")
    git("tag", "of-a-blob", "main:a")
    git("update-ref", "refs/gitstate/live", first.hex())
    git("pack-refs", "--all")
    git("branch", "loose", first.hex())
    return repository


@pytest.mark.parametrize(
    "revision",
    [
        *("main", "HEAD", "@", "heads/main", "refs/heads/main", "side/way", "loose", "refs/gitstate/live"),
        *("tags/light", "light", "lab3/1", "refs/tags/lab3/1", "of-a-tag", "of-a-tag^{}", "lab3/1^{commit}"),
        *("lab3/1~1", "lab3/1^0"),
        *("main^", "main~1", "main^2", "main^1^", "main~2", "main^0", "main^^", "HEAD~1^{commit}", "main^{/second}"),
        *("main@{0}", "main@{1}", "@{1}", "main~99", "main^3", "main^{tree}", "main:a", "main:"),
        *("of-a-tree", "of-a-blob", "^main", "main^!", "main^@", "main...light"),
        *("nothing", "", "-x", "--all", "light..main", "a b", "*", "é", "\udcff", "main^{nothing}", "main~x", "0" * 40),
        *("f" * 40, "main.lock", "..", "refs/heads/", "main/", "a" * 300, "mai", "lab3", "MAIN"),
    ],
)  # fmt: skip
def test_revisions_are_gits(past: Repository, revision: str) -> None:
    git = Git(past.path)
    name = os.fsdecode(revision.encode("utf-8", "surrogateescape")) + "^{commit}"
    told = git.ask("rev-parse", "--verify", "--quiet", "--end-of-options", name)
    if told.returncode == 0 and not told.stdout.startswith(b"^"):
        assert past.resolve(revision).hex() == told.stdout.decode().strip()
    else:
        with pytest.raises(NotFoundError) as caught:
            past.resolve(revision)
        assert_clear(caught.value)


def test_ids_may_be_short_and_in_capitals(past: Repository) -> None:
    for oid in past.first_parents(past.resolve("main"), 10):
        for text in (oid.hex(), oid.hex()[:12], oid.hex().upper()):
            assert past.resolve(text) == oid


@pytest.mark.parametrize(
    ("revision", "hint"),
    [
        ("mian", "did you mean main?"),
        ("side/wya", "did you mean side/way?"),
        ("lab3/2", "did you mean lab3/1?"),
        ("zzz", "did you mean lab3/1, light, loose?"),
    ],
)
def test_the_nearest_names_are_suggested(past: Repository, revision: str, hint: str) -> None:
    with pytest.raises(NotFoundError, match=f"desktop has no revision '{revision}'") as caught:
        past.resolve(revision)
    assert caught.value.hint == hint


def test_before_the_first_check_in_there_is_nothing(repository: Repository) -> None:
    for revision in ("main", "HEAD", "HEAD~1", "nothing"):
        with pytest.raises(NotFoundError) as caught:
            repository.resolve(revision)
        assert "nothing is checked in yet" in caught.value.hint
    assert repository.ref(MAIN) is None
    assert repository.names() == []


def test_names_and_parents_are_gits(past: Repository) -> None:
    git = Git(past.path)
    listed = git("for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads", "refs/tags").decode().split()
    assert sorted(past.names()) == sorted(listed)
    line = git("rev-list", "--first-parent", "main").decode().split()
    main = past.resolve("main")
    assert [oid.hex() for oid in past.first_parents(main, 10)] == line
    assert [oid.hex() for oid in past.first_parents(main, 2)] == line[:2]
    assert past.ref("refs/tags/of-a-tag") == past.ref("refs/tags/lab3/1") == past.resolve("main^")


def test_a_snapshot_is_its_commit(past: Repository) -> None:
    snapshot = past.snapshot(past.resolve("main"))
    git = Git(past.path)
    told = git("log", "-1", "--format=%H %T %P", "main").decode().split()
    assert [snapshot.oid.hex(), snapshot.tree.hex(), *(oid.hex() for oid in snapshot.parents)] == told
    assert snapshot.author == "Ada <ada@example.com>"
    assert snapshot.when == 1_700_000_000
    assert snapshot.message == "third thing\n"


@pytest.mark.parametrize(
    ("head", "message", "author", "read"),
    [
        (b"", "é\n".encode(), "Zoë <z@x>", "é\n"),
        (b"encoding ISO-8859-1\n", b"\xe9\n", "Zo\xc3\xab <z@x>", "é\n"),
        (b"encoding nonsense\n", b"\xe9\n", "Zoë <z@x>", "\ufffd\n"),
        (b"encoding idna\n", b"\xe9\n", "Zoë <z@x>", "\ufffd\n"),
        (b"encoding hex\n", b"\xe9\n", "Zoë <z@x>", "\ufffd\n"),
        (b"", b"\xff\xfe\n", "Zoë <z@x>", "\ufffd\ufffd\n"),
        (b"", b"", "Zoë <z@x>", ""),
        (b"gpgsig -----BEGIN\n x\n", b"signed\n", "Zoë <z@x>", "signed\n"),
    ],
)
def test_commits_in_any_encoding_are_read(
    repository: Repository, head: bytes, message: bytes, author: str, read: str
) -> None:
    lines = [b"tree " + EMPTY_TREE.hex().encode(), "author Zoë <z@x> 1 +0000".encode(), b"committer C <c@x> 2 +0000"]
    oid = Git(repository.path).put(1, b"\n".join(lines) + b"\n" + head + b"\n" + message)
    snapshot = repository.snapshot(oid)
    assert (snapshot.message, snapshot.author, snapshot.when) == (read, author, 2)


@pytest.mark.parametrize(
    "body", [b"", b"tree x\n", b"tree " + b"0" * 40 + b"\n", b"\xff" * 100, b"author A <a@b> 1 +0000\n\nx"]
)
def test_a_broken_commit_is_damage(repository: Repository, body: bytes) -> None:
    oid = Git(repository.path).put(1, body)
    with pytest.raises(DamagedError) as caught:
        repository.snapshot(oid)
    assert_clear(caught.value)


def test_no_commit_is_no_snapshot(past: Repository) -> None:
    for oid in (bytes(20), b"\xff" * 20, EMPTY_TREE, object_id(Type.BLOB, b"1")):
        with pytest.raises(DamagedError) as caught:
            past.snapshot(oid)
        assert_clear(caught.value)


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


# --- objects as bytes -----------------------------------------------------------------------------------------------


def test_ids_and_trees_are_gits(repository: Repository) -> None:
    git = Git(repository.path)
    for data in (b"", b"x", bytes(1000)):
        assert object_id(Type.BLOB, data).hex().encode() == git("hash-object", "--stdin", stdin=data).strip()
    blob = git.put(3, b"x")
    git.put(2, b"")
    items = [
        *(TreeItem(objects.FILE, name, blob) for name in (b"a", b"a.b", b"a-b", b"b\xff", b"z\n", b"ab")),
        *(TreeItem(objects.TREE, name, EMPTY_TREE) for name in (b"a0", b"b", b"A")),
        TreeItem(objects.EXECUTABLE, b"a1", blob),
        TreeItem(objects.SYMLINK, b"l", blob),
    ]
    listing = b"".join(
        b"%06o %s %s\t%s\0" % (mode, b"tree" if mode == TREE else b"blob", oid.hex().encode(), name)
        for mode, name, oid in items
    )
    tree = format_tree(items)
    assert object_id(Type.TREE, tree).hex().encode() == git("mktree", "-z", stdin=listing).strip()
    assert sorted(objects.parse_tree(tree)) == sorted(items)
    assert format_tree(objects.parse_tree(tree)) == tree


def test_a_commit_is_as_git_writes_it(repository: Repository) -> None:
    git = Git(repository.path)
    git.put(2, b"")
    ours = Commit(
        EMPTY_TREE, [], Signature("A B <a@b>", 5, "-0800"), Signature("C <c@d>", 6), "\n\nsubject\n\nbody é\n\n"
    ).encode()
    variables = ["GIT_AUTHOR_NAME=A B", "GIT_AUTHOR_EMAIL=a@b", "GIT_AUTHOR_DATE=@5 -0800"]
    variables += ["GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@d", "GIT_COMMITTER_DATE=@6 +0000"]
    command = [
        "env",
        *variables,
        "git",
        f"--git-dir={git.path}",
        "commit-tree",
        EMPTY_TREE.hex(),
        "-m",
        "subject\n\nbody é",
    ]
    assert (
        subprocess.run(command, check=True, capture_output=True).stdout.decode().strip()
        == object_id(Type.COMMIT, ours).hex()
    )
