"""The boot lab itself: whatever happens in it, nothing is left; what fails in it says why."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.lab.guest import Guest
from tests.lab.netlab import NetLab, netlab
from tests.lab.servers import dnsmasq, foreign_dhcp, ganesha, nginx, rpcbind
from tests.support import PROJECT, needs, root_only

pytestmark = [
    pytest.mark.lab,
    root_only,
    needs("rpcbind", "ganesha.nfsd", "dnsmasq", "nginx", "qemu-system-x86_64"),
]

MAC = "52:54:00:00:00:01"
PATIENCE = 30

OWNER = """
import sys, time
from pathlib import Path
from tests.lab.netlab import netlab
from tests.lab.test_netlab import fill
with netlab() as lab:
    fill(lab)
    print(lab.first, lab.place, flush=True)
    time.sleep(600)
"""


def fill(lab: NetLab) -> Guest:
    """Start one of everything: servers with children of their own, another network namespace, a machine."""
    (lab.place / "export").mkdir()
    texts = {
        "ganesha.conf": f"EXPORT {{ Export_Id = 1; Path = {lab.place}/export; Pseudo = /x; FSAL {{ Name = VFS; }} }}\n",
        "nginx.conf": f"server {{ listen 80; root {lab.place}/export; }}\n",
        "dnsmasq.conf": f"port=0\nuser=root\nlog-facility=-\nenable-tftp\ntftp-root={lab.place}/export\n",
    }
    for name, text in texts.items():
        (lab.place / name).write_text(text)
    rpcbind(lab)
    ganesha(lab, lab.place / "ganesha.conf")
    nginx(lab, lab.place / "nginx.conf")
    dnsmasq(lab, lab.place / "dnsmasq.conf")
    foreign_dhcp(lab).__enter__()
    guest = lab.boot(MAC)
    guest.wait_for("iPXE")
    return guest


def namespaces(pid: int) -> set[str]:
    """A process's own network and processes."""
    return {os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("net", "pid", "mnt")}


def inhabitants(spaces: set[str]) -> list[str]:
    """The processes that live in any of these namespaces."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if namespaces(int(place.name)) & spaces:
                found.append((place / "cmdline").read_text().replace("\0", " ") or place.name)
        except OSError:  # ended meanwhile
            continue
    return found


def machine() -> tuple[str, set[str]]:
    """What a lab might leave behind on this machine: links and namespaces, and mounts."""
    links = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout
    named = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    return links + named, set(Path("/proc/self/mounts").read_text().splitlines())


@pytest.fixture
def as_before() -> Iterator[None]:
    before = machine()
    yield
    assert machine() == before


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.usefixtures("as_before")
def test_nothing_is_left_when_the_block_ends(fails: bool) -> None:
    with pytest.raises(ZeroDivisionError) if fails else nullcontext(), netlab() as lab:
        guest = fill(lab)
        spaces = namespaces(lab.first)
        assert len(inhabitants(spaces)) > 7
        assert 1 / (not fails)
    assert inhabitants(spaces) == []
    assert not lab.place.exists()
    assert guest.program.ended


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.usefixtures("as_before")
def test_nothing_runs_on_when_the_owner_is_killed(how: signal.Signals) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as owner:
        assert owner.stdout
        first, _, place = owner.stdout.readline().decode().strip().partition(" ")
        spaces = namespaces(int(first))
        assert len(inhabitants(spaces)) > 7
        owner.send_signal(how)
        owner.communicate(timeout=PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while (left := inhabitants(spaces)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left == []
    if how is signal.SIGINT:
        assert not Path(place).exists()
    shutil.rmtree(place, ignore_errors=True)


@pytest.mark.usefixtures("as_before")
def test_two_labs_do_not_meet() -> None:
    with netlab() as one, netlab() as other:
        rpcbind(one)
        rpcbind(other)
        assert not namespaces(one.first) & namespaces(other.first)
        one.do("ip", "link", "add", "only-here", "type", "bridge")
        assert other.run("ip", "link", "show", "only-here").returncode


def test_a_server_stopped_gives_its_port_back() -> None:
    with netlab() as lab:
        (lab.place / "nginx.conf").write_text(f"server {{ listen 80; root {lab.place}; }}\n")
        for _ in range(3):
            server = nginx(lab, lab.place / "nginx.conf")
            server.stop()
            assert not lab.listens("tcp", 80)


def test_a_server_that_does_not_start_says_why() -> None:
    with netlab() as lab:
        (lab.place / "wrong.conf").write_text("no-such-option\n")
        with pytest.raises(RuntimeError, match=r"(?s)dnsmasq is not ready.*wrong\.conf"):
            dnsmasq(lab, lab.place / "wrong.conf")


def test_a_machine_that_does_not_boot_shows_its_console() -> None:
    with netlab() as lab:
        guest = lab.boot(MAC)
        with pytest.raises(AssertionError, match=rf"(?s){MAC}: no 'login:' on ttyS0 within 3 s.*console:.*iPXE"):
            guest.wait_for("login:", 3)


def test_a_machine_that_cannot_be_made_says_why() -> None:
    with netlab() as lab:
        guest = lab.boot("no such mac")
        with pytest.raises(AssertionError, match=r"(?s)the machine is off.*qemu.*no such mac"):
            guest.wait_for("login:")
