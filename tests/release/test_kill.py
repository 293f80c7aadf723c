"""kill -9 anywhere in a push, a reconcile or a rollback: every channel is on the old or the new release, never between,
and the next reconcile does the rest."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.damage.harness import environment, wait_for_orphans
from tests.release.harness import SCRIPT, Harness, chained
from tests.support import PROJECT, needs, root_only
from tests.testing.killed import leave_record

pytestmark = [root_only, needs("git", "gzip", "setfacl", "setcap")]

STEPS = ("export", "archives", "pin", "release", "boot", "directory")


def interrupted(harness: Harness, point: str, *words: str) -> tuple[bool, int]:
    """Run a command that dies at ``point``; whether it did, and how many operations it made if it lived."""
    argv = [sys.executable, "-m", "tests.release.interrupted", point, "--site", str(harness.site), *words]
    done = subprocess.run(argv, env=environment(), cwd=PROJECT, capture_output=True, text=True, check=False)
    wait_for_orphans(harness.site)
    if done.returncode == -signal.SIGKILL:
        return True, 0
    assert done.returncode == 0, done.stderr
    found = re.search(r"^operations (\d+)$", done.stderr, re.MULTILINE)
    assert found, done.stderr
    return False, int(found[1])


def state(harness: Harness) -> tuple[str, str, str]:
    """What a machine boots, what ``site.git`` says, what the directory says: commits, each whole."""
    boots_now = chained(harness)
    runs = harness.runs("lab3")["desktop"]
    entry = harness.releases("-C", str(harness.site / "directory.git"), "show", "main:channels/lab3.ldif")
    told = re.search("gitstateCommit: (.*)", entry)
    assert told
    return boots_now, runs, told[1]


def on_one_of(harness: Harness, old: str, new: str) -> None:
    """What machines boot is whole, and nothing runs ahead of what comes before it."""
    order = [old, new]
    boot, runs, told = (order.index(commit) for commit in state(harness))
    assert told <= boot <= runs


def settled(harness: Harness, commit: str) -> None:
    """After the next reconcile all agree."""
    harness("reconcile")
    assert state(harness) == (commit, commit, commit)
    assert harness("reconcile") == "nothing to publish"
    assert harness("boot", "write", "-n").startswith("nothing to write")
    assert harness.releases("fsck", "--strict", "--no-dangling") == ""
    tags = harness.git("desktop", "tag", "--list", "lab3/*").split()
    names = [line.partition(":")[0] for line in harness.history("lab3")]
    assert len(set(names)) == len(names)
    assert set(tags) <= set(names)
    leftovers = [path.name for path in (harness.site / "site.git" / "gitstate").iterdir()]
    assert set(leftovers) <= {"lock", "wake"}


def begun(harness: Harness) -> str:
    """One release, with a layer, written for all; its commit."""
    (harness.layer("base") / "etc/issue.j2").write_text("{{ host }}\n")
    harness("checkin", "base", "-m", "issue")
    harness("push", "desktop", "lab3", "--yes")
    harness("boot", "write")
    return harness.head("desktop")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("verb", ["push", "reconcile", "rollback"])
def test_killed_at_a_step(boots: Harness, verb: str, step: str) -> None:
    old = begun(boots)
    new = boots.edit("desktop", "second", "srv/plain")
    words: tuple[str, ...] = ("push", "desktop", "lab3", "--yes")
    if verb == "reconcile":
        boots.git("desktop", "tag", "-a", "lab3/2", "-m", "x")
        words = ("reconcile",)
    elif verb == "rollback":
        boots("push", "desktop", "lab3", "--yes")
        old, new, words = new, old, ("rollback", "lab3")
    assert interrupted(boots, step, *words)[0]
    on_one_of(boots, old, new)
    moved = step in ("release", "boot", "directory")
    assert boots.runs("lab3")["desktop"] == (new if moved else old)
    settled(boots, new if moved or verb != "rollback" else old)


@pytest.mark.parametrize("step", ["archives", "release", "boot"])
@pytest.mark.parametrize("verb", ["push", "rollback"])
def test_the_same_command_finishes_what_was_killed(boots: Harness, verb: str, step: str) -> None:
    """It makes no second release, says what it did, and goes no further back."""
    old = begun(boots)
    new = boots.edit("desktop", "second", "srv/plain")
    words: tuple[str, ...] = ("push", "desktop", "lab3", "--yes")
    if verb == "rollback":
        boots("push", "desktop", "lab3", "--yes")
        old, new, words = new, old, ("rollback", "lab3")
    releases = len(boots.history("lab3"))
    assert interrupted(boots, step, *words)[0]
    is_released = step in ("release", "boot")
    rehearsed = boots.json(*words, "-n")
    assert (rehearsed["needed"], bool(rehearsed["finished"])) == (not is_released, is_released)
    assert state(boots)[2] == old
    said = boots.json(*words)
    assert state(boots) == (new, new, new)
    assert said["finished"] == rehearsed["finished"]
    assert (said["release"] is None) == is_released
    assert len(boots.history("lab3")) == releases + 1
    settled(boots, new)
    if verb == "push":
        assert boots.json(*words)["finished"] == []


def is_tagged(harness: Harness, commit: str) -> bool:
    """Whether a push came so far: before its tag nothing is asked for."""
    return bool(harness.git("desktop", "tag", "--list", "lab3/*", "--points-at", commit))


def some(total: int, most: int) -> list[int]:
    """At most ``most`` points, first and last among them."""
    return sorted({1 + (total - 1) * step // (most - 1) for step in range(most)})


@pytest.mark.parametrize("most", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_before_some_operations(boots: Harness, most: int) -> None:
    old = begun(boots)
    new = boots.edit("desktop", "0", "srv/plain")
    lived, total = interrupted(boots, "0", "push", "desktop", "lab3", "--yes")
    assert not lived
    assert total > 50
    old = new
    for point in some(total, most):
        new = boots.edit("desktop", str(point), "srv/plain")
        dead, _ = interrupted(boots, str(point), "push", "desktop", "lab3", "--yes")
        assert dead or point > total * 0.6  # another one may need fewer
        on_one_of(boots, old, new)
        if is_tagged(boots, new):
            old = new
        settled(boots, old)


@pytest.mark.parametrize("kills", [5, pytest.param(50, marks=pytest.mark.slow)])
def test_killed_at_random_points(boots: Harness, kills: int) -> None:
    """Whole process groups, so that git dies, too; a reader looks on all the time."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)
    old, longest, hits = begun(boots), 1.5, 0
    while hits < kills:
        new = boots.edit("desktop", str(chance.random()), "srv/plain")
        if hits % 2:
            boots.git("desktop", "tag", "-a", f"lab3/{len(boots.history('lab3')) + 1}", "-m", "x")
            words = ["reconcile"]
        else:
            words = ["push", "desktop", "lab3", "--yes"]
        argv = [sys.executable, "-m", "gitstate", "--site", str(boots.site), *words]
        process = subprocess.Popen(
            argv, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
        )
        deadline = time.monotonic() + chance.random() * longest
        while time.monotonic() < deadline and process.poll() is None:
            assert chained(boots) in (old, new)
            time.sleep(0.005)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            hits += 1
        else:
            longest *= 0.9
        process.communicate()
        wait_for_orphans(boots.site)
        on_one_of(boots, old, new)
        if is_tagged(boots, new):
            old = new
        settled(boots, old)


