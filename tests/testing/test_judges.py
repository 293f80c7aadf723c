"""Each judge sees what it is there to see, and no judge sees a difference where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support import needs, root_only
from tests.testing import hostile, judges

pytestmark = [
    root_only,
    needs("mtree", "rsync", "getcap", "setcap", "getfacl", "setfacl", "tar", "find", "git", "cp"),
]

MIB = 1 << 20


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory that goes away whatever is in it."""
    directory = tmp_path / "trees"
    directory.mkdir()
    yield directory
    hostile.remove(directory)


def build(place: Path, name: str, *, sockets: bool = True, wide: int = 20, deep: bool = False) -> Path:
    """A hostile tree of the given name."""
    root = place / name
    root.mkdir()
    hostile.build(root, sockets=sockets, wide=wide, deep=deep)
    return root


def copy(a: Path, name: str) -> Path:
    """A faithful copy by an outside program."""
    b = a.with_name(name)
    run("cp", "-a", "--", a, b)
    return b


def run(*command: str | Path) -> None:
    """An outside program that has to succeed."""
    subprocess.run(command, check=True)


def speaking(a: Path, b: Path) -> set[str]:
    """The judges that find a difference."""
    return {line.split(":", 1)[0] for line in judges.everything(a, b)}


# -------------------------------------------------------------------------------------------- nothing spoilt


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """Two equal trees with all that there is, for tests that change neither."""
    directory = tmp_path_factory.mktemp("pair")
    yield build(directory, "a", deep=True), build(directory, "b", deep=True)
    hostile.remove(directory)


def test_an_unspoilt_copy_of_a_hostile_tree_passes_all(place: Path) -> None:
    a = build(place, "a")
    assert judges.everything(a, copy(a, "b")) == []
    assert judges.too_deep(a) == set()


def test_two_builds_are_equal_even_where_no_copy_reaches(pair: tuple[Path, Path]) -> None:
    assert judges.everything(*pair) == []
    assert judges.too_deep(pair[0]) == {os.fsdecode(name) for name in hostile.TOO_DEEP}


@pytest.mark.parametrize("judge", [judges.rsync, judges.getcap, judges.getfacl])
def test_a_judge_that_cannot_look_speaks(pair: tuple[Path, Path], judge: Callable[[Path, Path], list[str]]) -> None:
    assert judge(*pair)


def test_sockets_can_be_left_out(place: Path, pair: tuple[Path, Path]) -> None:
    def sockets(tree: Path) -> bytes:
        return subprocess.run(["find", tree, "-type", "s"], check=True, capture_output=True).stdout

    assert sockets(pair[0])
    assert not sockets(build(place, "a", sockets=False))


def test_every_byte_that_a_name_can_hold_is_in_one(place: Path) -> None:
    root = os.fsencode(build(place, "a"))
    names = {name for _, directories, files in os.walk(root) for name in (*directories, *files)}
    assert set().union(*names) == set(range(1, 256)) - {ord("/")}


def test_building_a_tree_obeys_nothing_in_it(place: Path) -> None:
    hostile.CANARY.unlink(missing_ok=True)
    build(place, "a")
    assert not hostile.CANARY.exists()


# --------------------------------------------------------------------------------------------- one thing spoilt


def small(root: Path) -> None:
    """One entry for each thing to spoil."""
    (root / "directory/inner").mkdir(parents=True)
    for name in ("file", "capable", "linked", "friend", "directory/inside"):
        (root / name).write_bytes(b"content")
    (root / "second").hardlink_to(root / "linked")
    (root / "symlink").symlink_to("file")
    os.mkfifo(root / "fifo")
    os.mknod(root / "device", 0o020644, os.makedev(1, 3))
    with open(root / "holes", "wb") as file:
        file.truncate(4 * MIB)
    for number in range(3):
        os.setxattr(root / "file", f"user.{number}", b"\0value")
    run("setfacl", "-m", "u:1000:r", root / "file")
    run("setfacl", "-m", "d:u:1000:r", root / "directory")
    run("setcap", "cap_net_raw+ep", root / "capable")
    for path in (*root.rglob("*"), root):
        os.utime(path, ns=(0, 1_234_567_890_123_456_789), follow_symlinks=False)


def later(path: Path, nanoseconds: int) -> None:
    """Move an entry's time."""
    when = path.lstat().st_mtime_ns + nanoseconds
    os.utime(path, ns=(when, when), follow_symlinks=False)


def replace_by(path: Path, make: Callable[[Path], object]) -> None:
    """Put another entry under the same name, with the same time."""
    old = path.lstat().st_mtime_ns
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    make(path)
    os.utime(path, ns=(old, old), follow_symlinks=False)


