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
    Harness,
    edit,
    environment,
    names_of_exports,
    plant,
    wait_for_orphans,
)
from tests.support import PROJECT, needs, root_only
from tests.testing import judges
from tests.testing.killed import leave_record

pytestmark = [root_only, needs("rsync")]

LARGE = 33 << 20
"""Streamed into a pack of its own."""


CHECKIN = ("checkin", "p", "-m", "killed")
EXPORT = ("export", "p")


def recovers(harness: Harness) -> None:
    """After a kill: sound as it stands; the next check-in and export do their work and clear up."""
    harness.sound()
    harness.check_in("after the kill")
    harness.faithful()
    harness.tidy()
    harness.sound()
    harness("status", "p", "--exit-code").well()


# --- named steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("step", ["pack", "idx", "ref", "cache"])
def test_a_checkin_killed_at_a_step(harness: Harness, step: str, first: bool) -> None:
    plant(harness.live, 60)
    before = None
    if not first:
        harness.check_in("before")
        before = harness.head
        edit(harness.live, 1, 20)
    assert harness.killed(step, *CHECKIN)
    recorded = step in ("ref", "cache")
    heads = harness.git("for-each-ref", "--format=%(objectname)", "refs/heads/main", "refs/gitstate/live").split()
    assert len(heads) in (0, 2)
    assert len(set(heads)) == bool(heads)
    assert (heads[:1] != [before] and bool(heads)) == recorded
    again = harness("checkin", "p", "-m", "again", "--dry-run", json=True).well().json
    assert (again["changes"] == []) == (recorded or first)
    result = harness.check_in("again")
    assert (result["commit"] is None) == recorded
    recovers(harness)


@pytest.mark.parametrize("step", ["pack:1", "idx:1", "pack:2", "idx:2"])
def test_a_checkin_of_a_large_file_killed_between_its_packs(harness: Harness, step: str) -> None:
    harness.check_in("before")
    plant(harness.live, 10, large=LARGE)
    assert harness.killed(step, *CHECKIN)
    recovers(harness)


def test_a_killed_checkin_keeps_its_objects_from_being_counted_on(harness: Harness) -> None:
    """What a killed check-in left in a pack is reachable from nowhere, and goes with a repack during the next one."""
    harness.check_in("before")
    plant(harness.live, 40)
    assert harness.killed("idx", *CHECKIN)
    repack = f"git --git-dir={shlex.quote(str(harness.repository))} repack -a -d -q"
    harness.interrupted("pack", repack, "checkin", "p", "-m", "again").well()
    harness.sound()
    harness.faithful()


@pytest.mark.parametrize("step", ["written", "renamed"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "linked"])
def test_an_export_killed_at_a_step(harness: Harness, step: str, first: bool) -> None:
    plant(harness.live, 60)
    harness.check_in()
    if not first:
        harness.export()
        edit(harness.live, 1, 20)
        harness.check_in("more")
    others = names_of_exports(harness.exports)
    assert harness.killed(step, *EXPORT)
    assert names_of_exports(harness.exports) - others == ({harness.head} if step == "renamed" else set())
    if step == "renamed":
        assert judges.rsync(harness.live, harness.exports / harness.head) == []
    recovers(harness)


# --- every operation ------------------------------------------------------------------------------------------------


def every_operation(harness: Harness, words: tuple[str, ...], most: int) -> None:
    """Kill a command before each of its operations on files, or ``most`` of them, evenly spread."""
    total = harness.operations(*words)
    assert total > 20
    for point in some(total, most):
        edit(harness.live, point, 5)
        if words == EXPORT:
            harness.check_in(f"before {point}")
        if harness.killed(str(point), *words):
            harness.sound()
            assert_whole_or_absent(harness)
        else:  # another edit may need fewer operations
            assert point > total * 0.6, (point, total)
        harness.check_in(f"after {point}")
        harness.faithful()
        harness.tidy()


