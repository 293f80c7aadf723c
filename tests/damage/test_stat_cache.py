"""The stat cache never hides a change: the tree that it helps to record is the tree of a full check-in.

Every check-in with the cache is held against one of another repository without it. What a check-in did is counted in
objects and blobs, never in seconds.
"""

from __future__ import annotations

import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gitstate.core.monitor import SILENT
from gitstate.store import Repository
from gitstate.tree import checkin
from gitstate.tree.manifest import read
from tests.damage.harness import Harness, complaints, edit, environment, mounted, plant
from tests.damage.pair import WHO, Pair, settle, work
from tests.support import needs, root_only
from tests.testing import hostile, mutation

pytestmark = [root_only]


SECOND = 10**9


# --- what costs nothing ---------------------------------------------------------------------------------------------


def test_nothing_changed(harness: Harness) -> None:
    plant(harness.live, 100)
    harness.check_in()
    head = harness.head
    for _ in range(3):
        said = harness.check_in()
        assert (said["commit"], said["objects"], said["blobs"]) == (None, 0, 0)
    assert harness.head == head


def test_nothing_changed_is_not_read_again(pair: Pair) -> None:
    time.sleep(0.05)
    pair.check_in()
    assert work(pair) <= len(str(time.time_ns()))  # the file that settle() wrote may be too fresh still


def test_a_touch_writes_no_blob(harness: Harness) -> None:
    plant(harness.live, 50)
    harness.check_in()
    os.utime(harness.live / "d03" / "e3" / "f3", ns=(1, 1))
    said = harness.check_in()
    assert said["blobs"] == 0
    assert said["objects"] == 5  # e3's records and tree, the trees of d03 and the root, the commit
    assert [one["path"] for one in said["changes"]] == ["d03/e3/f3"]


def test_a_renamed_directory_writes_no_blob(harness: Harness) -> None:
    plant(harness.live, 300)
    harness.check_in()
    (harness.live / "d05").rename(harness.live / "renamed")
    assert harness.check_in()["blobs"] == 0
    harness.faithful()


def test_a_changed_mode_and_owner_write_no_blob(harness: Harness) -> None:
    plant(harness.live, 50)
    harness.check_in()
    (harness.live / "d01" / "e1" / "f1").chmod(0o4711)
    os.chown(harness.live / "d02" / "e2" / "f2", 12, 34)
    assert harness.check_in()["blobs"] == 0
    harness.faithful()


def test_content_that_is_there_already_writes_no_blob(harness: Harness) -> None:
    plant(harness.live, 50)
    harness.check_in()
    shutil.copyfile(harness.live / "d01" / "e1" / "f1", harness.live / "copy")
    assert harness.check_in()["blobs"] == 0


def test_an_edit_among_many_files_parses_few_records(pair: Pair, monkeypatch: Any) -> None:
    """Neither the scan nor the list of changes looks at what is written of the others."""
    many = pair.live / "many"
    many.mkdir()
    for number in range(500):
        (many / f"f{number}").write_text(f"{number}\n")
    pair.check_in()
    settle(pair)
    (many / "f250").write_text("edited\n")
    (many / "f251").unlink()
    (many / "new").write_text("new\n")
    parsed = count_calls(monkeypatch, read, "_parse_record")
    changes = pair.check_in().status.changes
    assert [change.path for change in changes] == [b"many", *(b"many/" + name for name in (b"f250", b"f251", b"new"))]
    assert len(parsed) < 30
    pair.agrees()


def count_calls(monkeypatch: Any, module: ModuleType, name: str) -> list[None]:
    """As many entries as the function has been called."""
    calls: list[None] = []
    real = getattr(module, name)

    def counting(*arguments: Any) -> Any:
        calls.append(None)
        return real(*arguments)

    monkeypatch.setattr(module, name, counting)
    return calls


# --- what must not be missed ----------------------------------------------------------------------------------------