def unlink(path: Path) -> None:
    """Take a file out of its group, the same otherwise."""
    spare = path.with_name("spare")
    shutil.copy2(path, spare)
    spare.rename(path)


def fill_holes(path: Path) -> None:
    """The same zeros, all of them on disk."""
    with open(path, "r+b") as file:
        file.write(bytes(4 * MIB))
        file.flush()
        os.fsync(file.fileno())


STAT = {"mtree", "rsync", "tar"}
MODE = {*STAT, "getfacl"}
SPOILS: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "content of the same size": (lambda b: (b / "file").write_bytes(b"CONTENT"), STAT),
    "size": (lambda b: (b / "file").write_bytes(b"content\n"), STAT),
    "one byte in a hole": (lambda b: os.pwrite(os.open(b / "holes", os.O_WRONLY), b"x", 9999), STAT),
    "mode": (lambda b: (b / "friend").chmod(0o600), MODE),
    "setuid": (lambda b: (b / "friend").chmod(0o4644), MODE),
    "mode of a directory": (lambda b: (b / "directory/inner").chmod(0o1755), MODE),
    "mode of a fifo": (lambda b: (b / "fifo").chmod(0o600), MODE),
    "mode of the root": (lambda b: b.chmod(0o700), MODE),
    "owner": (lambda b: os.chown(b / "friend", 2**32 - 2, -1), MODE),
    "group": (lambda b: os.chown(b / "friend", -1, 5), MODE),
    "owner of a link": (lambda b: os.chown(b / "symlink", 5, -1, follow_symlinks=False), STAT),
    "time": (lambda b: later(b / "file", 10**9), STAT),
    "time by a microsecond": (lambda b: later(b / "file", 1000), STAT),
    "time by a nanosecond": (lambda b: later(b / "file", 1), {"rsync", "tar"}),
    "time of a directory": (lambda b: later(b / "directory/inner", 10**9), STAT),
    "time of a link": (lambda b: later(b / "symlink", 10**9), STAT),
    "time of a fifo": (lambda b: later(b / "fifo", 10**9), STAT),
    "time of the root": (lambda b: later(b, 10**9), STAT),
    "xattr": (lambda b: os.setxattr(b / "file", "user.1", b"\0VALUE"), {"rsync", "tar"}),
    "xattr missing": (lambda b: os.removexattr(b / "file", "user.1"), {"rsync", "tar"}),
    "xattr extra": (lambda b: os.setxattr(b / "directory", "user.1", b""), {"rsync", "tar"}),
    "capability": (lambda b: run("setcap", "cap_net_raw+p", b / "capable"), {"rsync", "getcap", "tar"}),
    "capability missing": (lambda b: run("setcap", "-r", b / "capable"), {"rsync", "getcap", "tar"}),
    "capability extra": (lambda b: run("setcap", "=", b / "friend"), {"rsync", "getcap", "tar"}),
    "root id": (
        lambda b: run("setcap", "-n", "9", "cap_net_raw+ep", b / "capable"),
        {"rsync", "getcap", "tar"},
    ),
    "ACL": (lambda b: run("setfacl", "-n", "-m", "u:1000:-", b / "file"), {"rsync", "getfacl", "tar"}),
    "ACL missing": (lambda b: run("setfacl", "-b", b / "file"), {"rsync", "getfacl", "tar"}),
    "default ACL": (
        lambda b: run("setfacl", "-m", "d:u:1000:rw", b / "directory"),
        {"rsync", "getfacl", "tar"},
    ),
    "missing file": (lambda b: (b / "file").unlink(), MODE),
    "missing capable file": (lambda b: (b / "capable").unlink(), {*MODE, "getcap"}),
    "missing directory": (lambda b: (b / "directory/inner").rmdir(), MODE),
    "missing link": (lambda b: (b / "symlink").unlink(), STAT),
    "missing device": (lambda b: (b / "device").unlink(), MODE),
    "extra file": (lambda b: (b / "directory/inner/extra").touch(), MODE),
    "extra directory": (lambda b: (b / "extra").mkdir(), MODE),
    "hard link broken": (lambda b: unlink(b / "second"), {"rsync", "tar"}),
    "false friends linked": (
        lambda b: replace_by(b / "friend", lambda path: path.hardlink_to(b / "linked")),
        {"rsync", "tar"},
    ),
    "target": (lambda b: replace_by(b / "symlink", lambda path: path.symlink_to("FILE")), STAT),
    "device number": (
        lambda b: replace_by(b / "device", lambda path: os.mknod(path, 0o020644, os.makedev(1, 5))),
        STAT,
    ),
    "character device to block": (
        lambda b: replace_by(b / "device", lambda path: os.mknod(path, 0o060644, os.makedev(1, 3))),
        {"mtree", "tar"},
    ),
    "fifo to file": (lambda b: replace_by(b / "fifo", lambda path: path.touch(0o644)), STAT),
    "file to link": (lambda b: replace_by(b / "friend", lambda path: path.symlink_to("file")), MODE),
    "directory to file": (lambda b: replace_by(b / "directory/inner", lambda path: path.touch()), MODE),
    "link to directory": (lambda b: replace_by(b / "symlink", lambda path: path.mkdir()), MODE),
    "hole": (lambda b: fill_holes(b / "holes"), {"sparse"}),
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_judges_see_one_spoilt_thing(place: Path, spoil: str) -> None:
    """Who speaks is compared exactly, so that the docstrings are true about what a judge is blind to.

    The entry's time and its directory's are put back: a judge has to see the thing itself.
    """
    do, seen_by = SPOILS[spoil]
    a = place / "a"
    small(a)
    b = copy(a, "b")
    times = {path: path.lstat().st_mtime_ns for path in (*b.rglob("*"), b)}
    do(b)
    if not spoil.startswith("time"):
        for path in (path for path in times if os.path.lexists(path)):
            os.utime(path, ns=(0, times[path]), follow_symlinks=False)
    assert speaking(a, b) == seen_by


