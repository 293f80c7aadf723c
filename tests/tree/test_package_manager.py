"""A check-in waits for a package manager that works in the live tree from somewhere else, and for no other."""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from pathlib import Path

import pytest

from gitstate.core.errors import LockedError
from gitstate.core.monitor import Silent
from gitstate.store import Repository
from gitstate.tree import restore, update
from gitstate.tree.package_manager import wait_until_idle
from tests.gitstate_command import make_site
from tests.support import root_only

pytestmark = root_only

LOCKS = ("var/lib/dpkg/lock-frontend", "var/lib/dpkg/lock", "var/lib/rpm/.rpm.lock", "usr/lib/sysimage/rpm/.rpm.lock")


class Heard(Silent):
    """Remembers notices."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        self.notices.append(text)


def lock_file(live: Path, name: str) -> int:
    """A lock as an NFS server has it for a client: of no process."""
    path = live / name
    path.parent.mkdir(parents=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
    return descriptor


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_from_elsewhere_is_waited_for(tmp_path: Path, name: str) -> None:
    descriptor = lock_file(tmp_path, name)
    heard = Heard()
    with pytest.raises(LockedError, match=f"/{name} is locked"):
        wait_until_idle(tmp_path, heard, patience=0)
    threading.Timer(0.3, os.close, (descriptor,)).start()
    wait_until_idle(tmp_path, heard, patience=60)
    assert len(heard.notices) == 2
    wait_until_idle(tmp_path, heard, patience=0)


def test_a_lock_of_a_process_here_is_not(tmp_path: Path) -> None:
    """apt's own hook checks in while apt holds its lock: to wait for that would be for ever."""
    path = tmp_path / LOCKS[0]
    path.parent.mkdir(parents=True)
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with path.open("w") as file:
            fcntl.lockf(file, fcntl.LOCK_EX)
            os.write(ready[1], b"x")
            os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    try:
        wait_until_idle(tmp_path, Heard(), patience=0)
    finally:
        os.write(done[1], b"x")
        os.waitpid(child, 0)


def test_a_journal_that_grows_is_waited_for(tmp_path: Path) -> None:
    """What dpkg leaves where its locks can't be seen: by NFS 3."""
    journal = tmp_path / "var" / "lib" / "dpkg" / "updates"
    journal.mkdir(parents=True)
    wait_until_idle(tmp_path, Heard(), patience=0)
    (journal / "0001").write_text("Package: x\n")
    with pytest.raises(LockedError, match="updates has grown"):
        wait_until_idle(tmp_path, Heard(), patience=0)
    old = time.time() - 60
    os.utime(journal / "0001", (old, old))
    wait_until_idle(tmp_path, Heard(), patience=0)


@pytest.mark.parametrize("verb", ["update", "restore"])
def test_what_writes_the_whole_tree_waits(tmp_path: Path, verb: str) -> None:
    live, site = tmp_path / "live", make_site(tmp_path / "site")
    live.mkdir()
    site.run("prototype", "create", "p", "--live", str(live))
    site.run("checkin", "p", "-m", "one")
    repository, heard = Repository(site.repository("p"), "p"), Heard()
    descriptor = lock_file(live, LOCKS[0])
    threading.Timer(0.3, os.close, (descriptor,)).start()
    if verb == "update":
        update.run(repository, live, heard)
    else:
        commit = repository.resolve("main")
        restore.run(restore.Request(repository, live, repository.snapshot(commit).tree), heard)
    assert "waiting" in heard.notices[0]


def test_nothing_is_followed(tmp_path: Path) -> None:
    (tmp_path / "live" / "var" / "lib").mkdir(parents=True)
    (tmp_path / "live" / "var" / "lib" / "dpkg").symlink_to(tmp_path / "there")
    descriptor = lock_file(tmp_path, "there/lock-frontend")
    (tmp_path / "there" / "updates").mkdir()
    (tmp_path / "there" / "updates" / "1").touch()
    os.mkfifo(tmp_path / "live" / "var" / "lib" / "rpm")
    wait_until_idle(tmp_path / "live", Heard(), patience=0)
    os.close(descriptor)