def assert_whole_or_absent(harness: Harness) -> None:
    """The newest snapshot's export, if it has its final name, is whole."""
    target = harness.exports / harness.head
    if target.exists():
        assert harness("verify", "p", "HEAD").well()


@pytest.mark.parametrize("words", [CHECKIN, EXPORT])
def test_killed_before_some_operations(harness: Harness, words: tuple[str, ...]) -> None:
    plant(harness.live, 30)
    harness.check_in()
    edit(harness.live, 0, 5)
    every_operation(harness, words, 10)


@pytest.mark.slow
@pytest.mark.parametrize("words", [CHECKIN, EXPORT])
def test_killed_before_many_operations(harness: Harness, words: tuple[str, ...]) -> None:
    plant(harness.live, 30)
    harness.check_in()
    edit(harness.live, 0, 5)
    every_operation(harness, words, 100)


def test_ctrl_c_before_any_operation_leaves_nothing_half_done(bare: Harness) -> None:
    """Most of all where a place is made for the tree, and where tree and repository get their names."""
    bare("init").well()
    source = bare.path / "source"
    source.mkdir()
    words = ("prototype", "create", "p", "--from", str(source))
    total = bare.operations(*words)
    bare("prototype", "remove", "p", "--yes").well()
    interrupted = 0
    for point in sorted({*range(1, 12), *some(total, 5), *range(total - 12, total + 1)}):
        said = bare.interrupted(str(point), "kill -INT $PPID", *words)
        if bare.repository.exists():
            bare("gc").well()  # it was all there, and cleaning up was interrupted
        left = [{path.name for path in (bare.site / name).iterdir()} for name in ("live", "prototypes")]
        assert left == ([{"p"}, {"p.git"}] if bare.repository.exists() else [set(), set()]), (point, said)
        interrupted += said.code == 130
        if bare.repository.exists():
            bare("prototype", "remove", "p", "--yes").well()
    assert interrupted > 20


# --- random points --------------------------------------------------------------------------------------------------


