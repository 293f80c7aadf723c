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

from tests.damage.harness import GITSTATE, PATIENCE, Harness, Said, edit, environment, git, plant
from tests.support import needs, root_only
from tests.testing import judges

pytestmark = [root_only, needs("rsync")]


def together(harness: Harness, *lines: tuple[str, ...]) -> list[Said]:
    """Commands in processes of their own, started at once."""
    started = [
        subprocess.Popen(
            [*GITSTATE, "--site", str(harness.site), *words],
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


def inside(harness: Harness, *words: str) -> tuple[str, Path]:
    """A shell command that runs gitstate within another's step, and the file that has its exit code and words."""
    said = harness.path / "inside"
    line = shlex.join([*GITSTATE, "--site", str(harness.site), *words])
    return f"{line} >{said} 2>&1; echo code $? parent $PPID >>{said}", said


def commit_beside(harness: Harness, message: str = "beside") -> str:
    """A commit on top of main that somebody else made with plain git; no ref names it yet."""
    identity = ["-c", "user.name=Else", "-c", "user.email=else@example.org"]
    return harness.git(*identity, "commit-tree", "-p", "main", "-m", message, "main^{tree}")


# --- the lock -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [("checkin", "p", "-m", "second"), ("gc", "p"), ("prototype", "remove", "p", "--yes")],
    ids=["checkin", "gc", "remove"],
)
def test_a_writer_beside_a_checkin_says_who_is_in_the_way(harness: Harness, words: tuple[str, ...]) -> None:
    plant(harness.live, 20)
    command, file = inside(harness, *words)
    harness.interrupted("pack", command, "checkin", "p", "-m", "first").well()
    said = file.read_text()
    code, parent = re.findall(r"code (\d+) parent (\d+)", said)[0]
    assert code == "11", said
    assert f"locked by checkin (pid {parent}, since " in said
    assert harness("status", "p", "--exit-code").well()
    harness.sound()
    harness.tidy()


def test_two_checkins_at_once(harness: Harness) -> None:
    plant(harness.live, 400)
    for number in range(5):
        edit(harness.live, number, 100)
        said = together(harness, *[("checkin", "p", "-m", f"{number} of {who}") for who in "ab"])
        assert 0 in [one.code for one in said], said
        for one in said:
            if one.code:
                assert re.search(r"locked by checkin \(pid \d+, since ", one.told(11).err)
        harness("status", "p", "--exit-code").well()
    harness.sound()
    harness.tidy()
    harness.faithful()


def test_readers_beside_a_checkin(harness: Harness) -> None:
    """``diff`` writes objects of its own; a check-in must not take them for a dead one's."""
    plant(harness.live, 300)
    harness.check_in()
    with meanwhile(lambda: _read(harness)) as read:
        for number in range(8):
            edit(harness.live, number, 60)
            together(harness, ("checkin", "p", "-m", f"{number}"))[0].well()
    assert read[0] >= 1
    harness.tidy()


def _read(harness: Harness) -> None:
    for said in together(harness, ("diff", "p"), ("status", "p"), ("log", "p")):
        said.well()


def test_a_diff_killed_leaves_nothing_for_long(harness: Harness) -> None:
    harness.check_in()
    (harness.live / "etc" / "fstab").write_text("# changed\n")
    for name in ("scratch-dead", "staging-1"):
        (harness.repository / "gitstate" / name).mkdir()
    harness.check_in()
    left = {path.name for path in (harness.repository / "gitstate").iterdir()} - {"staging-1"}
    assert left == {"lock", "cache", "live-root"}


# --- exports --------------------------------------------------------------------------------------------------------


def test_two_exports_of_one_snapshot_at_once(harness: Harness) -> None:
    plant(harness.live, 600)
    for number in range(3):
        edit(harness.live, number, 100)
        harness.check_in()
        said = together(harness, ("export", "p"), ("export", "p"))
        assert [one.well().out for one in said] == [f"{harness.exports / harness.head}\n"] * 2
        harness.tidy()
        harness.faithful()


def test_two_exports_of_two_snapshots_at_once(harness: Harness) -> None:
    plant(harness.live, 600)
    harness.check_in()
    edit(harness.live, 1, 100)
    harness.check_in()
    said = together(harness, ("export", "p", "HEAD~1"), ("export", "p", "HEAD"))
    assert [one.well().code for one in said] == [0, 0]
    harness.tidy()
    for revision in ("HEAD", "HEAD~1"):
        harness("verify", "p", revision).well()


def test_ctrl_c_while_an_export_waits_harms_no_other(harness: Harness) -> None:
    plant(harness.live, 20)
    harness.check_in()
    told = harness.path / "told"
    second = shlex.join(["env", "--default-signal=INT", *GITSTATE, "--site", str(harness.site), "export", "p"])
    waiting = 'until grep -q -- "-> FLOCK .* $! " /proc/locks; do kill -0 $! || exit; sleep 0.01; done'
    command = f"{second} & {waiting}; kill -INT $!; wait $!; echo $? >{told}"
    harness.interrupted("written", command, "export", "p").well()
    assert told.read_text() == "130\n"
    harness.faithful()


# --- plain git beside us --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [("repack", "-a", "-d", "-q"), ("-c", "gc.pruneExpire=now", "gc", "--prune=now", "--quiet")],
    ids=["repack", "gc"],
)
def test_twenty_checkins_beside_plain_gits_repacking(harness: Harness, words: tuple[str, ...]) -> None:
    """A pack that no ref reaches yet has its .keep; what is staged stands where no prune looks."""
    plant(harness.live, 200)
    harness.check_in()
    commits = [harness.head]
    with meanwhile(lambda: _collect(harness, words)) as repacked:
        for number in range(20):
            edit(harness.live, number, 20)
            said = harness("checkin", "p", "-m", f"{number}")
            if said.code == 11:  # git held a ref's lock for an instant
                said = harness("checkin", "p", "-m", f"{number}")
            said.well()
            commits.append(harness.head)
    assert repacked[0] >= 2
    assert harness.git("rev-list", "main").split() == commits[::-1]
    harness.sound()
    harness.faithful()
    harness.tidy()


