"""A machine boots in each of the three states, and what it can write is what the state says.

Each test powers a machine on and off: a boot takes half a minute.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.lab import prototype
from tests.lab.bootlab import BootLab, boot_lab
from tests.lab.guest import ARGUMENTS, Guest
from tests.support import needs, root_only

pytestmark = [
    pytest.mark.lab,
    root_only,
    needs("rpcbind", "ganesha.nfsd", "dnsmasq", "nginx", "qemu-system-x86_64", "mmdebstrap", "mkfs.ext4"),
    pytest.mark.xdist_group("states"),
]

NAME: Final = "writable"
LISTED: Final = "/etc/motd"
ODD: Final = "/usr/share/lab/two words"
MACS: Final = {"overlay": "52:54:00:00:00:21", "local": "52:54:00:00:00:22", "tmpfs-root": "52:54:00:00:00:23"}
AS_NOBODY: Final = "setpriv --reuid=65534 --regid=65534 --clear-groups"


@pytest.fixture(scope="module")
def lab() -> Iterator[BootLab]:
    """A prototype with a list, and a client in each state."""
    with boot_lab() as lab:
        lab.gitstate("prototype", "create", NAME, "--from", f"{prototype.NAME}@{prototype.ONE}")
        live = lab.site / "live" / NAME
        (live / LISTED[1:]).write_text("of the prototype\n")
        (live / ODD[1:]).write_text("of the prototype\n")
        (live / "etc/hosts").write_text("127.0.0.1\tlocalhost\n")
        (live / "etc/ssh").mkdir(exist_ok=True)
        (live / "etc/fstab").write_text("tmpfs /made tmpfs size=1m\n")
        lab.gitstate("layer", "create", "base")
        lab.gitstate("local", "add", NAME, LISTED, ODD, "/etc/hosts")
        lab.gitstate("checkin", NAME, "-m", "with a list")
        for state, mac in MACS.items():
            lab.gitstate(*("client", "add", f"lab3-{state}", "--mac", mac, "--pin", f"{NAME}@main", "--state", state))
        lab.write()
        lab.servers.start()
        yield lab


@contextmanager
def booted(lab: BootLab, state: str, disk: Path | None = None) -> Iterator[Guest]:
    """A machine that has come up well, as itself."""
    guest = lab.boot(MACS[state], disk=disk)
    try:
        guest.wait_for(f"^lab3-{state} login: ")
        guest.wait_for_shell()
        assert guest.out("sed -n s/^STATE=//p /run/gitstate/about") == state
        assert guest.out("hostname") == f"lab3-{state}"
        assert f"lab3-{state}" in guest.out("getent hosts $(hostname)").split()
        done = guest.run("systemctl is-system-running --wait")[1]
        assert done == "running", guest.out("systemctl --failed --no-pager; journalctl -b --no-pager -p warning")
        yield guest
    finally:
        guest.power_off()


@pytest.fixture
def scratch(lab: BootLab, tmp_path: Path) -> Iterator[Path]:
    """A disk with a label, on which a former boot has left something; all machines are told of it."""
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(256 << 20)
    former = tmp_path / "former" / "gitstate" / "left"
    former.parent.mkdir(parents=True)
    former.write_text("by a former boot\n")
    (tmp_path / "former" / "mine").write_text("of somebody else\n")
    subprocess.run(["mkfs.ext4", "-q", "-L", "scratch", "-d", tmp_path / "former", disk], check=True)
    lab.configure(arguments=f"{ARGUMENTS} gitstate.scratch=LABEL=scratch")
    lab.write()
    yield disk
    lab.configure()
    lab.write()


def can_write(guest: Guest, *paths: str) -> None:
    """Each path can be written, and what stands there now is what was written."""
    for path in paths:
        assert guest.out(f"echo mine >'{path}' && cat '{path}'") == "mine"


def cannot_write(guest: Guest, *paths: str) -> None:
    for path in paths:
        code, said = guest.run(f"echo mine >'{path}'")
        assert (code, "Read-only file system" in said) == (2, True), f"{path}: {code} {said}"


def is_able(guest: Guest) -> None:
    """A program has its capability, and may use it."""
    guest.out(f"touch /tmp/mine && {AS_NOBODY} {prototype.ABLE} 1234:0 /tmp/mine")
    assert guest.out("stat -c %u /tmp/mine") == "1234"


def test_overlay(lab: BootLab) -> None:
    with booted(lab, "overlay") as guest:
        assert guest.mounted("/").kind == "overlay"
        assert guest.mounted("/made").kind == "tmpfs"
        assert guest.out("gitstate drift") == ""
        assert guest.out(f"cat {LISTED}") == "of the prototype"
        can_write(guest, LISTED, ODD, "/etc/written", "/usr/bin/written", "/var/lib/written", "/tmp/written")
        is_able(guest)


def test_local(lab: BootLab) -> None:
    with booted(lab, "local") as guest:
        root = guest.mounted("/")
        assert (root.kind, "ro" in root.options) == ("nfs", True)
        assert guest.out("ls -d /made; systemctl is-active made.mount; :").endswith("inactive")
        assert guest.out(f"cat {LISTED} '{ODD}'").split("\n") == ["of the prototype"] * 2
        assert guest.mounted("/etc/local").kind == "tmpfs"
        assert guest.out(f"readlink {LISTED}") == "local/motd"
        can_write(guest, LISTED, ODD, "/var/lib/written", "/var/log/written", "/var/tmp/written", "/tmp/written")
        can_write(guest, "/root/written", "/etc/ssh/written")
        cannot_write(guest, "/etc/written", "/usr/bin/written", "/etc/passwd", "/written")
        is_able(guest)
        assert guest.out("stat -c %a /tmp /var/tmp").split() == ["1777", "1777"]


def test_tmpfs_root(lab: BootLab) -> None:
    with booted(lab, "tmpfs-root") as guest:
        assert guest.mounted("/").kind == "tmpfs"
        usr = guest.mounted("/usr")
        assert (usr.kind, "ro" in usr.options) == ("nfs", True)
        assert guest.out(f"cat {LISTED}") == "of the prototype"
        can_write(guest, LISTED, ODD, "/etc/written", "/var/lib/written", "/written", "/root/written", "/tmp/written")
        cannot_write(guest, "/usr/bin/written", "/var/lib/dpkg/written")
        is_able(guest)
        assert "overlay" not in {line.split()[2] for line in guest.out("cat /proc/mounts").splitlines()}


def test_an_overlay_on_a_scratch_disk(lab: BootLab, scratch: Path) -> None:
    with booted(lab, "overlay", scratch) as guest:
        disk = guest.mounted("/run/gitstate/scratch")
        assert (disk.kind, disk.source) == ("ext4", "/dev/disk/by-label/scratch")
        can_write(guest, LISTED, "/usr/bin/written")
        assert "on the disk" in guest.out(
            "echo on the disk >/root/it; sync; grep -r 'on the disk' /run/gitstate/scratch"
        )
        assert guest.run("ls /run/gitstate/scratch/gitstate/left")[0] == 2
        assert guest.out("cat /run/gitstate/scratch/mine") == "of somebody else"
        is_able(guest)


def test_listed_files_on_a_scratch_disk(lab: BootLab, scratch: Path) -> None:
    with booted(lab, "local", scratch) as guest:
        assert guest.mounted("/etc/local").kind == "ext4"
        can_write(guest, LISTED, ODD, "/var/lib/written")
        cannot_write(guest, "/usr/bin/written")
