"""Linking what two snapshots have in common, by one process and by two: complete, and nothing is left when one dies."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from gitstate.core import fs
from gitstate.core.errors import GitstateError, HostError, StorageError
from gitstate.core.monitor import SILENT
from gitstate.store.site import Site as Opened
from gitstate.tree import export
from gitstate.tree.export.digests import look
from gitstate.tree.export.equal import LinkResult, TreePair
from tests.gitstate_command import Site, make_site
from tests.support import PROJECT, needs, root_only
from tests.testing import judges

pytestmark = [root_only, needs("mtree", "rsync", "getcap", "getfacl")]

TOPS, BELOW, FILES = 15, 12, 5


def plant(root: Path) -> None:
    """Some 200 directories of odd metadata, each with files, a symlink and a fifo."""
    chance = random.Random(1)
    root.mkdir()
    for top in range(TOPS):
        for below in range(BELOW):
            directory = root / f"t{top}" / f"b{below} é\n" / "deep"
            directory.mkdir(parents=True)
            for number in range(FILES):
                (directory.parent / f"f{number}").write_bytes(b"%d\n" % chance.randrange(1000))
            (directory / "link").symlink_to("/nowhere")
            os.mkfifo(directory / "fifo")
            directory.chmod(chance.choice([0o755, 0o1777, 0o2750, 0]))
            os.chown(directory.parent, chance.randrange(100), chance.randrange(100))
            os.utime(directory, ns=(0, chance.randrange(10**18)))
    os.setxattr(root / "t3", "user.a", b"b")


Ask = Callable[[], LinkResult]


@pytest.fixture
def trees(tmp_path: Path) -> Iterator[tuple[Path, Path, Ask]]:
    """An old tree, a new one of empty directories, and the question to link the one into the other."""
    old, new = tmp_path / "old", tmp_path / "new"
    plant(old)
    new.mkdir(mode=0o700)
    opened = [fs.open_tree(path) for path in (new, old)]
    yield old, new, lambda: TreePair(opened[0], opened[1], looks(old)).link([b""], lambda amount: None, single=False)
    for descriptor in opened:
        os.close(descriptor)


def looks(tree: Path) -> dict[bytes, bytes]:
    """The digests of all directories."""
    found = {}
    for directory, _, _, descriptor in os.fwalk(tree):
        found[os.fsencode(os.path.relpath(directory, tree)) if directory != str(tree) else b""] = look(
            descriptor
        ).digest
    return found


def seen(tree: Path) -> dict[str, tuple[Any, ...]]:
    """Every entry by its path: an inode for what is no directory, else its metadata."""
    found: dict[str, tuple[Any, ...]] = {}
    for directory, names, others in os.walk(tree):
        for name in [".", *names, *others]:
            status = os.lstat(path := os.path.join(directory, name))
            if stat.S_ISDIR(status.st_mode):
                xattrs = {key: os.getxattr(path, key) for key in os.listxattr(path)}
                told = (status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, xattrs)
            else:
                told = (status.st_ino,)
            found[os.path.relpath(path, tree)] = told
    return found


def children() -> set[str]:
    """Our processes, those among them that are dead and were not waited for."""
    tasks = Path("/proc/self/task").iterdir()
    return {pid for task in tasks for pid in (task / "children").read_text().split()}


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() <= before


def test_two_processes_link_all_of_it(trees: tuple[Path, Path, Ask], monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, ask = trees
    forks = []
    monkeypatch.setattr(os, "fork", lambda fork=os.fork: forks.append(pid := fork()) or pid)
    linked = ask()
    assert len(forks) == 1
    assert seen(new) == seen(old)
    assert (linked.files, linked.directories) == (TOPS * BELOW * (FILES + 2), 1 + TOPS * (1 + 2 * BELOW))
    assert linked.refused == linked.damaged == []


def test_nothing_is_linked_from_directories_that_look_otherwise(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    plant(old)
    new.mkdir()
    known = looks(old)
    (old / "t1" / "b1 é\n" / "f0").write_bytes(b"longer than it was\n")
    (old / "t2" / "b2 é\n" / "deep" / "fifo").unlink()
    os.chmod(old / "t4", 0o700)
    linked = TreePair(fs.open_tree(new), fs.open_tree(old), known).link([b""], lambda amount: None, single=False)
    assert sorted(linked.damaged) == [b"t1/b1 \xc3\xa9\n", b"t2/b2 \xc3\xa9\n/deep", b"t4"]
    assert all(not list(new.joinpath(os.fsdecode(path)).iterdir()) for path in linked.damaged)


def test_a_helper_that_does_all_and_one_that_does_nothing(
    trees: tuple[Path, Path, Ask], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, ask = trees
    take, home = TreePair._take, os.getpid()
    for lazy in (True, False):
        monkeypatch.setattr(
            TreePair,
            "_take",
            lambda self, queue, parts, lazy=lazy: (
                time.sleep(0.3 if (os.getpid() == home) == lazy else 0) or take(self, queue, parts)
            ),
        )
        assert ask().files == TOPS * BELOW * (FILES + 2)
        assert seen(new) == seen(old)
        shutil.rmtree(new)
        new.mkdir(mode=0o700)
        ask = _again(old, new)


def _again(old: Path, new: Path) -> Ask:
    pair = TreePair(fs.open_tree(new), fs.open_tree(old), looks(old))
    return lambda: pair.link([b""], lambda amount: None, single=False)


@pytest.mark.parametrize("in_helper", [False, True])
def test_an_error_of_either_is_the_error(
    trees: tuple[Path, Path, Ask], monkeypatch: pytest.MonkeyPatch, in_helper: bool
) -> None:
    _, _, ask = trees
    home, link, made = os.getpid(), os.link, []

    def full(*arguments: Any, **options: Any) -> None:
        made.append(1)
        if (os.getpid() != home) == in_helper and len(made) > 300:
            raise OSError(errno.ENOSPC, "No space left on device")
        link(*arguments, **options)
        time.sleep(0.0002)

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="No space left"):
        ask()


def test_what_the_helper_was_refused_is_told(trees: tuple[Path, Path, Ask], monkeypatch: pytest.MonkeyPatch) -> None:
    old, new, ask = trees
    link = os.link

    def one_too_many(name: str, *arguments: Any, **options: Any) -> None:
        if name == "f3":
            raise OSError(errno.EMLINK, "Too many links")
        link(name, *arguments, **options)

    monkeypatch.setattr(os, "link", one_too_many)
    linked = ask()
    refused = {os.fsencode(path.relative_to(old)) for path in old.rglob("f3")}
    assert len(linked.refused) == len(refused) == TOPS * BELOW
    assert set(linked.refused) == refused
    assert seen(new) == {path: told for path, told in seen(old).items() if not path.endswith("f3")}


@pytest.mark.parametrize("how", ["killed", "cut short"])
def test_a_helper_that_dies_fails_the_export(
    trees: tuple[Path, Path, Ask], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    _, _, ask = trees

    def dies(self: TreePair, queue: int, said: int, parts: Any) -> None:
        os.read(queue, 3)
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)

    monkeypatch.setattr(TreePair, "_help", dies)
    with pytest.raises(OSError, match="was killed"):
        ask()


# --- whole exports ------------------------------------------------------------------------------------------


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site whose prototype has two snapshots, and an export of the first."""
    plant(tmp_path / "live")
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "p", "--live", str(tmp_path / "live"))
    site.run("checkin", "p", "-m", "one")
    site.run("export", "p")
    (tmp_path / "live" / "t7" / "new").write_bytes(b"new\n")
    site.run("checkin", "p", "-m", "two")
    return site


