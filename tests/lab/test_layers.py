"""Two machines of different labs and graphics cards boot one export, and each finds what its layers say: in all states.

Their classes aren't known to the server when they are first powered on: the boot hook chooses by what is on their PCI
bus. One starts by BIOS, the other by UEFI.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.lab import prototype
from tests.lab.bootlab import BootLab, boot_lab
from tests.lab.guest import Firmware, Guest
from tests.lab.netlab import SERVER
from tests.support import needs, root_only

pytestmark = [
    pytest.mark.lab,
    root_only,
    needs("rpcbind", "ganesha.nfsd", "dnsmasq", "nginx", "qemu-system-x86_64", "mmdebstrap", "ssh-keygen"),
    pytest.mark.xdist_group("layers"),
]

NAME: Final = "shared"
CHANNEL: Final = "labs"
LISTED: Final = ("/etc/fstab", "/etc/lab-file", "/etc/lab-class", "/etc/motd")
KEY: Final = "/etc/ssh/ssh_host_ed25519_key"


@dataclass(frozen=True)
class Its:
    """One of the two machines."""

    name: str
    lab: str
    mac: str
    kind: str
    device: str
    firmware: Firmware


FIRST: Final = Its("lab3-1", "lab3", "52:54:00:00:00:31", "cirrus", "cirrus-vga,romfile=", Firmware.BIOS)
SECOND: Final = Its("lab4-1", "lab4", "52:54:00:00:00:32", "std", "VGA,romfile=", Firmware.UEFI)
BOTH: Final = (FIRST, SECOND)


@pytest.fixture(scope="module")
def lab() -> Iterator[BootLab]:
    """A channel with layers for two labs and two classes, and a machine in each."""
    with boot_lab() as lab:
        make_prototype(lab)
        make_layers(lab)
        lab.gitstate("class", "set", "cirrus", "1013:*:03")
        lab.gitstate("class", "set", "std", "1234:*:03")
        lab.gitstate("channel", "create", CHANNEL, "--prototype", NAME)
        for its in BOTH:
            lab.gitstate("client", "add", its.name, "--mac", its.mac, "--channel", CHANNEL)
        lab.gitstate("push", NAME, CHANNEL, "--yes")
        lab.write()
        lab.servers.start()
        yield lab


def make_prototype(lab: BootLab) -> None:
    """One that has a list of files for the state ``local``, and lets people in by ssh."""
    lab.gitstate("prototype", "create", NAME, "--from", f"{prototype.NAME}@{prototype.ONE}")
    live = lab.site / "live" / NAME
    for path in LISTED:
        (live / path[1:]).write_text("of the prototype\n")
    (live / "etc/ssh").mkdir(exist_ok=True)
    sshd = live / "usr/sbin/sshd"
    sshd.write_text("#!/bin/sh\n")
    sshd.chmod(0o755)
    lab.gitstate("layer", "create", "base")
    lab.gitstate("local", "add", NAME, *LISTED)
    lab.gitstate("checkin", NAME, "-m", "with a list")


def make_layers(lab: BootLab) -> None:
    live = lab.site / "live"
    (live / "base/etc/fstab").unlink()
    (live / "base/etc/fstab.j2").write_text("# fstab of {{ host }}, {{ state }}\n")
    lab.gitstate("checkin", "base", "-m", "fstab")
    for layer, path, text in [
        ("lab/lab3", "lab-file", "printer 3\n"),
        ("lab/lab4", "lab-file", "printer 4\n"),
        ("class/cirrus", "lab-class", "cirrus\n"),
        ("class/std", "lab-class", "std\n"),
    ]:
        lab.gitstate("layer", "create", layer)
        (live / layer / "etc").mkdir()
        (live / layer / "etc" / path).write_text(text)
        lab.gitstate("checkin", layer, "-m", f"{layer} has its {path}")


@pytest.fixture(scope="module")
def guests(lab: BootLab) -> Iterator[dict[str, Guest]]:
    """Both machines, on at the same time."""
    found = {its.name: lab.boot(its.mac, firmware=its.firmware, reboots=True, devices=(its.device,)) for its in BOTH}
    yield found
    for guest in found.values():
        guest.power_off()


def has_its_own(lab: BootLab, guest: Guest, its: Its, state: str) -> None:
    """What a machine shows from inside."""
    guest.wait_for(f"^{its.name} login: ", 300)
    guest.wait_for_shell()
    assert guest.out("sed -n s/^STATE=//p /run/gitstate/about") == state
    assert guest.out("hostname") == its.name
    assert guest.out("cat /etc/fstab") == f"# fstab of {its.name}, {state}"
    assert guest.out("cat /etc/lab-file") == f"printer {its.lab[3:]}"
    assert guest.out("cat /etc/lab-class") == its.kind
    assert guest.out("stat -c '%a %u' " + KEY) == "600 0"
    assert guest.out(f"cat {KEY}.pub") == (lab.site / f"secrets/{its.name}{KEY}.pub").read_text().strip()
    told = guest.out("gitstate about").splitlines()
    assert f"classes    {its.kind}" in told
    assert [line.split()[1] for line in told if line.startswith("layer ")] == ["base", f"lab/{its.lab}"]
    assert guest.out("systemctl is-system-running --wait || systemctl --failed --no-pager") == "running"


def in_state(lab: BootLab, guests: dict[str, Guest], state: str) -> None:
    """Both machines, after a reboot into another state."""
    lab.gitstate("client", "set", *(its.name for its in BOTH), "--state", state)
    lab.write()
    for guest in guests.values():
        guest.reboot()
    for its in BOTH:
        has_its_own(lab, guests[its.name], its, state)


def test_each_finds_its_own_with_a_root_that_is_an_overlay(lab: BootLab, guests: dict[str, Guest]) -> None:
    for its in BOTH:
        has_its_own(lab, guests[its.name], its, "overlay")
    exports = [*(lab.site / "exports" / NAME).iterdir()]
    assert len(exports) == 1


def test_the_server_tells_who_set_each_file(lab: BootLab) -> None:
    for its in BOTH:
        assert f"lab/{its.lab}" in lab.gitstate("layer", "which", its.name, "/etc/lab-file")
        assert "base" in lab.gitstate("layer", "which", its.name, "/etc/fstab")


def test_relayer_brings_what_was_pushed_by_http_and_by_tftp(lab: BootLab, guests: dict[str, Guest]) -> None:
    live = lab.site / "live/lab/lab3/etc/lab-file"
    guest, other = guests[FIRST.name], guests[SECOND.name]
    live.write_text("printer 33\n")
    lab.gitstate("checkin", "lab/lab3", "-m", "another printer")
    lab.gitstate("push", "lab/lab3", CHANNEL, "--yes")
    assert guest.out("gitstate relayer").splitlines() == ["change   /etc/lab-file", f"{CHANNEL}/2: 1 done"]
    assert guest.out("cat /etc/lab-file") == "printer 33"
    assert f"release    {CHANNEL}/2" in guest.out("gitstate about")
    assert other.out("gitstate relayer") == f"{CHANNEL}/2: nothing to do"
    live.write_text("printer 3\n")
    lab.gitstate("checkin", "lab/lab3", "-m", "the old printer")
    lab.gitstate("push", "lab/lab3", CHANNEL, "--yes")
    by_tftp = f"gitstate relayer --from tftp://{SERVER}/boot/channel/{CHANNEL}.ipxe"
    assert guest.out(by_tftp).splitlines() == ["change   /etc/lab-file", f"{CHANNEL}/3: 1 done"]
    assert guest.out("cat /etc/lab-file") == "printer 3"


def test_an_error_in_a_template_changes_nothing_for_anyone(lab: BootLab, guests: dict[str, Guest]) -> None:
    template = lab.site / "live/base/etc/fstab.j2"
    good = template.read_text()
    template.write_text("{{ nothing }}\n")
    lab.gitstate("checkin", "base", "-m", "wrong")
    lab.gitstate("push", "base", CHANNEL, "--yes", code=7)
    template.write_text(good)
    lab.gitstate("checkin", "base", "-m", "right again")
    for guest in guests.values():
        assert guest.out("gitstate relayer") == f"{CHANNEL}/3: nothing to do"


def test_each_finds_its_own_where_listed_files_alone_are_writable(lab: BootLab, guests: dict[str, Guest]) -> None:
    in_state(lab, guests, "local")


def test_each_finds_its_own_with_a_root_in_memory(lab: BootLab, guests: dict[str, Guest]) -> None:
    in_state(lab, guests, "tmpfs-root")
    guest = guests[FIRST.name]
    live = lab.site / "live/lab/lab3/etc/lab-file"
    live.write_text("printer 333\n")
    lab.gitstate("checkin", "lab/lab3", "-m", "a third one")
    lab.gitstate("push", "lab/lab3", CHANNEL, "--yes")
    assert guest.out("gitstate relayer").endswith("1 done")
    assert guest.out("cat /etc/lab-file") == "printer 333"
