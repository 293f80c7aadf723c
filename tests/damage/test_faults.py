"""All processes of a command are killed at once, or a system call fails: what the next run makes of it."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import pytest

from tests.damage.faults import EIO, ENOSPC, FULL, KILL, Calls, Faults, Kind
from tests.damage.harness import Harness, git
from tests.damage.verbs import VERBS, Lab, Trial, Verb, runs, tagged
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "cc")]

AT_RENAMES = dataclasses.replace(KILL, calls=Calls.RENAME)


@pytest.fixture(scope="session")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faults]:
    """A process that forks commands with faults in them."""
    made = Faults(tmp_path_factory.mktemp("faults"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def lab(faults: Faults) -> Iterator[Lab]:
    """A site for all attempts, in memory if there is some: nothing here depends on the kind of file system."""
    memory = Path("/dev/shm")
    place = Path(tempfile.mkdtemp(prefix="gitstate-faults-", dir=memory if os.access(memory, os.W_OK) else None))
    made = Lab(place, faults)
    yield made
    made.unmount()
    shutil.rmtree(place)


def points(total: int, most: int, offset: int) -> list[int]:
    """At most ``most`` of ``total`` points, evenly spread; another ``offset`` gives others."""
    step = max(1, total // most)
    return list(range(1 + offset % step, total + 1, step))[:most]


# --- refs that move together ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/gitstate/live"])
def test_a_check_in_killed_with_its_git_before_a_ref_moves(harness: Harness, faults: Faults, ref: str) -> None:
    harness.check_in("before")
    before = harness.head
    (harness.live / "etc" / "fstab").write_text("# two\n")
    said, _, where = faults.run(harness.site, "checkin", "p", "-m", "two", kind=AT_RENAMES, at=1, match=ref)
    assert (said.code, where) == (-9, f"rename {harness.repository / ref}")
    assert (harness.head == before) == (ref == "refs/heads/main")
    (harness.live / "etc" / "fstab").write_text("# three\n")
    harness.check_in("three")
    assert harness.head == harness.git("rev-parse", "refs/gitstate/live")
    harness.sound()
    harness.tidy()


@pytest.mark.parametrize("log", ["logs/HEAD", "logs/refs/heads/main"])
def test_a_check_in_of_which_git_could_not_write_a_log(harness: Harness, faults: Faults, log: str) -> None:
    """Of HEAD it comes last, when all has moved; the branch's own comes first."""
    harness.check_in("before")
    before = harness.head
    (harness.live / "etc" / "fstab").write_text("# two\n")
    once = Kind("full", errno.ENOSPC, False, Calls.WRITE)
    said, _, where = faults.run(harness.site, "checkin", "p", "-m", "two", kind=once, at=1, match=log)
    assert where.endswith(log)
    assert (said.code == 0) == (harness.head != before)
    harness.check_in("again")
    assert harness.head != before
    assert harness.head == harness.git("rev-parse", "refs/gitstate/live")
    harness.tidy()


# --- a tag that waits -------------------------------------------------------------------------------------------------


def test_a_push_behind_a_tag_that_stops_the_channel_says_why(lab: Lab, faults: Faults) -> None:
    """The disk of the exports is full."""
    lab.restore()
    tagged(lab)
    lab.edit("4")
    words, exports = ("push", "p", "lab3", "--yes"), lab.site / "exports"
    said, _, _ = faults.run(lab.site, *words, kind=FULL, at=1, under=exports)
    assert {"lab3/3", "lab3/4"} <= set(said.told(6).err.replace(":", " ").split())
    said, _, _ = faults.run(lab.site, *words, kind=FULL, at=1, under=exports)
    said.told(6)
    lab(*words)
    tags = git(lab.site / "prototypes/p.git", "tag", "--list", "lab3/*").split()
    assert tags == ["lab3/1", "lab3/2", "lab3/3", "lab3/4"]
    assert list(lab.problems()) == []


