"""A tag changes what a machine boots next; a rollback gives the old one back."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.lab import prototype
from tests.lab.bootlab import SITE, BootLab, boot_lab
from tests.lab.guest import Guest
from tests.support import needs, root_only

pytestmark = [
    pytest.mark.lab,
    root_only,
    needs("rpcbind", "ganesha.nfsd", "dnsmasq", "nginx", "qemu-system-x86_64", "mmdebstrap"),
    pytest.mark.xdist_group("boot"),
]

MAC = "52:54:00:00:00:01"


@pytest.fixture(scope="module")
def lab() -> Iterator[BootLab]:
    """A channel that runs the snapshot ``one``, by a plain tag, and a client that follows it."""
    with boot_lab() as lab:
        lab.gitstate("channel", "create", "lab3", "--prototype", prototype.NAME)
        lab.gitstate("client", "add", "lab3-1", "--mac", MAC, "--channel", "lab3")
        tag(lab, "lab3/1", prototype.ONE)
        lab.write()
        lab.servers.start()
        yield lab


@pytest.fixture(scope="module")
def guest(lab: BootLab) -> Guest:
    """The machine, once it is up."""
    guest = lab.boot(MAC, reboots=True)
    guest.wait_for_shell()
    return guest


def tag(lab: BootLab, name: str, revision: str) -> None:
    """A tag by plain git, published."""
    repository = SITE / "prototypes" / f"{prototype.NAME}.git"
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    words = ("git", "-C", str(repository), *who, "tag", "-a", name, "-m", name, f"{revision}^{{commit}}")
    done = lab.net.run(*words, environment=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert f"{name} = {prototype.NAME}" in lab.gitstate("reconcile")


def runs(guest: Guest) -> tuple[str, str]:
    """The release that the machine was told to boot, and the one that its files are of."""
    return guest.out(". /run/gitstate/about && echo $RELEASE"), guest.out(f"cat {prototype.VERSION}")


def test_a_machine_boots_what_its_channel_runs(guest: Guest) -> None:
    assert runs(guest) == ("lab3/1", prototype.ONE)


def test_a_tag_changes_what_it_boots_next(lab: BootLab, guest: Guest) -> None:
    tag(lab, "lab3/2", prototype.TWO)
    assert runs(guest) == ("lab3/1", prototype.ONE)
    guest.reboot()
    guest.wait_for_shell()
    assert runs(guest) == ("lab3/2", prototype.TWO)


def test_a_rollback_gives_the_old_one_back(lab: BootLab, guest: Guest) -> None:
    assert lab.gitstate("rollback", "lab3").startswith("lab3 runs lab3/1 again, as lab3/3")
    guest.reboot()
    guest.wait_for_shell()
    assert runs(guest) == ("lab3/3", prototype.ONE)