def export_now(site: Site) -> Path:
    """Export the newest snapshot in this process."""
    opened = Opened.open(site.path)
    repository = opened.repository("p")
    plan = export.plan(repository, repository.resolve("HEAD"), opened.exports_path("p"), None)
    tally = export.apply(plan, SILENT)
    assert tally.linked > TOPS * BELOW
    assert tally.written == 1
    return plan.target


def test_an_export_by_two_is_as_any_other(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forks = []
    monkeypatch.setattr(os, "fork", lambda fork=os.fork: forks.append(pid := fork()) or pid)
    assert judges.everything(tmp_path / "live", export_now(site)) == []
    assert len(forks) == 1


@pytest.mark.parametrize(("code", "kind"), [(errno.ENOSPC, StorageError), (errno.EROFS, HostError)])
def test_a_failed_helper_leaves_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[GitstateError]
) -> None:
    home, link = os.getpid(), os.link

    def failing(*arguments: Any, **options: Any) -> None:
        if os.getpid() != home:
            raise OSError(code, os.strerror(code))
        time.sleep(0.001)
        link(*arguments, **options)

    before = os.listdir(site.path / "exports" / "p")
    with monkeypatch.context() as patched:
        patched.setattr(os, "link", failing)
        with pytest.raises(kind, match=os.strerror(code)):
            export_now(site)
    assert os.listdir(site.path / "exports" / "p") == before
    export_now(site)


ROUNDS: Final = 12


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_while_two_link(site: Site, tmp_path: Path, number: int) -> None:
    """The next export waits for what is left of the one before, and is complete."""
    exports = site.path / "exports" / "p"
    first = set(os.listdir(exports))
    chance, hits = random.Random(number), 0
    environment = {**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)}
    for _ in range(ROUNDS):
        child = subprocess.Popen(
            [sys.executable, "-m", "gitstate", "export", "p"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while child.poll() is None and not any(name.startswith(".") for name in os.listdir(exports)):
            time.sleep(0.0005)
        time.sleep(chance.random() * 0.02)
        if number == signal.SIGINT:
            os.killpg(child.pid, number)
        else:
            child.send_signal(number)
        hits += child.wait(60) != 0
        new = Path(site.out("export", "p"))
        assert set(os.listdir(exports)) == {*first, new.name}
        assert judges.rsync(tmp_path / "live", new) == []
        shutil.rmtree(new)
    assert hits > ROUNDS // 4
