"""Two machines boot one snapshot, by proxy DHCP beside another server; one goes to the next snapshot and back.

The stories share the machines, in the order in which they stand here: a boot takes half a minute.
"""

from __future__ import annotations

import hashlib
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.gitstate_command import Site, git
from tests.lab import prototype
from tests.lab.bootlab import PROXY, SITE, BootLab, boot_lab
from tests.lab.guest import Guest
from tests.support import needs, root_only

pytestmark = [
    pytest.mark.lab,
    root_only,
    needs("rpcbind", "ganesha.nfsd", "dnsmasq", "nginx", "qemu-system-x86_64", "mmdebstrap"),
    pytest.mark.xdist_group("boot"),
]

MACS: Final = {"lab3-1": "52:54:00:00:00:01", "lab3-2": "52:54:00:00:00:02"}
STAYS, MOVES = MACS
REBOOT_SECONDS: Final = 30
AS_NOBODY: Final = "setpriv --reuid=65534 --regid=65534 --clear-groups"
AS_USER: Final = "setpriv --reuid=1000 --regid=1000 --clear-groups"


@dataclass(frozen=True)
class Pair:
    """The lab and its two machines."""

    lab: BootLab
    guests: dict[str, Guest]

    @property
    def both(self) -> list[tuple[str, Guest]]:
        return list(self.guests.items())

    def commit(self, tag: str) -> str:
        """The commit that a tag of the prototype names."""
        return prototype.commit(self.lab.site, tag)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Both machines have booted the snapshot ``one``."""
    with boot_lab(foreign=True, **PROXY) as lab:
        for name, mac in MACS.items():
            lab.client(name, mac, prototype.ONE)
        lab.write()
        lab.servers.start()
        guests = {name: lab.boot(mac, reboots=name == MOVES) for name, mac in MACS.items()}
        for guest in guests.values():
            guest.wait_for_shell()
        yield Pair(lab, guests)


def test_each_machine_has_its_own_name(pair: Pair) -> None:
    uuid = tomllib.loads((pair.lab.site / "site.toml").read_text())["uuid"]
    for name, guest in pair.both:
        guest.wait_for(f"^{name} login: ")
        assert guest.out("hostname") == name
        assert name in guest.out("getent hosts $(hostname)").split()
        expected = hashlib.sha256(f"{uuid}\0{name}".encode()).hexdigest()[:32]
        assert guest.out("cat /etc/machine-id") == expected


def test_the_root_is_read_only_nfs_and_the_machine_writes_over_it(pair: Pair) -> None:
    for name, guest in pair.both:
        assert guest.mounted("/").kind == "overlay"
        lower = guest.mounted("/run/gitstate/lower")
        assert lower.source == f"10.77.0.1:{SITE}/exports/{prototype.NAME}/{pair.commit(prototype.ONE)}"
        assert lower.kind == "nfs"
        assert {"ro", "vers=3", "nocto"} <= lower.options
        code, message = guest.run("touch /run/gitstate/lower/etc/written")
        assert (code, "Read-only file system" in message) == (1, True), message
        guest.out(f"echo {name} >/etc/written && echo changed >{prototype.VERSION} && rm /etc/issue")
        assert guest.out(f"cat /etc/written {prototype.VERSION}").split() == [name, "changed"]
    export = pair.lab.site / "exports" / prototype.NAME / pair.commit(prototype.ONE)
    assert (export / prototype.VERSION[1:]).read_text() == "one\n"
    assert (export / "etc/issue").exists()
    assert not (export / "etc/written").exists()


def test_a_capability_is_there_and_works(pair: Pair) -> None:
    for _, guest in pair.both:
        assert guest.out(f"getcap {prototype.ABLE}") == f"{prototype.ABLE} cap_chown=ep"
        guest.out(f"touch /tmp/mine && {AS_NOBODY} {prototype.ABLE} 1234:0 /tmp/mine")
        assert guest.out("stat -c %u /tmp/mine") == "1234"
        code, _ = guest.run(f"{AS_NOBODY} chown 4321 /tmp/mine")
        assert code == 1


def test_an_acl_is_there_and_works(pair: Pair) -> None:
    for _, guest in pair.both:
        assert "system.posix_acl_access" in guest.out(f"getfattr -m - --absolute-names {prototype.SHARED}")
        guest.out(f"{AS_USER} touch {prototype.SHARED}/theirs")
        code, _ = guest.run(f"{AS_NOBODY} touch {prototype.SHARED}/nobodys")
        assert code == 1


def test_nothing_fails_because_of_us(pair: Pair) -> None:
    for name, guest in pair.both:
        _, state = guest.run("systemctl is-system-running --wait")
        failed = guest.out("systemctl --failed --no-legend --plain")
        assert (state, failed) == ("running", ""), f"{name}: {guest.out('journalctl -b --no-pager -p warning')}"


def test_the_machine_knows_what_it_runs(pair: Pair) -> None:
    commit = pair.commit(prototype.ONE)
    for name, guest in pair.both:
        about = guest.out(". /run/gitstate/about && echo $SNAPSHOT $HOST $MAC")
        assert about.split() == [f"{prototype.NAME}@{commit}", name, MACS[name]]


def test_the_clock_is_not_before_the_snapshot(pair: Pair) -> None:
    repository = Site(pair.lab.site).repository(prototype.NAME)
    floor = int(git(repository, "log", "-1", "--format=%ct", prototype.ONE))
    for _, guest in pair.both:
        assert int(guest.out("date +%s")) >= floor


def test_another_server_gave_the_addresses(pair: Pair) -> None:
    """And ours said what to boot: nobody else did."""
    for _, guest in pair.both:
        addresses = guest.out("ip -4 -o addr show scope global").split()
        address = addresses[addresses.index("inet") + 1]
        assert 50 <= int(address.removeprefix("10.77.0.").removesuffix("/24")) <= 99, addresses


def test_what_a_boot_reads_is_counted(pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    for name, guest in pair.both:
        traffic = guest.traffic()
        with capsys.disabled():
            size = traffic.bytes_read / 1e6
            print(f"\n{name}: {traffic.reads} READs, {size:.1f} MB, {traffic.calls} calls by NFS", file=sys.stderr)
        assert 100 < traffic.reads < 3000
        assert 5 < size < 120


def test_a_reboot_takes_less_than_half_a_minute(pair: Pair) -> None:
    """And a pin makes it boot the next snapshot."""
    guest = pair.guests[MOVES]
    move(pair, prototype.TWO)
    started = time.monotonic()
    guest.reboot()
    guest.wait_for("iPXE", REBOOT_SECONDS)
    assert time.monotonic() - started < REBOOT_SECONDS


def test_a_pinned_machine_runs_the_newer_snapshot(pair: Pair) -> None:
    guest = pair.guests[MOVES]
    guest.wait_for_shell()
    assert guest.out(f"cat {prototype.VERSION}") == prototype.TWO
    assert guest.out(". /run/gitstate/about && echo $COMMIT") == pair.commit(prototype.TWO)
    assert digest_of(guest) == digest(prototype.TWO)


def test_the_other_runs_on_with_the_older_one(pair: Pair) -> None:
    """It reads a file that it never opened before, after the newer snapshot was written and booted."""
    assert digest_of(pair.guests[STAYS]) == digest(prototype.ONE)


def test_back_to_the_older_snapshot(pair: Pair) -> None:
    guest = pair.guests[MOVES]
    move(pair, prototype.ONE)
    guest.reboot()
    guest.wait_for_shell()
    assert guest.out(f"cat {prototype.VERSION}") == prototype.ONE
    assert digest_of(guest) == digest(prototype.ONE)
    assert guest.run("test -e /etc/written")[0] == 1


def move(pair: Pair, tag: str) -> None:
    """Pin the machine that moves to another snapshot."""
    pair.lab.gitstate("client", "set", MOVES, "--pin", f"{prototype.NAME}@{tag}")
    pair.lab.write()


def digest(tag: str) -> str:
    return hashlib.md5(prototype.unread(tag).encode()).hexdigest()


def digest_of(guest: Guest) -> str:
    return guest.out(f"md5sum {prototype.UNREAD}").split()[0]