@pytest.mark.parametrize("verb", ["push", "rollback"])
def test_a_git_that_was_killed_between_branch_and_tag(boots: Harness, verb: str) -> None:
    """The branch is what counts."""
    first = begun(boots)
    new = boots.edit("desktop", "x", "srv/plain")
    boots("push", "desktop", "lab3", "--yes")
    if verb == "rollback":
        boots("rollback", "lab3")
        new = first
    tip = boots.history("lab3")[0].partition(":")[0]
    boots.releases("tag", "-d", tip)
    number = int(tip.partition("/")[2])
    assert (
        boots.json("push", "desktop", "lab3", "main~1" if verb == "push" else "main", "-n")["tag"]
        == f"lab3/{number + 1}"
    )
    settled(boots, new)
    assert boots.releases("rev-parse", f"refs/tags/{tip}") == boots.releases("rev-parse", "lab3")


LOCKS = (
    "site.git/refs/heads/lab3.lock",
    "site.git/refs/tags/lab3/2.lock",
    "site.git/packed-refs.lock",
    "directory.git/refs/heads/main.lock",
    "prototypes/desktop.git/refs/gitstate/released/lab3/2.lock",
    "prototypes/desktop.git/refs/tags/lab3/7.lock",
)


def test_locks_of_a_git_that_was_killed_are_in_nobodys_way(boots: Harness) -> None:
    begun(boots)
    new = boots.edit("desktop", "x", "srv/plain")
    boots.git("desktop", "tag", "-a", "lab3/2", "-m", "x")
    for name in LOCKS:
        (boots.site / name).touch()
    for name in ("site.git", "directory.git", "prototypes/desktop.git"):
        leave_record(boots.site / name)
    settled(boots, new)
    assert not any((boots.site / name).exists() for name in LOCKS)


def test_a_lock_of_a_git_that_lives_is_waited_for(boots: Harness) -> None:
    begun(boots)
    new = boots.edit("desktop", "x", "srv/plain")
    git = ["git", f"--git-dir={boots.site / 'site.git'}", "update-ref", "--stdin"]
    with subprocess.Popen(git, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin
        assert child.stdout
        child.stdin.write(f"start\nverify refs/heads/lab3 {boots.releases('rev-parse', 'lab3')}\nprepare\n".encode())
        child.stdin.flush()
        assert [child.stdout.readline() for _ in range(2)] == [b"start: ok\n", b"prepare: ok\n"]
        timer = threading.Timer(1, child.stdin.close)
        timer.start()
        boots("push", "desktop", "lab3", "--yes")
        timer.join()
    settled(boots, new)


def test_two_at_once(boots: Harness) -> None:
    """Reconciles that were woken together: one waits for the other, and each tag is released once."""
    begun(boots)
    for number in (2, 3):
        boots.edit("desktop", str(number), "srv/plain")
        boots.git("desktop", "tag", "-a", f"lab3/{number}", "-m", "x")
    argv = [sys.executable, "-m", "gitstate", "--site", str(boots.site), "reconcile"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = [subprocess.Popen(argv, env=environment(), **pipes) for _ in range(3)]
    said = [process.communicate() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert sum("lab3/2 = " in out for out, _ in said) == 1
    assert len(boots.history("lab3")) == 3
    settled(boots, boots.head("desktop"))


def test_the_script_of_a_channel_is_replaced_in_one_step(boots: Harness) -> None:
    begun(boots)
    before = (boots.site / SCRIPT).stat().st_ino
    with open(boots.site / SCRIPT) as old:
        boots.edit("desktop", "x", "srv/plain")
        boots("push", "desktop", "lab3", "--yes")
        assert (boots.site / SCRIPT).stat().st_ino != before
        assert "lab3/1" in old.read()