def test_attributes_set_in_another_order_are_no_difference(place: Path) -> None:
    for name, order in (("a", "xyz"), ("b", "zyx")):
        (place / name).mkdir()
        for key in order:
            os.setxattr(place / name, f"user.{key}", b"v")
        os.utime(place / name, ns=(0, 0))
    assert os.listxattr(place / "a") != os.listxattr(place / "b")
    assert judges.everything(place / "a", place / "b") == []


# --------------------------------------------------------------------------------------- what is hard to see


def test_mtree_takes_hostile_names_literally(place: Path) -> None:
    """Every file that is spoilt is spoken of, once in each direction, and no other is."""
    a = build(place, "a")
    b = copy(a, "b")
    names = (b"*", b"?", b"[a-z]", b"a*b", b"x\\", b"\\101", b"\n", b"\xff", b"#", b"type=dir", b"\xff" * 255)
    for name in names:
        os.chmod(os.path.join(os.fsencode(b), b"names/files", name), 0o600)
    os.chmod(b / "names/alone/\udca3", 0o600)
    (b / "words/below\nnewline/.mailmap").chmod(0o600)
    found = [line for line in judges.mtree(a, b) if "permissions" in line]
    assert len(found) == 2 * (len(names) + 2), found


@pytest.mark.parametrize("top", [os.fsdecode(name) for name in hostile.TOO_DEEP])
def test_mtree_and_tar_see_the_end_of_a_deep_path(place: Path, top: str) -> None:
    a, b = build(place, "a", deep=True), build(place, "b", deep=True)
    run("find", b / top, "-name", "file", "-execdir", "chmod", "0600", "{}", ";")
    assert speaking(a, b) == {"mtree", "tar"}


# -------------------------------------------------------------------------------------------------- mutations


@pytest.mark.parametrize("seed", range(4))
def test_mutations_are_seen_and_can_be_copied(place: Path, seed: int) -> None:
    a, b = build(place, "a"), build(place, "b")
    done = hostile.mutate(b, seed)
    assert {"mtree", "rsync", "tar"} <= speaking(a, b), done
    assert judges.everything(b, copy(b, "c")) == [], done


def test_mutations_depend_on_the_seed_alone(place: Path) -> None:
    a, b, c = (build(place, name) for name in "abc")
    assert hostile.mutate(a, 1) == hostile.mutate(b, 1)
    assert hostile.mutate(b, 2) != hostile.mutate(c, 3)


def test_every_kind_of_mutation_comes_up(place: Path) -> None:
    done = "\n".join(hostile.mutate(build(place, "a"), seed=5, edits=150))
    for deed in (
        *("add", "delete", "rename to", "rename over", "chmod", "chown", "setcap", "setfacl", "touch"),
        *("attribute of", "change the type", "link as", "unlink from", "swap the content", "rewrite"),
    ):
        assert deed in done


def test_a_deep_tree_is_mutated_and_removed(place: Path) -> None:
    root = build(place, "a", deep=True)
    for seed in range(3):
        assert hostile.mutate(root, seed)
    hostile.remove(root)
    assert not root.exists()
