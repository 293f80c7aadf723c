"""Boot files under fire: writers that are killed at any point, disks that are full, several at once.

What must hold: every file is the old or the new one, no script names a kernel or an export that isn't there whole, and
the next run finishes the work.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from gitstate.boot import files as publish
from gitstate.boot.files import state
from gitstate.boot.group import lock
from gitstate.core.errors import StorageError
from gitstate.core.monitor import SILENT
from tests.boot.files.harness import Harness, looks
from tests.damage.harness import PATIENCE, fill, mounted
from tests.gitstate_command import git
from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("git")]

Looks = dict[str, tuple[object, ...]]

_OPERATIONS = frozenset(
    (
        *("open", "os.mkdir", "os.rmdir", "os.rename", "os.link", "os.remove", "os.chmod", "os.chown", "os.utime"),
        *("os.setxattr", "fcntl.flock", "subprocess.Popen"),
    )
)


@dataclass
class Siege:
    """A site with everything written, a change to make, and how both places look before and after it."""

    harness: Harness
    saved: Path
    before: Looks
    after: Looks

    @classmethod
    def lay(cls, harness: Harness) -> Siege:
        del harness.directory.all["other"]
        harness.write()
        known = state.load(harness.site.path)
        known.pending.clear()  # as if all had been told
        state.save(harness.site.path, known)
        before, saved = harness.looks(), harness.path / "saved"
        for name in ("site", "etc"):
            subprocess.run(["cp", "-a", str(harness.path / name), str(saved) + name], check=True)
        siege = cls(harness, saved, before, {})
        siege.change()
        harness.write()
        harness.whole()
        siege.after = harness.looks()
        return siege

    def restore(self) -> None:
        """Everything as it was before the change, but for it: the directory and the options have changed."""
        for name in ("site", "etc"):
            shutil.rmtree(self.harness.path / name)
            subprocess.run(["cp", "-a", str(self.saved) + name, str(self.harness.path / name)], check=True)
        self.change()

    def change(self) -> None:
        """A new snapshot, a script for every kind of reason, and two files that go."""
        self.harness.configure(arguments="quiet", http=False, interface="eth9")
        self.harness.directory.all.pop("two", None)
        self.harness.add("one", 1, "desktop@two")
        self.harness.add("new", 4)

    def holds(self) -> None:
        """Everything is old or new, and what scripts name is there."""
        harness = self.harness
        now = harness.looks()
        for path in self.before.keys() | self.after.keys():
            old, new = self.before.get(path), self.after.get(path)
            assert now.get(path) in (old, new), path
        strange = [path for path in now.keys() - self.before.keys() - self.after.keys() if ".gitstate-new" not in path]
        assert strange == []
        for tag in ("one", "two"):
            names = {path.name for path in harness.image(tag).glob("[!.]*")} if harness.image(tag).exists() else set()
            assert names in (set(), *({"vmlinuz", "initrd.img", "caps.cpio", *more} for more in ([], ["boot.ipxe"])))
        for script in harness.machines.glob("[!.]*"):
            for tag in ("one", "two"):
                if harness.commit(tag) in script.read_text():
                    assert (harness.image(tag) / "boot.ipxe").is_file()
                    assert (harness.site.exports / "desktop" / harness.commit(tag)).is_dir()

    def recovers(self) -> None:
        """The next run does what is left, and clears up."""
        self.harness.write()
        assert self.harness.looks() == self.after
        self.harness.whole()
        plan = self.harness.plan()
        assert not plan
        assert plan.state_is_current
        assert plan.pending == {"etc/nginx/conf.d/gitstate.conf", "etc/gitstate/dnsmasq.conf"}


@pytest.fixture
def siege(harness: Harness) -> Siege:
    return Siege.lay(harness)


def child(work: Callable[[], object]) -> int:
    """Do ``work`` in a process of its own, started with everything that this one has."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(70)
    os._exit(0)