def _collect(harness: Harness, words: tuple[str, ...]) -> None:
    subprocess.run(["git", f"--git-dir={harness.repository}", *words], check=True, capture_output=True)


@pytest.mark.parametrize("words", ["repack -a -d -q", "gc --prune=now --quiet"])
@pytest.mark.parametrize("step", ["pack", "idx"])
def test_a_repack_between_two_steps(harness: Harness, step: str, words: str) -> None:
    """The same, at the worst moments."""
    plant(harness.live, 30)
    harness.check_in()
    edit(harness.live, 1, 20)
    command = f"git --git-dir={shlex.quote(str(harness.repository))} -c gc.pruneExpire=now {words}"
    harness.interrupted(step, command, "checkin", "p", "-m", "m").well()
    harness.sound()
    harness.faithful()
    harness.tidy()


def test_exports_beside_repacking(harness: Harness) -> None:
    """A reader keeps the packs that it has open, and finds the new ones."""
    plant(harness.live, 300)
    for number in range(4):
        edit(harness.live, number, 60)
        harness.check_in()
    with meanwhile(lambda: _collect(harness, ("repack", "-a", "-d", "-F", "-q"))) as repacked:
        for number in range(4):
            together(harness, ("export", "p", f"HEAD~{number}", "--to", str(harness.path / f"e{number}")))[0].well()
    assert repacked[0] >= 2
    assert judges.rsync(harness.live, harness.path / "e0") == []


# --- moved refs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["pack", "idx"])
def test_main_is_moved_during_a_checkin(harness: Harness, step: str) -> None:
    harness.check_in()
    beside = commit_beside(harness)
    (harness.live / "new").write_text("new")
    move = f"git --git-dir={shlex.quote(str(harness.repository))} update-ref refs/heads/main {beside}"
    harness.interrupted(step, move, "checkin", "p", "-m", "m").told(11)
    assert harness.head == beside
    harness.tidy()
    harness.sound()
    said = harness("checkin", "p", "-m", "m").told(12)
    assert "--branch" in said.err
    assert "--replace" in said.err
    harness.check_in("over it", "--replace")
    assert harness.git("rev-parse", "main^") == beside
    harness.faithful()