def test_other_content_of_the_same_size_and_time(pair: Pair) -> None:
    file = pair.live / "a" / "f1"
    before = file.stat()
    file.write_text("A 1\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    pair.agrees()
    assert pair.blob("a/f1") == b"A 1\n"


def test_a_rename_over_a_file_of_the_same_size_and_time(pair: Pair) -> None:
    file, other = pair.live / "a" / "f1", pair.live / "a" / "other"
    before, directory = file.stat(), file.parent.stat()
    other.write_text("A 1\n")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(file)
    os.utime(file.parent, ns=(directory.st_atime_ns, directory.st_mtime_ns))
    pair.agrees()
    assert pair.blob("a/f1") == b"A 1\n"


def test_two_files_that_change_places(pair: Pair) -> None:
    one, two, spare = (pair.live / "a" / name for name in ("f1", "f2", "spare"))
    when = one.stat().st_mtime_ns
    os.utime(two, ns=(when, when))
    settle(pair)
    one.rename(spare)
    two.rename(one)
    spare.rename(two)
    pair.agrees()
    assert pair.blob("a/f1") == b"a 2\n"


def test_two_directories_that_change_places(pair: Pair) -> None:
    one, two, spare = (pair.live / name for name in ("a", "b", "spare"))
    when = one.stat().st_mtime_ns
    os.utime(two, ns=(when, when))
    settle(pair)
    one.rename(spare)
    two.rename(one)
    spare.rename(two)
    pair.agrees()
    assert pair.blob("a/f1") == b"b 1\n"


def test_a_directory_and_its_copy_of_other_content_change_places(pair: Pair) -> None:
    """All times and sizes of the copy are those of the original: only inodes and ctimes tell."""
    copy, spare = pair.live / "copy", pair.live / "spare"
    subprocess.run(["cp", "-a", pair.live / "a", copy], check=True)
    before = (copy / "f1").stat()
    (copy / "f1").write_text("X 1\n")
    os.utime(copy / "f1", ns=(before.st_atime_ns, before.st_mtime_ns))
    settle(pair)
    (pair.live / "a").rename(spare)
    copy.rename(pair.live / "a")
    spare.rename(copy)
    pair.agrees()
    assert pair.blob("a/f1") == b"X 1\n"


def test_edits_within_a_tick_of_the_clock(pair: Pair) -> None:
    """Written, recorded and written again with the same size, as fast as it goes."""
    file = pair.live / "a" / "f1"
    for number in range(24):
        file.write_text(f"{number:03}\n")
        if number % 3:
            pair.check_in()
            file.write_text(f"{number + 500:03}\n")
        pair.check_in()
        assert pair.blob("a/f1") == file.read_bytes()
    pair.agrees()


@needs("mkfs.ext4")
def test_edits_within_a_second_where_times_are_whole_seconds(place: Path) -> None:
    """ext4 with small inodes, as many a disk from years ago; newer kernels never give two edits one time elsewhere."""
    image = place / "coarse.image"
    with open(image, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-I", "128", str(image)], capture_output=True, check=True)
    with mounted(place / "coarse", "-o", "loop", str(image)) as coarse:
        live = coarse / "live"
        live.mkdir()
        pair = Pair(place, live)
        for number in range(30):
            (live / "file").write_text(f"{number:03}\n")
            assert (live / "file").stat().st_mtime_ns % SECOND == 0
            time.sleep(0.05)
            pair.check_in()
            assert pair.blob("file") == (live / "file").read_bytes()


def test_every_kind_of_change_to_an_entry(pair: Pair) -> None:
    file, directory = pair.live / "a" / "f1", pair.live / "b"
    steps = [
        lambda: file.chmod(0o600),
        lambda: os.chown(file, 1, 2),
        lambda: os.setxattr(file, "user.x", b"1"),
        lambda: os.setxattr(file, "user.x", b"2"),
        lambda: os.removexattr(file, "user.x"),
        lambda: directory.chmod(0o700),
        lambda: os.chown(directory, 1, 2),
        lambda: os.setxattr(directory, "user.x", b"1"),
        lambda: os.utime(directory, ns=(5, 5)),
        lambda: os.utime(pair.live, ns=(5, 5)),
        lambda: pair.live.chmod(0o711),
        lambda: os.link(file, pair.live / "c" / "hard"),
        lambda: file.write_text("through one name\n"),
        lambda: (pair.live / "c" / "hard").unlink(),
        lambda: file.unlink(),
        lambda: os.symlink("f2", file),
        lambda: (file.unlink(), os.symlink("f3", file)),
        lambda: (file.unlink(), os.mkfifo(file)),
        lambda: (file.unlink(), os.mknod(file, 0o20600, os.makedev(1, 3))),
        lambda: (file.unlink(), os.mknod(file, 0o20600, os.makedev(1, 5))),
        lambda: (file.unlink(), file.mkdir()),
        lambda: (file / "inner").write_text("x"),
        lambda: shutil.rmtree(file),
        lambda: shutil.rmtree(pair.live / "c"),
        lambda: directory.rename(pair.live / "c"),
    ]
    seen = {pair.check_in().status.tree}
    for number, step in enumerate(steps):
        step()
        tree = pair.agrees(number).status.tree
        assert tree not in seen or number in (4, 13, 22), number
        seen.add(tree)
        if number % 4 == 0:
            settle(pair)


# --- caches that don't fit ------------------------------------------------------------------------------------------


def cache_of(harness: Harness) -> Path:
    """The file."""
    return harness.repository / "gitstate" / "cache"


def test_the_cache_of_another_commit_is_not_used(harness: Harness) -> None:
    """A file in the root, as only there a row's tree isn't the cache's own."""
    file = harness.live / "file"
    file.write_text("first\n")
    harness.check_in("first")
    first = harness.head
    file.write_text("other\n")
    harness.check_in("changed")
    time.sleep(0.05)
    harness.check_in("so that the cache trusts it")
    for ref in ("refs/heads/main", "refs/gitstate/live"):
        harness.git("update-ref", ref, first)
    (harness.live / "beside").touch()  # so that the root's records are made anew
    assert [one["path"] for one in harness("status", "p", json=True).json["changes"]] == [".", "beside", "file"]
    harness.check_in("again")
    assert harness.git("show", "main:file") == "other"


def test_the_cache_of_another_policy_is_not_used(harness: Harness) -> None:
    """A file that was left out by policy and isn't any more is found without any change to it."""
    policy = harness.live / "etc" / "gitstate" / "policy.toml"
    policy.parent.mkdir()
    policy.write_text('version = 1\n[record]\nskip = ["opt/left-out"]\n')
    (harness.live / "opt").mkdir()
    (harness.live / "opt" / "left-out").write_text("left out\n")
    harness.check_in()
    time.sleep(0.05)
    harness.check_in()
    assert harness.git("ls-tree", "--name-only", "main:opt") == ".gitstate"
    policy.write_text("version = 1\n")
    harness.check_in()
    assert harness.git("show", "main:opt/left-out") == "left out"


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "garbage", "directory", "swapped"])
def test_a_damaged_cache_is_not_used(harness: Harness, damage: str) -> None:
    plant(harness.live, 40)
    harness.check_in()
    tree = harness.git("rev-parse", "main^{tree}")
    cache, whole = cache_of(harness), cache_of(harness).read_bytes()
    chance = random.Random(3)
    for _ in range(8):
        cache.unlink()
        match damage:
            case "truncated":
                cache.write_bytes(whole[: chance.randrange(len(whole))])
            case "flipped":
                place = chance.randrange(len(whole))
                cache.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :])
            case "empty":
                cache.write_bytes(b"")
            case "garbage":
                cache.write_bytes(chance.randbytes(1000))
            case "directory":
                cache.mkdir()
            case _:
                cache.write_bytes(whole[:62] + whole[62:][::-1])
        said = harness("status", "p", json=True).well().json
        assert (said["changes"], said["tree"]) == ([], tree)
        if damage == "directory":
            harness("checkin", "p", "-m", "m").well()
            cache.rmdir()
            cache.touch()
    edit(harness.live, 1, 20)
    harness.check_in()
    harness.faithful()


