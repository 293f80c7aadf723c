"""kill -9 anywhere: the repository stays sound, no half export has a final name, the next run just works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.damage.ground import ENVIRONMENT, GITSTATE, PATIENCE, Ground, edit, names_of_exports, plant
from tests.equipment import judges
from tests.support import needs, root_only

pytestmark = [root_only, needs("rsync")]

LARGE = 33 << 20
"""Streamed into a pack of its own."""


def run_victim(ground: Ground, command: str, doom: str) -> subprocess.CompletedProcess[str]:
    """A child that dies at ``doom``, and its orphans waited for."""
    line = [sys.executable, "-m", "tests.damage.victim", command, str(ground.site), doom]
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE, check=False)
    wait_for_orphans(ground)
    return done


def kill_at(ground: Ground, command: str, step: str) -> None:
    """Let a child die at ``step``; it must have come there."""
    done = run_victim(ground, command, step)
    assert done.returncode == -signal.SIGKILL, done
    assert done.stdout.splitlines() == [step.partition(":")[0]]


def wait_for_orphans(ground: Ground) -> None:
    """A git that outlives its killed parent ends by itself."""
    deadline = time.monotonic() + PATIENCE
    while any(os.fsencode(ground.site) in line for line in command_lines()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def command_lines() -> Iterator[bytes]:
    """Those of all processes but ours."""
    for process in Path("/proc").glob("[0-9]*"):
        if process.name != str(os.getpid()):
            try:
                yield (process / "cmdline").read_bytes()
            except OSError:
                continue


def recovers(ground: Ground) -> None:
    """After a kill: sound as it stands; the next check-in and export do their work and clear up."""
    ground.sound()
    ground.check_in("after the kill")
    ground.faithful()
    ground.tidy()
    ground.sound()
    ground("status", "p", "--exit-code").well()


# --- named steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("step", ["pack", "idx", "ref", "cache"])
def test_a_checkin_killed_at_a_step(ground: Ground, step: str, first: bool) -> None:
    plant(ground.live, 60)
    before = None
    if not first:
        ground.check_in("before")
        before = ground.head
        edit(ground.live, 1, 20)
    kill_at(ground, "checkin", step)
    recorded = step in ("ref", "cache")
    heads = ground.git("for-each-ref", "--format=%(objectname)", "refs/heads/main", "refs/gitstate/live").split()
    assert len(heads) in (0, 2)
    assert len(set(heads)) == bool(heads)
    assert (heads[:1] != [before] and bool(heads)) == recorded
    again = ground("checkin", "p", "-m", "again", "--dry-run", json=True).well().json
    assert (again["changes"] == []) == (recorded or first)
    result = ground.check_in("again")
    assert (result["commit"] is None) == recorded
    recovers(ground)


@pytest.mark.parametrize("step", ["pack:1", "idx:1", "pack:2", "idx:2"])
def test_a_checkin_of_a_large_file_killed_between_its_packs(ground: Ground, step: str) -> None:
    ground.check_in("before")
    plant(ground.live, 10, large=LARGE)
    kill_at(ground, "checkin", step)
    recovers(ground)


def test_a_killed_checkin_keeps_its_objects_from_being_counted_on(ground: Ground) -> None:
    """What a killed check-in left in a pack is reachable from nowhere: the next must write it again."""
    ground.check_in("before")
    plant(ground.live, 40)
    kill_at(ground, "checkin", "idx")
    ground.check_in("again")
    ground.git("repack", "-a", "-d", "-q")
    ground.git("prune", "--expire=now")
    ground.sound()
    ground.faithful()


@pytest.mark.parametrize("step", ["written", "renamed"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "linked"])
def test_an_export_killed_at_a_step(ground: Ground, step: str, first: bool) -> None:
    plant(ground.live, 60)
    ground.check_in()
    if not first:
        ground.export()
        edit(ground.live, 1, 20)
        ground.check_in("more")
    others = names_of_exports(ground.exports)
    kill_at(ground, "export", step)
    assert names_of_exports(ground.exports) - others == ({ground.head} if step == "renamed" else set())
    if step == "renamed":
        assert judges.rsync(ground.live, ground.exports / ground.head) == []
    recovers(ground)


# --- every operation ------------------------------------------------------------------------------------------------


def every_operation(ground: Ground, command: str, most: int) -> None:
    """Kill a command before each of its operations on files, or ``most`` of them, evenly spread."""
    total = int(run_victim(ground, command, "none").stdout)
    assert total > 20
    points = range(1, total + 1) if total <= most else sorted({1 + n * (total - 1) // (most - 1) for n in range(most)})
    for point in points:
        edit(ground.live, point, 5)
        if command == "export":
            ground.check_in(f"before {point}")
        done = run_victim(ground, command, str(point))
        if done.returncode == 0:  # threads: another run may have fewer operations
            assert point > total * 0.8, (point, total)
            continue
        assert done.returncode == -signal.SIGKILL, done
        ground.sound()
        assert_whole_or_absent(ground)
        ground.check_in(f"after {point}")
        ground.faithful()
        ground.tidy()


def assert_whole_or_absent(ground: Ground) -> None:
    """The newest snapshot's export, if it has its final name, is whole."""
    target = ground.exports / ground.head
    if target.exists():
        assert ground("verify", "p", "HEAD").well()


