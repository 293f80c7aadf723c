"""Missing programs, a misleading environment, few descriptors, and other things where ours should stand."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.damage.forge import VERSION
from tests.damage.harness import Harness, environment, looks, plant
from tests.support import needs, root_only

pytestmark = [root_only, needs("rsync", "setpriv")]


def test_programs_that_are_missing(harness: Harness) -> None:
    """git above all."""
    harness.check_in()
    empty = harness.path / "bin"
    empty.mkdir()
    line = [sys.executable, "-m", "gitstate", "--site", str(harness.site)]
    for words in (["checkin", "p", "-m", "m"], ["log", "p"], ["init", "--site", str(harness.path / "x")]):
        done = subprocess.run(
            [*line, *words], env={**environment(), "PATH": str(empty)}, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 5), done
        if done.returncode:
            assert "git" in done.stderr
            assert len(done.stderr.splitlines()) == 2


def test_a_current_directory_that_is_gone(harness: Harness) -> None:
    harness.check_in()
    gone = harness.path / "gone"
    gone.mkdir()
    script = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m gitstate --site {harness.site} status"
    done = subprocess.run(["sh", "-c", script], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode in (2, 5), done
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 2


def test_environment_variables_that_lead_git_astray(harness: Harness) -> None:
    """GIT_DIR, GIT_OBJECT_DIRECTORY and their kin are of whoever calls us from a hook."""
    plant(harness.live, 5)
    trap = harness.path / "trap.git"
    subprocess.run(["git", "init", "-q", "--bare", trap], check=True)
    before = looks(trap)
    variables = {
        "GIT_DIR": str(trap),
        "GIT_OBJECT_DIRECTORY": str(trap / "objects"),
        "GIT_INDEX_FILE": str(trap / "index"),
        "GIT_WORK_TREE": "/",
        "GIT_NAMESPACE": "x",
        "GIT_QUARANTINE_PATH": str(trap / "objects"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.bare",
        "GIT_CONFIG_VALUE_0": "nonsense",
        "GIT_AUTHOR_DATE": "nonsense",
    }
    for words in (["checkin", "p", "-m", "m"], ["export", "p"], ["log", "p"], ["fsck", "p"], ["gc", "p"]):
        line = [sys.executable, "-m", "gitstate", "--site", str(harness.site), *words]
        if words[0] == "log":  # what a person reads is shaped by that person's configuration
            variables["GIT_CONFIG_COUNT"] = "0"
        done = subprocess.run(line, env={**environment(), **variables}, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
    assert looks(trap) == before
    harness.sound()
    harness.faithful()


def test_few_descriptors_and_little_memory(harness: Harness) -> None:
    """A deep tree with a hard limit of 64 open files: an error, not a deletion."""
    harness.check_in()
    deep = harness.live
    for _ in range(100):
        deep = deep / "d"
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    harness.check_in()
    tree = harness.git("rev-parse", "main^{tree}")
    (harness.live / "etc" / "fstab").write_text("# changed\n")
    line = f"ulimit -n 64; exec {sys.executable} -m gitstate --site {harness.site} checkin p -m few"
    done = subprocess.run(["sh", "-c", line], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode in (3, 5, 6), done
    assert "Traceback" not in done.stderr
    assert "bug" not in done.stderr
    assert harness.git("ls-tree", "-r", "--name-only", "main", "d") == harness.git(
        "ls-tree", "-r", "--name-only", tree, "d"
    )
    harness.sound()
    harness.check_in("again")
    harness.faithful()


def test_permissions_are_restored_with_any_umask(harness: Harness) -> None:
    plant(harness.live, 10)
    for umask in ("000", "077", "777"):
        (harness.live / "new").write_text(umask)
        line = f"umask {umask}; {sys.executable} -m gitstate --site {harness.site} checkin p -m m"
        line += f" && {sys.executable} -m gitstate --site {harness.site} export p"
        subprocess.run(["sh", "-c", line], env=environment(), capture_output=True, check=True)
        harness.faithful()
        for path in (harness.repository, harness.repository / "gitstate"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o700


Damage = Callable[[Path], None]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda path: path.write_bytes(b"x"), id="file"),
        pytest.param(lambda path: path.symlink_to("/etc/passwd"), id="symlink"),
        pytest.param(lambda path: path.mkdir(), id="directory"),
        pytest.param(os.mkfifo, id="fifo"),
    ],
)
@pytest.mark.parametrize("name", ["exports/p", "exports/p/.PARTIAL", "prototypes/.q.partial", "live/.q.partial"])
def test_something_else_stands_in_the_way(harness: Harness, name: str, damage: Damage) -> None:
    """Where gitstate makes its own files and directories."""
    harness.check_in()
    path = harness.site / name.replace(".PARTIAL", f".{harness.head}.gitstate-partial")
    path.parent.mkdir(exist_ok=True)
    damage(path)
    for words in (("export", "p"), ("prototype", "create", "q"), ("prototype", "list")):
        said = harness(*words)
        if said.code:
            said.told(2, 5)
    assert Path("/etc/passwd").read_text().startswith("root:")


@pytest.mark.parametrize("name", ["lock", "cache", ".", "../refs/heads", "../objects/pack"])
def test_gitstates_own_files_are_something_else(harness: Harness, name: str) -> None:
    harness.check_in()
    (harness.live / "new").write_text("new")
    path = (harness.repository / "gitstate" / name).resolve()
    subprocess.run(["rm", "-rf", path], check=True)
    path.symlink_to("/nonexistent/nowhere")
    for words in (("status", "p"), ("checkin", "p", "-m", "m"), ("export", "p"), ("fsck", "p"), ("gc", "p")):
        said = harness(*words)
        if said.code:
            said.told(5, 6, 10, 11, 14)
    assert VERSION
