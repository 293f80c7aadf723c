"""Two at once, and others moving refs and packs meanwhile: one waits or says who is in the way, and nothing is lost."""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.damage.harness import GITSTATE, PATIENCE, Ground, Said, edit, environment, git, plant
from tests.support import needs, root_only
from tests.testing import judges

pytestmark = [root_only, needs("rsync")]


def together(ground: Ground, *lines: tuple[str, ...]) -> list[Said]:
    """Commands in processes of their own, started at once."""
    started = [
        subprocess.Popen(
            [*GITSTATE, "--site", str(ground.site), *words],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        for words in lines
    ]
    said = [process.communicate(timeout=PATIENCE) for process in started]
    return [Said(process.returncode, out, err) for process, (out, err) in zip(started, said, strict=True)]


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[list[int]]:
    """Do ``work`` over and over beside the block; how often is known after it."""
    done, faults = [0], []
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            try:
                work()
            except BaseException as error:
                faults.append(error)
                return
            done[0] += 1

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()
    assert not faults, faults


def inside(ground: Ground, *words: str) -> tuple[str, Path]:
    """A shell command that runs gitstate within another's step, and the file that has its exit code and words."""
    said = ground.path / "inside"
    line = shlex.join([*GITSTATE, "--site", str(ground.site), *words])
    return f"{line} >{said} 2>&1; echo code $? parent $PPID >>{said}", said


def commit_beside(ground: Ground, message: str = "beside") -> str:
    """A commit on top of main that somebody else made with plain git; no ref names it yet."""
    identity = ["-c", "user.name=Else", "-c", "user.email=else@example.org"]
    return ground.git(*identity, "commit-tree", "-p", "main", "-m", message, "main^{tree}")


# --- the lock -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [("checkin", "p", "-m", "second"), ("gc", "p"), ("prototype", "remove", "p", "--yes")],
    ids=["checkin", "gc", "remove"],
)
def test_a_writer_beside_a_checkin_says_who_is_in_the_way(ground: Ground, words: tuple[str, ...]) -> None:
    plant(ground.live, 20)
    command, file = inside(ground, *words)
    ground.doomed("pack", command, "checkin", "p", "-m", "first").well()
    said = file.read_text()
    code, parent = re.findall(r"code (\d+) parent (\d+)", said)[0]
    assert code == "11", said
    assert f"locked by checkin (pid {parent})" in said
    assert ground("status", "p", "--exit-code").well()
    ground.sound()
    ground.tidy()


def test_two_checkins_at_once(ground: Ground) -> None:
    plant(ground.live, 400)
    for number in range(5):
        edit(ground.live, number, 100)
        said = together(ground, *[("checkin", "p", "-m", f"{number} of {who}") for who in "ab"])
        assert 0 in [one.code for one in said], said
        for one in said:
            if one.code:
                assert re.search(r"locked by checkin \(pid \d+\)", one.told(11).err)
        ground("status", "p", "--exit-code").well()
    ground.sound()
    ground.tidy()
    ground.faithful()


def test_readers_beside_a_checkin(ground: Ground) -> None:
    """``diff`` writes objects of its own; a check-in must not take them for a dead one's."""
    plant(ground.live, 300)
    ground.check_in()
    with meanwhile(lambda: _read(ground)) as read:
        for number in range(8):
            edit(ground.live, number, 60)
            together(ground, ("checkin", "p", "-m", f"{number}"))[0].well()
    assert read[0] >= 1
    ground.tidy()


def _read(ground: Ground) -> None:
    for said in together(ground, ("diff", "p"), ("status", "p"), ("log", "p")):
        said.well()


def test_a_diff_killed_leaves_nothing_for_long(ground: Ground) -> None:
    ground.check_in()
    (ground.live / "etc" / "fstab").write_text("# changed\n")
    for name in ("scratch-dead", "staging-1"):
        (ground.repository / "gitstate" / name).mkdir()
    ground.check_in()
    left = {path.name for path in (ground.repository / "gitstate").iterdir()} - {"staging-1"}
    assert left == {"lock", "cache"}


