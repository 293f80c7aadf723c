"""Programs run inside a live tree: what they see, and that nothing of it is left, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gitstate.core.errors import HostError, StorageError
from gitstate.core.monitor import SILENT, Silent
from gitstate.tree import prepare
from gitstate.tree.prepare import chroot, debian
from tests.support import PROJECT, needs, root_only
from tests.tree.prepare.harness import INITRD, plant, probe

pytestmark = [root_only, needs("busybox", "unshare", "setpriv", "mount")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return plant(tmp_path / "root")


def ask(root: Path, script: str) -> list[str]:
    """What a script prints that runs while an initrd is made."""
    probe(root, f"{{\n{script}\n}} >/boot/answer 2>&1\n")
    prepare.apply(prepare.plan(root), SILENT)
    return (root / "boot/answer").read_text().splitlines()


def mounts(root: Path) -> list[str]:
    """Mounts at or below a directory, in anybody's namespace that is still there."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines = (process / "mountinfo").read_text().splitlines()
        except OSError:
            continue
        found |= {line for line in lines if f" {root}" in line}
    return sorted(found)


def processes(root: Path) -> list[str]:
    """Processes that live in a directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(root) in (os.readlink(process / "root"), os.readlink(process / "cwd")):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def test_programs_find_what_they_need_and_nothing_of_the_server(root: Path) -> None:
    (root / "run/of-the-tree").touch()
    answer = ask(root, "ls /run /tmp /dev; busybox env; mount; echo processes: /proc/[0-9]*")
    devices = answer[answer.index("/dev:") + 1 :]
    assert {"null", "zero", "full", "random", "urandom", "tty", "pts", "ptmx", "shm", "fd", "stdin"} <= set(devices)
    assert not {"sda", "vda", "kmsg", "mem", "loop0"} & set(devices)
    assert "of-the-tree" not in answer
    environment = dict(line.split("=", 1) for line in answer if "=" in line and " " not in line)
    assert set(environment) <= {"PATH", "HOME", "LC_ALL", "SOURCE_DATE_EPOCH", "PWD", "SHLVL", "OLDPWD"}
    assert environment["SOURCE_DATE_EPOCH"] == "0"
    assert 2 <= answer[-1].count("/proc/") <= 6, answer[-1]
    points = {line.split(" on ")[1].split(" ")[0] for line in answer if " type " in line}
    assert {"/proc", "/sys", "/dev", "/run", "/tmp"} <= points


def test_programs_see_that_they_are_in_a_chroot(root: Path) -> None:
    """systemctl starts nothing then."""
    ours, first = (line.split()[0] for line in ask(root, "ls -di /; ls -di /proc/1/root/."))
    assert ours != first


def test_nothing_stays_mounted_and_nobody_goes_on(root: Path) -> None:
    probe(root, "setsid sleep 1000 & sleep 1000 & mount -t tmpfs daemon /root; sleep 0.1")
    prepare.apply(prepare.plan(root), SILENT)
    until(lambda: not processes(root), "a daemon lives on")
    assert mounts(root) == []
    assert list((root / "dev").iterdir()) == []


def test_the_server_sees_none_of_the_mounts_meanwhile(root: Path) -> None:
    class Watch(Silent):
        seen: list[str] | None = None

        def advance(self, amount: int = 1) -> None:
            lines = Path("/proc/self/mountinfo").read_text().splitlines()
            self.seen = [line for line in lines if f" {root}" in line]

    watch = Watch()
    prepare.apply(prepare.plan(root), watch)
    assert watch.seen == []


def test_names_are_looked_up_as_on_the_server(root: Path) -> None:
    theirs = Path("/etc/resolv.conf").read_text().splitlines()
    (root / "etc/resolv.conf").write_text("nameserver 192.0.2.1\n")
    assert ask(root, "cat /etc/resolv.conf") == theirs
    assert (root / "etc/resolv.conf").read_text() == "nameserver 192.0.2.1\n"
    (root / "etc/resolv.conf").unlink()
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")
    (root / "etc/modules").write_text("another initrd\n")
    assert ask(root, "cat /etc/resolv.conf") == theirs
    assert not (root / "run/systemd").exists()


def test_a_failure_is_told_in_the_program_s_own_words(root: Path) -> None:
    (root / INITRD).write_text("the old one")
    probe(root, "echo half >$out; echo 'W: this is odd' >&2; echo 'E: no room for ideas' >&2; exit 1")
    with pytest.raises(HostError, match="mkinitramfs in the live tree: no room for ideas"):
        prepare.apply(prepare.plan(root), SILENT)
    assert (root / INITRD).read_text() == "the old one"
    assert [path.name for path in (root / "boot").glob(".*")] == []
    probe(root, "echo 'cat: write error: No space left on device' >&2; exit 1")
    with pytest.raises(StorageError) as raised:
        prepare.apply(prepare.plan(root), SILENT)
    assert "make room" in raised.value.hint


def test_much_said_on_either_output_blocks_nothing(root: Path) -> None:
    probe(root, "i=0; while [ $i -lt 20000 ]; do echo 'W: possible missing firmware' >&2; i=$((i + 1)); done")
    prepare.apply(prepare.plan(root), SILENT)


def test_the_caller_s_umask_is_not_theirs(root: Path) -> None:
    before = os.umask(0o077)
    try:
        chroot.run(root, ("touch", "/root/x"), SILENT)
    finally:
        os.umask(before)
    assert (root / "root/x").stat().st_mode & 0o777 == 0o644


def test_words_are_no_shell(root: Path) -> None:
    words = ("A=$(touch /root/evil)", "touch", "/root/$(touch evil)", "/root/;", "/root/ ")
    chroot.run(root, words, SILENT)
    assert {path.name for path in (root / "root").iterdir()} == {";", " ", "$(touch evil)"}


def start(root: Path) -> subprocess.Popen[bytes]:
    """A `prepare` in a process of its own, waiting inside the live tree."""
    probe(root, "setsid sleep 1000 & echo here >/boot/here; sleep 1000")
    code = (
        "import sys; from pathlib import Path; "
        "from gitstate.core.monitor import SILENT; from gitstate.tree import prepare; "
        "prepare.apply(prepare.plan(Path(sys.argv[1])), SILENT)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, root], cwd=PROJECT, stderr=subprocess.DEVNULL)
    until((root / "boot/here").exists, "prepare did not get there")
    return child


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_killed_it_leaves_nothing_and_the_next_run_finishes(root: Path, number: signal.Signals) -> None:
    child = start(root)
    assert processes(root)
    child.send_signal(number)
    assert child.wait(20) != 0
    until(lambda: not processes(root), "something goes on in the live tree")
    assert mounts(root) == []
    (root / "root/probe").unlink()
    (root / "boot/here").unlink()
    assert prepare.apply(prepare.plan(root), SILENT).kernels
    assert not prepare.plan(root)
    assert [path.name for path in (root / "boot").glob(".*")] == []


# --- installing packages ----------------------------------------------------------------------------------------------


def fake_apt(root: Path, script: str) -> None:
    for name in ("apt-get", "dpkg"):
        (root / f"usr/bin/{name}").write_text(f"#!/bin/sh\necho $0 $* >>/root/calls\n{script}\n")
        (root / f"usr/bin/{name}").chmod(0o755)


def test_packages_are_installed_while_no_daemon_may_start(root: Path) -> None:
    fake_apt(root, "/usr/sbin/policy-rc.d; echo $? >>/root/calls; env >>/root/calls")
    debian.install(root, ["attr", "busybox"], SILENT)
    calls = (root / "root/calls").read_text().splitlines()
    assert [line for line in calls if line.startswith("/usr/bin/")] == [
        "/usr/bin/dpkg --configure --pending --force-confold",
        "/usr/bin/apt-get --quiet --yes update",
        "/usr/bin/apt-get --quiet --yes -o Dpkg::Options::=--force-confold -o Dpkg::Use-Pty=0"
        " --no-install-recommends install attr busybox",
    ]
    assert calls.count("101") == 3
    assert "DEBIAN_FRONTEND=noninteractive" in calls
    assert not (root / "usr/sbin/policy-rc.d").exists()


def test_a_failed_installation_leaves_no_policy(root: Path) -> None:
    fake_apt(root, "[ $0 != /usr/bin/apt-get ] || { echo 'E: Unable to locate package attr'; exit 100; }")
    with pytest.raises(HostError, match="apt-get in the live tree: Unable to locate package attr"):
        debian.install(root, ["attr"], SILENT)
    assert not (root / "usr/sbin/policy-rc.d").exists()


def test_the_admin_s_own_policy_stays(root: Path) -> None:
    (root / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 104\n")
    (root / "usr/sbin/policy-rc.d").chmod(0o755)
    fake_apt(root, "/usr/sbin/policy-rc.d; echo $? >>/root/calls")
    debian.install(root, ["attr"], SILENT)
    assert "104" in (root / "root/calls").read_text().split()
    assert (root / "usr/sbin/policy-rc.d").exists()


def test_what_is_missing_is_installed_and_then_all_is_done(root: Path) -> None:
    (root / "usr/bin/setfattr").unlink()
    fake_apt(root, "[ $0 != /usr/bin/apt-get ] || echo here >/usr/bin/setfattr")
    done = prepare.apply(prepare.plan(root, install=True), SILENT)
    assert done.installed == ("attr",)
    assert done.kernels
    assert not prepare.plan(root, install=True)


def test_an_installation_that_brings_nothing_is_told(root: Path) -> None:
    (root / "usr/bin/setfattr").unlink()
    fake_apt(root, "true")
    with pytest.raises(HostError, match="attr"):
        prepare.apply(prepare.plan(root, install=True), SILENT)
