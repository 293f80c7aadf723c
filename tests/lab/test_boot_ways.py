"""Boots that are not plain: servers away, machines that nobody knows, other firmware, the other NFS."""

from __future__ import annotations

import time
from typing import Final

import pytest

from tests.lab import prototype
from tests.lab.bootlab import PROXY, BootLab, boot_lab
from tests.lab.guest import Firmware, Guest
from tests.support import needs, root_only

pytestmark = [
    pytest.mark.lab,
    root_only,
    needs("rpcbind", "ganesha.nfsd", "dnsmasq", "nginx", "qemu-system-x86_64", "mmdebstrap"),
    pytest.mark.xdist_group("boot-ways"),
]

NAME: Final = "lab3-7"
MAC: Final = "52:54:00:00:00:07"
STRANGER: Final = "52:54:00:00:00:99"
AWAY_SECONDS: Final = 20


def known(lab: BootLab) -> None:
    """One machine that may boot."""
    lab.client(NAME, MAC, prototype.ONE)
    lab.write()


def is_up(guest: Guest) -> None:
    """It has booted, as itself, and well."""
    guest.wait_for(f"^{NAME} login: ")
    guest.wait_for_shell()
    assert guest.out(f"cat {prototype.VERSION}") == prototype.ONE
    assert guest.run("systemctl is-system-running --wait")[1] == "running", guest.out("systemctl --failed --no-pager")


def test_all_servers_are_away_at_power_on() -> None:
    with boot_lab() as lab:
        known(lab)
        guest = lab.boot(MAC, reboots=True)
        time.sleep(AWAY_SECONDS)
        assert "Linux version" not in guest.console
        lab.servers.start()
        is_up(guest)


def test_nfs_is_away_when_the_kernel_wants_its_root() -> None:
    with boot_lab() as lab:
        known(lab)
        lab.servers.start("dnsmasq", "nginx")
        guest = lab.boot(MAC)
        guest.wait_for(r"gitstate: .*10\.77\.0\.1.*NFS 3")
        time.sleep(AWAY_SECONDS)
        lab.servers.start()
        is_up(guest)


def test_nfs_4() -> None:
    with boot_lab(nfs_version="4.2") as lab:
        known(lab)
        lab.servers.start()
        guest = lab.boot(MAC)
        is_up(guest)
        assert "vers=4.2" in guest.mounted("/run/gitstate/lower").options
        assert guest.out(f"getcap {prototype.ABLE}") == f"{prototype.ABLE} cap_chown=ep"


def test_uefi_without_ipxe_of_its_own() -> None:
    """The firmware's PXE loads our iPXE by TFTP; another server gives the addresses."""
    with boot_lab(foreign=True, **PROXY) as lab:
        known(lab)
        lab.servers.start()
        guest = lab.boot(MAC, firmware=Firmware.UEFI, rom=False)
        is_up(guest)
        assert guest.run("test -d /sys/firmware/efi")[0] == 0


def test_a_machine_that_nobody_knows() -> None:
    """It says so, and which it is; the server lists it; made known, it boots without being touched."""
    with boot_lab(foreign=True, **PROXY) as lab:
        known(lab)
        lab.servers.start()
        guest = lab.boot(STRANGER)
        guest.wait_for("not known to gitstate")
        guest.wait_for(STRANGER)
        assert STRANGER in lab.gitstate("client", "list", "--new")
        assert MAC not in lab.gitstate("client", "list", "--new")
        lab.client("lab3-99", STRANGER, prototype.TWO)
        lab.write()
        guest.wait_for("^lab3-99 login: ")
        assert STRANGER not in lab.gitstate("client", "list", "--new")
