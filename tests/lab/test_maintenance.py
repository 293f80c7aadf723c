"""One machine boots the live tree itself and edits it over NFS 3 and 4.2; a check-in on the server has that alone.

Half a minute for the boot, which all tests share.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from tests.lab import prototype
from tests.lab.bootlab import SITE, BootLab, boot_lab
from tests.lab.guest import ARGUMENTS, SHELL_READY, Guest
from tests.lab.netlab import BRIDGE, SERVER
from tests.support import needs, root_only

pytestmark = [
    pytest.mark.lab,
    root_only,
    needs("rpcbind", "ganesha.nfsd", "dnsmasq", "nginx", "qemu-system-x86_64", "mmdebstrap", "nfs-ls", "nfs-cp"),
    pytest.mark.xdist_group("maintenance"),
]

NAME: Final = "maintained"
MAC: Final = "52:54:00:00:00:41"
ADDRESS: Final = "10.77.0.41"
STRANGER: Final = "10.77.0.42"
LIVE: Final = SITE / "live" / NAME
INIT: Final = "/usr/local/sbin/lab-init"
_TO_SHELL: Final = f"exec </dev/ttyS1 >/dev/ttyS1 2>&1\necho\necho {SHELL_READY}\ncat | sh\n"
"""No services: they take minutes of a busy machine, and what they write is no edit."""
LOCKED: Final = "/var/lib/dpkg/lock-frontend"

Booted = tuple[BootLab, Guest]


@pytest.fixture(scope="module")
def booted() -> Iterator[Booted]:
    """The machine, up, with the live tree as its root; the server has checked in what stood there before."""
    with boot_lab() as lab:
        lab.gitstate("prototype", "create", NAME, "--from", f"{prototype.NAME}@{prototype.ONE}")
        init = lab.site / "live" / NAME / INIT[1:]
        init.write_text(f"#!/bin/sh\nstty -F /dev/ttyS1 -echo -opost\n{_TO_SHELL}")
        init.chmod(0o755)
        lab.gitstate("checkin", NAME, "-m", "a shell instead of services")
        lab.configure(arguments=f"{ARGUMENTS} init={INIT}")
        lab.gitstate("client", "add", "lab3-m", "--mac", MAC, "--ip", ADDRESS, "--maintains", NAME)
        lab.write()
        lab.servers.start()
        guest = lab.boot(MAC)
        try:
            guest.wait_for_shell()
            yield lab, guest
        finally:
            guest.power_off()


def recorded(lab: BootLab) -> dict[str, str]:
    """The paths that the last check-in changed, and how."""
    found: Any = json.loads(lab.gitstate("--json", "show", NAME))
    return {one["path"]: one["status"] for one in found["commits"][0]["changes"]}


def test_the_root_is_the_live_tree_and_writable(booted: Booted) -> None:
    lab, guest = booted
    root = guest.mounted("/")
    assert (root.kind, root.source) == ("nfs", f"{SERVER}:{LIVE}")
    assert "rw" in root.options
    assert guest.out("sed -n s/^STATE=//p /run/gitstate/about") == "maintenance"
    assert guest.out("uname -n") == "lab3-m"
    status = json.loads(lab.gitstate("--json", "status", NAME))
    assert [one["path"] for one in status["refused"]] == []
    assert [one["path"] for one in status["changes"]] == []


def test_edits_over_nfs_3_and_4_are_what_a_check_in_has(booted: Booted) -> None:
    lab, guest = booted
    guest.out(f"echo of the machine >{prototype.VERSION} && echo new >/srv/new && rm {prototype.UNREAD}")
    guest.out("chmod 0640 /etc/fstab 2>/dev/null || { touch /etc/fstab && chmod 0640 /etc/fstab; }")
    guest.out("sync")
    lab.gitstate("checkin", NAME, "-m", "over NFS 3")
    found = recorded(lab)
    assert found.pop("etc/fstab") in "AM"
    assert found == {prototype.VERSION[1:]: "M", "srv/new": "A", prototype.UNREAD[1:]: "D"}
    with mounted_by_4(guest) as place:
        guest.out(f"echo by version 4 >{place}/srv/four && ln {place}/srv/four {place}/srv/link && rm {place}/srv/new")
    lab.gitstate("checkin", NAME, "-m", "over NFS 4.2")
    assert recorded(lab) == {"srv/four": "A", "srv/link": "A", "srv/new": "D"}
    assert guest.out("cat /srv/four") == "by version 4"


@contextmanager
def mounted_by_4(guest: Guest) -> Iterator[str]:
    """The live tree mounted once more, by NFS 4.2."""
    options = f"vers=4.2,proto=tcp,addr={SERVER},clientaddr={ADDRESS}"
    guest.out("modprobe nfsv4 && mkdir -p /run/four")
    guest.out(f"busybox mount -i -t nfs4 -o {options} {SERVER}:{LIVE} /run/four")
    try:
        yield "/run/four"
    finally:
        guest.out("umount /run/four")


def test_a_package_manager_at_work_is_waited_for(booted: Booted) -> None:
    """Over version 4 the server knows of its lock."""
    lab, guest = booted
    with mounted_by_4(guest) as place:
        guest.out(f"mkdir -p {place}/var/lib/dpkg && touch {place}{LOCKED}")
        # By NFS 4 flock(2) is a lock of the whole file as fcntl(2) makes them.
        guest.out(f"flock -o -x {place}{LOCKED} sleep 3600 >/dev/null 2>&1 & echo $! >/run/holder; sleep 5")
        done = threading.Event()
        words = ("checkin", NAME, "-m", "waited")
        waiting = threading.Thread(target=lambda: (lab.gitstate(*words), done.set()))
        waiting.start()
        assert not done.wait(5)
        guest.out("kill $(cat /run/holder)")
        waiting.join(60)
        assert done.is_set()


def test_no_other_address_can_write_or_even_mount(booted: Booted) -> None:
    lab, _ = booted
    with stranger(lab):
        for version in (3, 4):
            url = f"nfs://{SERVER}{LIVE}/etc/lab-version?version={version}"
            done = lab.net.run("ip", "netns", "exec", "stranger", "nfs-cat", url)
            assert done.returncode != 0, done.stdout
            done = lab.net.run("ip", "netns", "exec", "stranger", "nfs-cp", "/etc/hostname", url)
            assert done.returncode != 0, done.stdout
    assert (lab.site / "live" / NAME / prototype.VERSION[1:]).read_text() == "of the machine\n"


@contextmanager
def stranger(lab: BootLab) -> Iterator[None]:
    """Another machine of the network."""
    lab.net.do("ip", "netns", "add", "stranger")
    lab.net.do("ip", "link", "add", "stranger", "master", BRIDGE, "type", "veth", "peer", "eth0", "netns", "stranger")
    lab.net.do("ip", "link", "set", "stranger", "up")
    lab.net.do("ip", "-n", "stranger", "addr", "add", f"{STRANGER}/24", "dev", "eth0")
    lab.net.do("ip", "-n", "stranger", "link", "set", "eth0", "up")
    try:
        yield
    finally:
        lab.net.do("ip", "netns", "del", "stranger")