# --- exports --------------------------------------------------------------------------------------------------------


def test_two_exports_of_one_snapshot_at_once(ground: Ground) -> None:
    plant(ground.live, 600)
    for number in range(3):
        edit(ground.live, number, 100)
        ground.check_in()
        said = together(ground, ("export", "p"), ("export", "p"))
        assert [one.well().out for one in said] == [f"{ground.exports / ground.head}\n"] * 2
        ground.tidy()
        ground.faithful()


def test_two_exports_of_two_snapshots_at_once(ground: Ground) -> None:
    plant(ground.live, 600)
    ground.check_in()
    edit(ground.live, 1, 100)
    ground.check_in()
    said = together(ground, ("export", "p", "HEAD~1"), ("export", "p", "HEAD"))
    assert [one.well().code for one in said] == [0, 0]
    ground.tidy()
    for revision in ("HEAD", "HEAD~1"):
        ground("verify", "p", revision).well()


# --- plain git beside us --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [("repack", "-a", "-d", "-q"), ("-c", "gc.pruneExpire=now", "gc", "--prune=now", "--quiet")],
    ids=["repack", "gc"],
)
def test_twenty_checkins_beside_plain_gits_repacking(ground: Ground, words: tuple[str, ...]) -> None:
    """A pack that no ref reaches yet has its .keep; what is staged stands where no prune looks."""
    plant(ground.live, 200)
    ground.check_in()
    commits = [ground.head]
    with meanwhile(lambda: _collect(ground, words)) as repacked:
        for number in range(20):
            edit(ground.live, number, 20)
            said = ground("checkin", "p", "-m", f"{number}")
            if said.code == 11:  # git held a ref's lock for an instant
                said = ground("checkin", "p", "-m", f"{number}")
            said.well()
            commits.append(ground.head)
    assert repacked[0] >= 2
    assert ground.git("rev-list", "main").split() == commits[::-1]
    ground.sound()
    ground.faithful()
    ground.tidy()


def _collect(ground: Ground, words: tuple[str, ...]) -> None:
    subprocess.run(["git", f"--git-dir={ground.repository}", *words], check=True, capture_output=True)


@pytest.mark.parametrize("words", ["repack -a -d -q", "gc --prune=now --quiet"])
@pytest.mark.parametrize("step", ["pack", "idx"])
def test_a_repack_between_two_steps(ground: Ground, step: str, words: str) -> None:
    """The same, at the worst moments."""
    plant(ground.live, 30)
    ground.check_in()
    edit(ground.live, 1, 20)
    command = f"git --git-dir={shlex.quote(str(ground.repository))} -c gc.pruneExpire=now {words}"
    ground.doomed(step, command, "checkin", "p", "-m", "m").well()
    ground.sound()
    ground.faithful()
    ground.tidy()


def test_exports_beside_repacking(ground: Ground) -> None:
    """A reader keeps the packs that it has open, and finds the new ones."""
    plant(ground.live, 300)
    for number in range(4):
        edit(ground.live, number, 60)
        ground.check_in()
    with meanwhile(lambda: _collect(ground, ("repack", "-a", "-d", "-F", "-q"))) as repacked:
        for number in range(4):
            together(ground, ("export", "p", f"HEAD~{number}", "--to", str(ground.path / f"e{number}")))[0].well()
    assert repacked[0] >= 2
    assert judges.rsync(ground.live, ground.path / "e0") == []


# --- moved refs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["pack", "idx"])
def test_main_is_moved_during_a_checkin(ground: Ground, step: str) -> None:
    ground.check_in()
    beside = commit_beside(ground)
    (ground.live / "new").write_text("new")
    move = f"git --git-dir={shlex.quote(str(ground.repository))} update-ref refs/heads/main {beside}"
    ground.doomed(step, move, "checkin", "p", "-m", "m").told(11)
    assert ground.head == beside
    ground.tidy()
    ground.sound()
    said = ground("checkin", "p", "-m", "m").told(12)
    assert "--branch" in said.err
    assert "--replace" in said.err
    ground.check_in("over it", "--replace")
    assert ground.git("rev-parse", "main^") == beside
    ground.faithful()