@pytest.mark.parametrize("part", [0.3, 0.5])
def test_main_is_moved_during_a_scan(harness: Harness, part: float) -> None:
    """What is compared when the ref is moved is the tip that was looked at first, not a later one."""
    plant(harness.live, 60)
    total = harness.operations("checkin", "p", "-m", "first")
    beside = commit_beside(harness)
    edit(harness.live, 1, 60)
    move = f"git --git-dir={shlex.quote(str(harness.repository))} update-ref refs/heads/main {beside}"
    said = harness.interrupted(str(int(total * part)), move, "checkin", "p", "-m", "m")
    assert harness.head == beside
    said.told(11)
    harness.tidy()
    harness.sound()


def test_main_was_moved_by_a_push(harness: Harness) -> None:
    harness.check_in()
    first = harness.head
    pushed = push_an_edit(harness)
    (harness.live / "etc" / "fstab").write_text("# mine\n")
    said = harness("checkin", "p", "-m", "mine").told(12)
    assert pushed[:7] in said.err
    assert first[:7] in said.err
    assert harness.head == pushed

    harness.check_in("mine", "--branch", "side")
    assert harness.head == pushed
    assert harness.git("rev-parse", "side^") == first
    assert harness.git("show", "side:etc/fstab") == "# mine"
    harness("checkin", "p", "-m", "mine still").told(12)

    harness.check_in("mine after all", "--replace")
    assert harness.git("rev-parse", "main^") == pushed
    assert harness.git("show", "main:etc/fstab") == "# mine"
    assert harness.check_in("nothing")["commit"] is None
    harness.sound()
    harness.faithful()


def push_an_edit(harness: Harness) -> str:
    """Somebody clones, edits, commits and pushes by plain git; the commit."""
    clone = harness.path / "clone"
    harness("clone", "p", clone).well()
    (clone / "etc" / "fstab").write_text("# theirs\n")
    here = ["-C", str(clone), "-c", "user.name=Else", "-c", "user.email=else@example.org"]
    for words in (["commit", "-qam", "theirs"], ["push", "-q", "origin", "main"]):
        subprocess.run(["git", *here, *words], check=True, capture_output=True)
    return git(clone / ".git", "rev-parse", "HEAD")


def test_a_branch_is_moved_during_a_checkin_to_it(harness: Harness) -> None:
    harness.check_in()
    harness.check_in("side", "--branch", "side")
    beside = commit_beside(harness)
    (harness.live / "new").write_text("new")
    move = f"git --git-dir={shlex.quote(str(harness.repository))} update-ref refs/heads/side {beside}"
    harness.interrupted("idx", move, "checkin", "p", "-m", "m", "--branch", "side").told(11)
    assert harness.git("rev-parse", "side") == beside
    harness.sound()
    assert beside[:7] in harness("checkin", "p", "-m", "again", "--branch", "side").told(12).err
    harness.check_in("again", "--branch", "side", "--replace")
    assert harness.git("rev-parse", "side^") == beside


def test_main_is_deleted_during_a_checkin(harness: Harness) -> None:
    harness.check_in()
    (harness.live / "new").write_text("new")
    delete = f"git --git-dir={shlex.quote(str(harness.repository))} update-ref -d refs/heads/main"
    harness.interrupted("pack", delete, "checkin", "p", "-m", "m").told(11)
    harness.check_in("again")
    harness.sound()
    harness.faithful()


# --- prototypes -----------------------------------------------------------------------------------------------------


def test_two_creations_of_one_prototype_at_once(harness: Harness) -> None:
    """One of them makes it, from its own source and from nothing else."""
    sources = [harness.path / "a", harness.path / "b"]
    for number, source in enumerate(sources):
        plant(source, 400, number)
    for number in range(3):
        name = f"q{number}"
        said = together(harness, *[("prototype", "create", name, "--from", str(source)) for source in sources])
        assert sorted(one.code for one in said) in ([0, 2], [0, 11]), said
        winner = sources[[one.code for one in said].index(0)]
        assert judges.rsync(winner, harness.site / "live" / name) == []
    harness.tidy()