# --- random edits ---------------------------------------------------------------------------------------------------


def agree_over_random_edits(place: Path, seed: int, rounds: int, edits: int) -> None:
    """A tree of oddities, edited at random; the cache is used in every round."""
    live = place / "live"
    live.mkdir()
    hostile.build(live, sockets=False, wide=20)
    pair = Pair(place, live)
    pair.agrees()
    chance = random.Random(seed)
    for number in range(rounds):
        if chance.random() < 0.4:
            time.sleep(0.03)
            pair.check_in()
        told = mutation.mutate(live, chance.getrandbits(32), edits)
        pair.agrees((seed, number, told))
    assert complaints(pair.repository.path) == []
    hostile.remove(live)


@needs("setcap", "setfacl")
@pytest.mark.parametrize("seed", [1, 2])
def test_random_edits(place: Path, seed: int) -> None:
    agree_over_random_edits(place, seed, rounds=6, edits=20)


@pytest.mark.slow
@needs("setcap", "setfacl")
@pytest.mark.parametrize("seed", range(100, 104))
def test_many_random_edits(place: Path, seed: int) -> None:
    agree_over_random_edits(place, seed, rounds=20, edits=30)


def test_random_edits_beside_checkins(place: Path) -> None:
    """Edits never stop while check-ins run; the last one, after them, has everything."""
    live = place / "live"
    plant(live, 150)
    pair = Pair(place, live)
    pair.check_in()
    script = (
        "import sys, pathlib, random\n"
        "from tests.damage.harness import edit\n"
        "number = 0\n"
        "while True:\n"
        "    number += 1\n"
        "    edit(pathlib.Path(sys.argv[1]), number, 5)\n"
    )
    editor = subprocess.Popen([sys.executable, "-c", script, str(live)], env=environment())
    try:
        for _ in range(6):
            checkin.record(checkin.Request(pair.repository, live, "during", WHO, WHO), SILENT)
    finally:
        editor.kill()
        editor.wait()
    pair.agrees()
    assert complaints(pair.repository.path) == []