@pytest.mark.parametrize(("command", "most"), [("checkin", 10), ("export", 10)])
def test_killed_before_some_operations(ground: Ground, command: str, most: int) -> None:
    plant(ground.live, 30)
    ground.check_in()
    edit(ground.live, 0, 5)
    every_operation(ground, command, most)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["checkin", "export"])
def test_killed_before_every_operation(ground: Ground, command: str) -> None:
    plant(ground.live, 30)
    ground.check_in()
    edit(ground.live, 0, 5)
    every_operation(ground, command, 400)


# --- random points --------------------------------------------------------------------------------------------------


@contextmanager
def running(ground: Ground, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process of its own."""
    line = [*GITSTATE, "--site", str(ground.site), *words]
    with subprocess.Popen(line, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()
    wait_for_orphans(ground)


def random_kills(ground: Ground, count: int, how: signal.Signals = signal.SIGKILL) -> int:
    """Interrupt check-ins and exports after random delays; how many of them were running still."""
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)
    plant(ground.live, 2500, seed)
    ground.check_in()
    hits = 0
    for number in range(count):
        edit(ground.live, chance.getrandbits(32), 800)
        if number % 4 == 0:
            subprocess.run(["rm", "-rf", ground.exports], check=True)
            (ground.repository / "gitstate" / "cache").unlink(missing_ok=True)
        commands = (("checkin", "p", "-m", f"{number}"),) if number % 2 else (("export", "p"),)
        if number % 2 == 0:
            ground.check_in(f"{number}")
        for words in commands:
            with running(ground, *words) as process:
                try:
                    process.wait(0.12 + chance.random() * 0.4)
                except subprocess.TimeoutExpired:
                    process.send_signal(how)
                    hits += 1
                code = process.wait(PATIENCE)
                said = process.stderr.read().decode() if process.stderr else ""
            assert code in ((0, -how) if how is signal.SIGKILL else (0, 130)), said
            if how is not signal.SIGKILL:
                ground.tidy()
        ground.sound()
        assert_whole_or_absent(ground)
        ground.check_in(f"after {number}")
        ground.faithful()
        ground.tidy()
    return hits


def test_killed_at_random_points(ground: Ground) -> None:
    assert random_kills(ground, 10) >= 4


@pytest.mark.slow
def test_killed_at_many_random_points(ground: Ground) -> None:
    assert random_kills(ground, 200) >= 80


def test_interrupted_at_random_points(ground: Ground) -> None:
    """Control-C: code 130, and nothing left even before the next run."""
    assert random_kills(ground, 4, signal.SIGINT) >= 1


# --- what the dead leave --------------------------------------------------------------------------------------------


def test_a_git_killed_while_it_moved_a_ref(ground: Ground) -> None:
    """After a power cut git's own lock may stand; the message must say which file is in the way."""
    ground.check_in()
    (ground.live / "new").write_text("new")
    lock = ground.repository / "refs" / "heads" / "main.lock"
    lock.touch()
    said = ground("checkin", "p", "-m", "m").told(11)
    assert "main.lock" in said.err
    lock.unlink()
    recovers(ground)


def test_a_killed_creation_of_a_prototype(ground: Ground) -> None:
    """Half a prototype is none, and its name is free."""
    (ground.site / "live" / ".q.partial").mkdir()
    (ground.site / "live" / ".q.partial" / "file").touch()
    (ground.site / "prototypes" / ".q.partial").mkdir()
    assert [one["name"] for one in ground("prototype", "list", json=True).json["prototypes"]] == ["p"]
    ground("fsck").well()
    ground("prototype", "create", "q").well()
    assert ground("prototype", "show", "q", json=True).json["commit"] is None
    ground.tidy()
