"""kill -9 anywhere: the repository stays sound, no half export has a final name, the next run just works."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.damage.harness import (
    GITSTATE,
    PATIENCE,
    Ground,
    edit,
    environment,
    names_of_exports,
    plant,
    wait_for_orphans,
)
from tests.support import PROJECT, needs, root_only
from tests.testing import judges

pytestmark = [root_only, needs("rsync")]

LARGE = 33 << 20
"""Streamed into a pack of its own."""


CHECKIN = ("checkin", "p", "-m", "killed")
EXPORT = ("export", "p")


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
    assert ground.killed(step, *CHECKIN)
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
    assert ground.killed(step, *CHECKIN)
    recovers(ground)


def test_a_killed_checkin_keeps_its_objects_from_being_counted_on(ground: Ground) -> None:
    """What a killed check-in left in a pack is reachable from nowhere, and goes with a repack during the next one."""
    ground.check_in("before")
    plant(ground.live, 40)
    assert ground.killed("idx", *CHECKIN)
    repack = f"git --git-dir={shlex.quote(str(ground.repository))} repack -a -d -q"
    ground.doomed("pack", repack, "checkin", "p", "-m", "again").well()
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
    assert ground.killed(step, *EXPORT)
    assert names_of_exports(ground.exports) - others == ({ground.head} if step == "renamed" else set())
    if step == "renamed":
        assert judges.rsync(ground.live, ground.exports / ground.head) == []
    recovers(ground)


# --- every operation ------------------------------------------------------------------------------------------------


def every_operation(ground: Ground, words: tuple[str, ...], most: int) -> None:
    """Kill a command before each of its operations on files, or ``most`` of them, evenly spread."""
    total = ground.operations(*words)
    assert total > 20
    for point in some(total, most):
        edit(ground.live, point, 5)
        if words == EXPORT:
            ground.check_in(f"before {point}")
        if ground.killed(str(point), *words):
            ground.sound()
            assert_whole_or_absent(ground)
        else:  # another edit may need fewer operations
            assert point > total * 0.6, (point, total)
        ground.check_in(f"after {point}")
        ground.faithful()
        ground.tidy()


def assert_whole_or_absent(ground: Ground) -> None:
    """The newest snapshot's export, if it has its final name, is whole."""
    target = ground.exports / ground.head
    if target.exists():
        assert ground("verify", "p", "HEAD").well()


@pytest.mark.parametrize("words", [CHECKIN, EXPORT])
def test_killed_before_some_operations(ground: Ground, words: tuple[str, ...]) -> None:
    plant(ground.live, 30)
    ground.check_in()
    edit(ground.live, 0, 5)
    every_operation(ground, words, 10)


@pytest.mark.slow
@pytest.mark.parametrize("words", [CHECKIN, EXPORT])
def test_killed_before_many_operations(ground: Ground, words: tuple[str, ...]) -> None:
    plant(ground.live, 30)
    ground.check_in()
    edit(ground.live, 0, 5)
    every_operation(ground, words, 100)


# --- random points --------------------------------------------------------------------------------------------------


@contextmanager
def running(ground: Ground, words: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process of its own."""
    line = [*GITSTATE, "--site", str(ground.site), *words]
    silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, env=environment(), **silent) as process:
        try:
            yield process
        finally:
            process.kill()
    wait_for_orphans(ground.site)


def interrupted(ground: Ground, words: tuple[str, ...], delay: float, how: signal.Signals) -> bool:
    """Run a command, send it a signal after some seconds; whether it was running still."""
    with running(ground, words) as process:
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(how)
        code = process.wait(PATIENCE)
        said = process.stderr.read().decode() if process.stderr else ""
    if how is signal.SIGINT and "KeyboardInterrupt" in said and f"{PROJECT / 'gitstate'}/" not in said:
        code = -how  # before any line of ours ran: so Python itself ends
    assert code in ((0, -how) if how is signal.SIGKILL else (0, 130, -how)), said
    return code != 0


def random_kills(ground: Ground, count: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Interrupt check-ins and exports after random delays, until so many of them were running still.

    The longest delay follows the machine's speed: a command that ended before its signal makes it shorter.
    """
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)
    plant(ground.live, 1000, seed)
    ground.check_in()
    longest = dict.fromkeys((CHECKIN, EXPORT), 0.6)
    hits = 0
    while hits < count:
        words = EXPORT if hits % 2 else CHECKIN
        edit(ground.live, chance.getrandbits(32), 300)
        if words == EXPORT:
            ground.check_in(f"before {hits}")
        if hits % 4 == 1:
            subprocess.run(["rm", "-rf", ground.exports], check=True)
        if interrupted(ground, words, longest[words] * chance.random(), how):
            hits += 1
        else:
            longest[words] *= 0.9
        if how is not signal.SIGKILL:
            ground.tidy()
        ground.sound()
        assert_whole_or_absent(ground)
        ground.check_in(f"after {hits}")
        ground.faithful()
        ground.tidy()