def test_a_killed_checkin_leaves_a_cache_that_is_true(harness: Harness) -> None:
    """Whatever step it died at, the next incremental tree is the full one."""
    plant(harness.live, 100)
    harness.check_in()
    for number, step in enumerate(("pack", "idx", "ref", "cache")):
        edit(harness.live, number, 20)
        assert harness.killed(step, "checkin", "p", "-m", "m")
        edit(harness.live, number + 10, 20)
        harness.check_in()
        fresh = harness.path / f"fresh{number}.git"
        full = checkin.record(checkin.Request(Repository.create(fresh), harness.live, "m", WHO, WHO), SILENT)
        assert harness.git("rev-parse", "main^{tree}") == full.status.tree.hex()


def test_the_live_tree_is_edited_at_every_step(harness: Harness) -> None:
    """An edit after the scan is not in this check-in and not lost to the next."""
    plant(harness.live, 60)
    harness.check_in()
    target = harness.live / "d03" / "e3" / "f3"
    for number, step in enumerate(("pack", "idx", "ref", "cache")):
        (harness.live / "new").write_text(f"{number}")
        write = f"printf %03d {number} > {shlex.quote(str(target))}"
        harness.interrupted(step, write, "checkin", "p", "-m", step).well()
        harness.check_in()
        assert harness.git("show", "main:d03/e3/f3") == f"{number:03}"
    harness.faithful()