@pytest.mark.parametrize("most", [3, pytest.param(100, marks=pytest.mark.slow)])
def test_a_tag_killed_with_its_hook_is_made_by_tagging_again(lab: Lab, faults: Faults, most: int) -> None:
    repository, words = lab.site / "prototypes/p.git", ("tag", "-a", "lab3/3", "-m", "x", "main")
    lab.restore()
    code, total, _ = faults.run_git(repository, *words)
    assert code == 0
    for at in points(total, most, total // 2):
        lab.restore()
        assert faults.run_git(repository, *words, at=at)[0] == -signal.SIGKILL
        lab("reconcile")
        if not git(repository, "tag", "--list", "lab3/3"):
            assert faults.run_git(repository, *words)[0] == 0
        lab("reconcile")
        runs("3")(lab)
        assert [path for path in lab.left() if path.name.endswith(".lock")] == []
        assert [line for line in lab.problems() if not line.startswith("left: ")] == []


# --- what is left where something failed ------------------------------------------------------------------------------


@pytest.mark.parametrize("calls", [Calls.OPEN, Calls.WRITE, Calls.RENAME, Calls.SYNC])
def test_a_secret_that_can_not_be_written_leaves_no_part_of_it(lab: Lab, faults: Faults, calls: Calls) -> None:
    lab.restore()
    secret = lab.outside / "secret"
    secret.write_bytes(b"new content\n" * 2000)
    words, folder = ("secret", "add", "lab3-12", "/etc/krb5.keytab", str(secret)), lab.site / "secrets"
    old, failing = lab.outside / "old", Kind("no room", errno.ENOSPC, True, calls)
    old.write_bytes(b"old content\n")
    for before in (b"", old.read_bytes()):
        if before:
            lab("secret", "add", "lab3-12", "/etc/krb5.keytab", str(old))
        said, _, where = faults.run(lab.site, *words, kind=failing, at=1, under=folder, match="etc")
        assert where
        said.told(6)
        files = [path for path in (folder / "lab3-12" / "etc").rglob("*") if path.is_file() and "krb5" in path.name]
        whole = (before, secret.read_bytes()) if calls is Calls.SYNC else (before,)
        assert [path.name for path in folder.rglob("*") if "partial" in path.name] == []
        assert all(path.read_bytes() in whole for path in files)


def killed_creation(lab: Lab, faults: Faults) -> Path:
    """A live tree whose creation was killed before the repository had its name."""
    lab.restore()
    words = ("prototype", "create", "n", "--from", str(lab.live("p")))
    said, _, _ = faults.run(lab.site, *words, kind=AT_RENAMES, at=1, match="prototypes/n.git")
    assert said.code == -signal.SIGKILL
    assert lab.live("n").is_dir()
    return lab.live("n")


def test_a_live_tree_of_a_killed_creation_is_in_nobodys_way(lab: Lab, faults: Faults) -> None:
    live = killed_creation(lab, faults)
    lab("prototype", "create", "n")
    assert list(live.iterdir()) == []
    assert list(lab.problems()) == []


def test_a_directory_that_somebody_made_after_a_killed_creation_stays(lab: Lab, faults: Faults) -> None:
    live = killed_creation(lab, faults)
    live.rename(live.with_name("elsewhere"))
    live.mkdir()
    (live / "mine").touch()
    faults.run(lab.site, "prototype", "create", "n")[0].told(2)
    assert (live / "mine").exists()


def test_gc_clears_what_killed_creations_left(lab: Lab, faults: Faults) -> None:
    """Of a prototype, of a layer; the tree of one that is there already."""
    for words, match in (
        (("prototype", "create", "n", "--from", str(lab.live("p"))), "live/n"),
        (("layer", "create", "lab/lab9"), "layers/lab/lab9.git"),
        (("prototype", "create", "n", "--from", str(lab.live("p"))), "moved"),
    ):
        lab.restore()
        assert faults.run(lab.site, *words, kind=AT_RENAMES, at=1, match=match)[0].code == -signal.SIGKILL
        if match == "live/n":
            lab("prototype", "create", "n")
        lab("gc")
        assert list(lab.problems()) == []


# --- every verb that writes -------------------------------------------------------------------------------------------

POINTS = {KILL: 2, FULL: 1, EIO: 1}
"""Of each kind of fault, in a run that must be short: another verb has others."""
MANY = 10
"""In the long one, evenly spread; few verbs have more than five times as many."""


@pytest.fixture(scope="session")
def trials(lab: Lab) -> Callable[[Verb], Trial]:
    """Each verb's trial, made once."""
    return cache(partial(Trial, lab))


@pytest.mark.parametrize("kind", [KILL, FULL, EIO], ids=lambda kind: kind.name)
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name.replace(" ", "-"))
def test_running_it_again_finishes_it_or_starts_clean(trials: Callable[[Verb], Trial], verb: Verb, kind: Kind) -> None:
    trial = trials(verb)
    chosen = points(trial.count(kind), POINTS[kind], sum(map(ord, f"{verb.name} {kind.name}")))
    assert [found for found in (trial.fault(kind, at) for at in chosen) if found.wrong] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", [KILL, FULL, EIO, ENOSPC], ids=lambda kind: kind.name)
@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name.replace(" ", "-"))
def test_the_same_at_many_points(trials: Callable[[Verb], Trial], verb: Verb, kind: Kind) -> None:
    trial = trials(verb)
    total = trial.count(kind)
    assert [found for found in (trial.fault(kind, at) for at in points(total, MANY, 0)) if found.wrong] == []