@contextmanager
def running(harness: Harness, words: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process of its own."""
    line = [*GITSTATE, "--site", str(harness.site), *words]
    silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(line, env=environment(), start_new_session=True, **silent) as process:
        try:
            yield process
        finally:
            process.kill()
    wait_for_orphans(harness.site)


def interrupted(harness: Harness, words: tuple[str, ...], delay: float, how: signal.Signals) -> bool:
    """Run a command, after some seconds send it a signal, or kill it and its children; whether it ran still."""
    with running(harness, words) as process:
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            if how is signal.SIGKILL:
                os.killpg(process.pid, how)  # with its git, as a cgroup's end or a power cut does
            else:
                process.send_signal(how)
        code = process.wait(PATIENCE)
        said = process.stderr.read().decode() if process.stderr else ""
    if how is signal.SIGINT and "KeyboardInterrupt" in said and f"{PROJECT / 'gitstate'}/" not in said:
        code = -how  # before any line of ours ran: so Python itself ends
    assert code in ((0, -how) if how is signal.SIGKILL else (0, 130, -how)), said
    return code != 0


def random_kills(harness: Harness, count: int, how: signal.Signals = signal.SIGKILL) -> None:
    """Interrupt check-ins and exports after random delays, until so many of them were running still.

    The longest delay follows the machine's speed: a command that ended before its signal makes it shorter.
    """
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance = random.Random(seed)
    plant(harness.live, 1000, seed)
    harness.check_in()
    longest = dict.fromkeys((CHECKIN, EXPORT), 0.6)
    hits = 0
    while hits < count:
        words = EXPORT if hits % 2 else CHECKIN
        edit(harness.live, chance.getrandbits(32), 300)
        if words == EXPORT:
            harness.check_in(f"before {hits}")
        if hits % 4 == 1:
            subprocess.run(["rm", "-rf", harness.exports], check=True)
        if interrupted(harness, words, longest[words] * chance.random(), how):
            hits += 1
        else:
            longest[words] *= 0.9
        if how is not signal.SIGKILL:
            harness.tidy()
        harness.sound()
        assert_whole_or_absent(harness)
        harness.check_in(f"after {hits}")
        harness.faithful()
        harness.tidy()


def test_killed_at_random_points(harness: Harness) -> None:
    random_kills(harness, 10)


@pytest.mark.slow
@pytest.mark.parametrize("series", range(10))
def test_killed_at_many_random_points(harness: Harness, series: int) -> None:
    """Two hundred in all, ten histories, as every check reads all of a history."""
    random_kills(harness, 20)


def test_interrupted_at_random_points(harness: Harness) -> None:
    """Control-C: code 130, and nothing left even before the next run."""
    random_kills(harness, 3, signal.SIGINT)


# --- what the dead leave --------------------------------------------------------------------------------------------


def test_a_git_killed_while_it_moved_a_ref(harness: Harness) -> None:
    """Where a gitstate was killed, git's own lock may stand: it is removed, and named."""
    harness.check_in()
    (harness.live / "new").write_text("new")
    lock = harness.repository / "refs" / "heads" / "main.lock"
    lock.touch()
    leave_record(harness.repository)
    said = harness("checkin", "p", "-m", "m")
    assert said.code == 0
    assert "main.lock" in said.err
    assert not lock.exists()
    recovers(harness)


def some(total: int, most: int) -> list[int]:
    """From 1 to ``total`` in even steps, not more than ``most``."""
    return sorted({1 + number * (total - 1) // (most - 1) for number in range(most)})


@pytest.mark.parametrize("most", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_creations_of_a_prototype_are_killed(harness: Harness, most: int) -> None:
    """Half a prototype is none; the next run makes it."""
    source = harness.path / "source"
    plant(source, 20)
    create = ("prototype", "create", "q", "--from", str(source))
    total = harness.operations(*create)
    live = harness.site / "live" / "q"
    for point in some(total, most):
        harness("prototype", "remove", "q", "--yes").well()
        assert harness.killed(str(point), *create) or point > total * 0.8
        harness("fsck").well()
        said = harness(*create)
        if said.code:  # all was done but for tidying up
            said.told(2)
            harness("gc").well()
        assert judges.rsync(source, live) == []
        harness("checkin", "q", "-m", "m").well()
        harness.tidy()


@pytest.mark.parametrize("most", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_removals_of_a_prototype_are_killed(harness: Harness, most: int) -> None:
    """The next removal finishes it, and the name is free."""
    source = harness.path / "source"
    plant(source, 20)
    remove, total = ("prototype", "remove", "q", "--yes"), 0
    for point in [0, *range(most)]:
        harness("prototype", "create", "q", "--from", str(source)).well()
        harness.tidy()
        harness("checkin", "q", "-m", "m").well()
        harness("export", "q").well()
        if not total:
            total = harness.operations(*remove)
            continue
        assert harness.killed(str(1 + point * (total - 1) // most), *remove)
        harness("fsck").well()
        said = harness(*remove)
        if said.code:
            said.told(10)
        assert not (harness.site / "live" / "q").exists()
        assert not (harness.site / "exports" / "q").exists()


def test_a_killed_creation_of_a_prototype(harness: Harness) -> None:
    """Half a prototype is none, and its name is free."""
    (harness.site / "live" / ".q.partial").mkdir()
    (harness.site / "live" / ".q.partial" / "file").touch()
    (harness.site / "prototypes" / ".q.partial").mkdir()
    assert [one["repository"] for one in harness("prototype", "list", json=True).json["prototypes"]] == ["p"]
    harness("fsck").well()
    harness("prototype", "create", "q").well()
    assert harness("prototype", "show", "q", json=True).json["commit"] is None
    harness.tidy()