def test_killed_at_random_points(ground: Ground) -> None:
    random_kills(ground, 10)


@pytest.mark.slow
@pytest.mark.parametrize("series", range(10))
def test_killed_at_many_random_points(ground: Ground, series: int) -> None:
    """Two hundred in all, ten histories, as every check reads all of a history."""
    random_kills(ground, 20)


def test_interrupted_at_random_points(ground: Ground) -> None:
    """Control-C: code 130, and nothing left even before the next run."""
    random_kills(ground, 3, signal.SIGINT)


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


def some(total: int, most: int) -> list[int]:
    """From 1 to ``total`` in even steps, not more than ``most``."""
    return sorted({1 + number * (total - 1) // (most - 1) for number in range(most)})


@pytest.mark.parametrize("most", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_creations_of_a_prototype_are_killed(ground: Ground, most: int) -> None:
    """Half a prototype is none; the next run makes it, or says what stands in the way and what to do."""
    source = ground.path / "source"
    plant(source, 20)
    create = ("prototype", "create", "q", "--from", str(source))
    total = ground.operations(*create)
    live = ground.site / "live" / "q"
    for point in some(total, most):
        ground("prototype", "remove", "q", "--yes").well()
        assert ground.killed(str(point), *create) or point > total * 0.8
        ground("fsck").well()
        said = ground(*create)
        if said.code and live.exists() and not (ground.site / "prototypes" / "q.git").exists():
            assert f"--live {live}" in said.told(2).err
            ground("prototype", "create", "q", "--live", str(live)).well()
        elif said.code:
            said.told(2)
        assert judges.rsync(source, live) == []
        ground("checkin", "q", "-m", "m").well()
        ground.tidy()


@pytest.mark.parametrize("most", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_removals_of_a_prototype_are_killed(ground: Ground, most: int) -> None:
    """The next removal finishes it, and the name is free."""
    source = ground.path / "source"
    plant(source, 20)
    remove, total = ("prototype", "remove", "q", "--yes"), 0
    for point in [0, *range(most)]:
        ground("prototype", "create", "q", "--from", str(source)).well()
        ground.tidy()
        ground("checkin", "q", "-m", "m").well()
        ground("export", "q").well()
        if not total:
            total = ground.operations(*remove)
            continue
        assert ground.killed(str(1 + point * (total - 1) // most), *remove)
        ground("fsck").well()
        said = ground(*remove)
        if said.code:
            said.told(10)
        assert not (ground.site / "live" / "q").exists()
        assert not (ground.site / "exports" / "q").exists()


def test_a_killed_creation_of_a_prototype(ground: Ground) -> None:
    """Half a prototype is none, and its name is free."""
    (ground.site / "live" / ".q.partial").mkdir()
    (ground.site / "live" / ".q.partial" / "file").touch()
    (ground.site / "prototypes" / ".q.partial").mkdir()
    assert [one["repository"] for one in ground("prototype", "list", json=True).json["prototypes"]] == ["p"]
    ground("fsck").well()
    ground("prototype", "create", "q").well()
    assert ground("prototype", "show", "q", json=True).json["commit"] is None
    ground.tidy()