@pytest.mark.parametrize("part", [0.3, 0.5])
def test_main_is_moved_during_a_scan(ground: Ground, part: float) -> None:
    """What is compared when the ref is moved is the tip that was looked at first, not a later one."""
    plant(ground.live, 60)
    total = ground.operations("checkin", "p", "-m", "first")
    beside = commit_beside(ground)
    edit(ground.live, 1, 60)
    move = f"git --git-dir={shlex.quote(str(ground.repository))} update-ref refs/heads/main {beside}"
    said = ground.doomed(str(int(total * part)), move, "checkin", "p", "-m", "m")
    assert ground.head == beside
    said.told(11)
    ground.tidy()
    ground.sound()


def test_main_was_moved_by_a_push(ground: Ground) -> None:
    ground.check_in()
    first = ground.head
    pushed = push_an_edit(ground)
    (ground.live / "etc" / "fstab").write_text("# mine\n")
    said = ground("checkin", "p", "-m", "mine").told(12)
    assert pushed[:7] in said.err
    assert first[:7] in said.err
    assert ground.head == pushed

    ground.check_in("mine", "--branch", "side")
    assert ground.head == pushed
    assert ground.git("rev-parse", "side^") == first
    assert ground.git("show", "side:etc/fstab") == "# mine"
    ground("checkin", "p", "-m", "mine still").told(12)

    ground.check_in("mine after all", "--replace")
    assert ground.git("rev-parse", "main^") == pushed
    assert ground.git("show", "main:etc/fstab") == "# mine"
    assert ground.check_in("nothing")["commit"] is None
    ground.sound()
    ground.faithful()


def push_an_edit(ground: Ground) -> str:
    """Somebody clones, edits, commits and pushes by plain git; the commit."""
    clone = ground.path / "clone"
    ground("clone", "p", clone).well()
    (clone / "etc" / "fstab").write_text("# theirs\n")
    here = ["-C", str(clone), "-c", "user.name=Else", "-c", "user.email=else@example.org"]
    for words in (["commit", "-qam", "theirs"], ["push", "-q", "origin", "main"]):
        subprocess.run(["git", *here, *words], check=True, capture_output=True)
    return git(clone / ".git", "rev-parse", "HEAD")


def test_a_branch_is_moved_during_a_checkin_to_it(ground: Ground) -> None:
    ground.check_in()
    ground.check_in("side", "--branch", "side")
    beside = commit_beside(ground)
    (ground.live / "new").write_text("new")
    move = f"git --git-dir={shlex.quote(str(ground.repository))} update-ref refs/heads/side {beside}"
    ground.doomed("idx", move, "checkin", "p", "-m", "m", "--branch", "side").told(11)
    assert ground.git("rev-parse", "side") == beside
    ground.sound()
    ground.check_in("again", "--branch", "side")
    assert ground.git("rev-parse", "side^") == beside


def test_main_is_deleted_during_a_checkin(ground: Ground) -> None:
    ground.check_in()
    (ground.live / "new").write_text("new")
    delete = f"git --git-dir={shlex.quote(str(ground.repository))} update-ref -d refs/heads/main"
    ground.doomed("pack", delete, "checkin", "p", "-m", "m").told(11)
    ground.check_in("again")
    ground.sound()
    ground.faithful()


# --- prototypes -----------------------------------------------------------------------------------------------------


def test_two_creations_of_one_prototype_at_once(ground: Ground) -> None:
    """One of them makes it, from its own source and from nothing else."""
    sources = [ground.path / "a", ground.path / "b"]
    for number, source in enumerate(sources):
        plant(source, 400, number)
    for number in range(3):
        name = f"q{number}"
        said = together(ground, *[("prototype", "create", name, "--from", str(source)) for source in sources])
        assert sorted(one.code for one in said) in ([0, 2], [0, 11]), said
        winner = sources[[one.code for one in said].index(0)]
        assert judges.rsync(winner, ground.site / "live" / name) == []
    ground.tidy()