def interrupted(harness: Harness, when: int | str, events: frozenset[str] = _OPERATIONS) -> int | None:
    """Write, and be killed before the operation of that number, or at that step; how many there were if it isn't."""
    witness = harness.path / "witness"
    witness.unlink(missing_ok=True)

    def work() -> None:
        done = 0

        def strike() -> None:
            os.kill(os.getpid(), signal.SIGKILL)
            signal.pause()

        def hook(event: str, words: tuple[object, ...]) -> None:
            nonlocal done
            if event in events:
                done += 1
                if done == when:
                    strike()

        with lock(harness.site):
            plan = harness.plan()
            sys.addaudithook(hook)
            publish.apply(plan, SILENT, lambda name: strike() if name == when else None)
        witness.write_text(str(done))

    _, status = os.waitpid(child(work), 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return None
    assert os.waitstatus_to_exitcode(status) == 0
    return int(witness.read_text())


# --- killed -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["exported", "copied", "staged", "settled"])
def test_killed_at_a_step(siege: Siege, step: str) -> None:
    siege.restore()
    assert interrupted(siege.harness, step) is None
    siege.holds()
    script = siege.harness.script(1).read_text()
    assert (siege.harness.commit("two") in script) == (step == "settled")
    assert siege.harness.image("two").exists() == (step != "exported")
    siege.recovers()


@pytest.mark.parametrize("most", [15, pytest.param(400, marks=pytest.mark.slow)])
def test_killed_before_operations(siege: Siege, most: int) -> None:
    siege.restore()
    total = interrupted(siege.harness, 0)
    assert total is not None
    assert total > 60
    hits = 0
    for point in sorted({1 + number * (total - 1) // (most - 1) for number in range(most)}):
        siege.restore()
        hits += interrupted(siege.harness, point) is None
        siege.holds()
        siege.recovers()
    assert hits >= min(most, total) * 0.9


def test_killed_before_every_rename(siege: Siege) -> None:
    """These are the steps by which the new becomes visible."""
    point, hit = 0, True
    while hit:
        siege.restore()
        point += 1
        hit = interrupted(siege.harness, point, frozenset({"os.rename"})) is None
        siege.holds()
        siege.recovers()
    assert point > 10


def test_killed_in_a_row(siege: Siege) -> None:
    """Each run is killed a little later than the one before; none of them starts from ruins."""
    siege.restore()
    point, runs = 5, 0
    while interrupted(siege.harness, point) is None:
        siege.holds()
        point += 7
        runs += 1
    assert runs > 5
    siege.recovers()


@pytest.mark.parametrize("count", [8, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_points(siege: Siege, count: int) -> None:
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    chance, longest, hits = random.Random(seed), 0.1, 0
    while hits < count:
        siege.restore()
        pid = child(siege.harness.write)
        time.sleep(longest * chance.random())
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            hits += 1
        else:
            longest *= 0.9
        siege.holds()
        siege.recovers()


def test_interrupted(siege: Siege) -> None:
    """Control-C: nothing half done is left even before the next run."""
    siege.restore()

    def strike(name: str) -> None:
        if name == "staged":
            raise KeyboardInterrupt

    with lock(siege.harness.site), pytest.raises(KeyboardInterrupt):
        publish.apply(siege.harness.plan(), SILENT, strike)
    siege.holds()
    assert not [path for path in siege.harness.looks() if ".gitstate-new" in path]
    siege.recovers()


def test_what_the_killed_left_is_cleared(siege: Siege) -> None:
    """Also where nothing of it is wanted any more."""
    siege.restore()
    tftp, etc = siege.harness.tftp, siege.harness.etc
    half = tftp / "desktop" / f".{'0' * 40}.gitstate-new"
    half.mkdir()
    for path in (half / "vmlinuz", tftp / "boot" / "mac" / ".x.ipxe.gitstate-new", tftp / "boot" / ".y.gitstate-new"):
        path.write_text("half")
    (etc / "nginx" / "conf.d" / ".gitstate.conf.gitstate-new").write_text("half")
    (siege.harness.site.path / ".boot.state.4711").write_text("half")
    (tftp / "desktop" / siege.harness.commit("one") / ".vmlinuz.gitstate-new").write_text("half")
    siege.recovers()


# --- full disks -------------------------------------------------------------------------------------------------------


@contextmanager
def on_small_disk(place: Path, size: str) -> Iterator[Path]:
    """What stands at ``place`` on a file system of its own, of ``size`` bytes."""
    kept = place.with_name("kept")
    place.rename(kept)
    place.mkdir()
    with mounted(place, "-t", "tmpfs", "-o", f"size={size},mode=750", "tmpfs"):
        subprocess.run(["cp", "-a", f"{kept}/.", str(place)], check=True)
        yield place
    shutil.rmtree(kept)


def short_of_room(harness: Harness) -> bool:
    """Write; whether it failed for want of room."""
    try:
        harness.write()
    except StorageError:
        return True
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return True
    return False


@pytest.mark.parametrize("where", ["tftp", "etc"])
def test_little_room(siege: Siege, where: str) -> None:
    """From no page at all to enough: each time all or nothing, and what failed leaves no half files."""
    siege.restore()
    place = siege.harness.tftp if where == "tftp" else siege.harness.etc
    outcomes = set()
    with on_small_disk(place, "8m" if where == "tftp" else "200k") as disk:
        for free in (0, 1, 2, 3, 5, 8, 40, 80, 120, 160, 200, 260):
            ballast = fill(disk, free * 4096)
            failed = short_of_room(siege.harness)
            outcomes.add(failed)
            ballast.unlink()
            siege.holds()
            if failed:
                assert not [path for path in siege.harness.looks() if ".gitstate-new" in path]
            else:
                break
        siege.recovers()
    assert outcomes == {True, False}


def test_no_room_for_the_state(siege: Siege) -> None:
    """The state is only told what was done: boot files are written, and the next run compares."""
    siege.restore()
    with on_small_disk(siege.harness.site.path, "12m") as disk:
        siege.harness.write()
        siege.harness.add("more", 9)
        ballast = fill(disk, 0)
        assert short_of_room(siege.harness)
        ballast.unlink()
        siege.harness.write()
        siege.harness.whole()
        assert not siege.harness.plan()


@needs("mkfs.ext4")
def test_the_command_says_so(siege: Siege) -> None:
    """Exit code 6, one line and a hint."""
    siege.restore()
    git(siege.harness.command.repository("desktop"), "config", "core.hooksPath", "/dev/null")
    run = siege.harness.command.run
    run("client", "add", "one", "--mac", "52:54:00:00:00:01", "--pin", "desktop@two")
    with on_small_disk(siege.harness.tftp, "8m") as disk:
        fill(disk, 4096 * 20)
        done = run("boot", "write", code=6)
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 2


# --- at once ----------------------------------------------------------------------------------------------------------


def test_several_at_once(siege: Siege) -> None:
    """One writes, the others say that somebody does."""
    siege.restore()
    git(siege.harness.command.repository("desktop"), "config", "core.hooksPath", "/dev/null")
    for number in range(20, 26):
        words = ("--mac", f"52:54:00:00:00:{number}", "--pin", "desktop@two")
        siege.harness.command.run("client", "add", f"c{number}", *words)
    environment = {**os.environ, "GITSTATE_SITE": str(siege.harness.site.path), "PYTHONPATH": str(PROJECT)}
    argv = [sys.executable, "-m", "gitstate", "boot", "write", "--json"]
    started = [
        subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(5)
    ]
    said = [process.communicate(timeout=PATIENCE)[1] for process in started]
    codes = [process.returncode for process in started]
    assert set(codes) <= {0, 11}, said
    assert 0 in codes
    assert all("are being written" in one for one, code in zip(said, codes, strict=True) if code)
    siege.harness.whole()
    assert len(list(siege.harness.machines.iterdir())) == 6


def test_readers_see_old_or_new(siege: Siege) -> None:
    """Somebody who boots all the time, while client and kernel go back and forth."""
    siege.restore()
    harness, script = siege.harness, siege.harness.script(1)
    harness.write()
    pid = child(lambda: [_flip(harness, number) for number in range(60)])
    seen = set()
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        text = script.read_text()
        (target,) = [line.split()[-1] for line in text.splitlines() if line.startswith("chain")]
        place = (script.parent / target).resolve()
        assert (place.parent / "vmlinuz").stat().st_size > 100_000
        assert place.read_text().splitlines()[-1] == "boot"
        seen.add(place.parent.name)
    assert seen == {harness.commit("one"), harness.commit("two")}


def _flip(harness: Harness, number: int) -> None:
    harness.configure(arguments=f"number={number}", http=False)
    harness.add("one", 1, ("desktop@one", "desktop@two")[number % 2])
    harness.write()


def test_the_siege_itself_would_notice(siege: Siege) -> None:
    """A checker that can't fail holds nothing."""
    siege.restore()
    siege.harness.write()
    siege.holds()
    (siege.harness.image("two") / "boot.ipxe").unlink()
    with pytest.raises(AssertionError):
        siege.holds()
    siege.harness.write()
    siege.harness.script(4).write_text("half")
    with pytest.raises(AssertionError):
        siege.holds()
    assert looks(siege.harness.tftp)
