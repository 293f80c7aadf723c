"""Edits on a machine without a disk become a review by ssh; merged and pushed, another machine boots with them.

Client, network and server are killed in the middle first: nothing is half recorded.
"""

from __future__ import annotations

import base64
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.gitstate_command import Site, git
from tests.lab import prototype
from tests.lab.bootlab import SITE, BootLab, boot_lab
from tests.lab.guest import Guest
from tests.lab.netlab import SERVER
from tests.lab.program import children
from tests.support import PROJECT, needs, root_only

pytestmark = [
    pytest.mark.lab,
    root_only,
    needs("rpcbind", "ganesha.nfsd", "dnsmasq", "nginx", "qemu-system-x86_64", "mmdebstrap", "sshd", "dpkg-deb"),
    pytest.mark.xdist_group("checkin"),
]

NAME: Final = "edited"
MACS: Final = {"lab3-1": "52:54:00:00:00:41", "lab3-2": "52:54:00:00:00:42"}
FIRST, SECOND = MACS
TOOL: Final = "/usr/bin/lab-tool"
TO: Final = f"--to root@{SERVER}"
PATIENCE: Final = 120
SLOW: Final = 300
"""Seconds for what takes two where nobody else computes."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BootLab]:
    """A channel with a layer, two machines that follow it, and an sshd for the key of machines."""
    place = tmp_path_factory.mktemp("sshd")
    place.chmod(0o755)
    for name in ("host_key", "machine_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)], check=True)
    with boot_lab() as lab:
        lab.gitstate("prototype", "create", NAME, "--from", f"{prototype.NAME}@{prototype.ONE}")
        lab.gitstate("checkin", NAME, "-m", "as it boots")
        known = f"{SERVER} {' '.join((place / 'host_key.pub').read_text().split()[:2])}\n"
        for layer, path, text in [("base", "ssh/ssh_known_hosts", known), ("lab/lab3", "lab-file", "printer 3\n")]:
            lab.gitstate("layer", "create", layer)
            file = lab.site / "live" / layer / "etc" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            lab.gitstate("checkin", layer, "-m", path)
        lab.gitstate("channel", "create", "lab3", "--prototype", NAME)
        for name, mac in MACS.items():
            lab.gitstate("client", "add", name, "--mac", mac, "--channel", "lab3")
            lab.gitstate("secret", "add", name, "/etc/gitstate/report_key", str(place / "machine_key"))
        lab.gitstate("push", NAME, "lab3", "--yes")
        lab.write()
        lab.servers.start()
        start_sshd(lab, place)
        yield lab


def start_sshd(lab: BootLab, place: Path) -> None:
    """root's only key has a forced command: the account of a real server is tested in tests/release."""
    words = [
        "env",
        f"PYTHONPATH={PROJECT}",
        f"GITSTATE_SITE={SITE}",
        sys.executable,
        "-m",
        "gitstate",
        "serve",
        "--machine",
    ]
    (place / "keys").write_text(f'command="{shlex.join(words)}",restrict {(place / "machine_key.pub").read_text()}')
    (place / "config").write_text(
        f"ListenAddress {SERVER}\nHostKey {place}/host_key\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {place}/keys\nPermitRootLogin forced-commands-only\nPasswordAuthentication no\n"
        "ClientAliveInterval 1\nClientAliveCountMax 3\n"
    )
    lab.net.do("mkdir", "-p", "-m", "0755", "/run/sshd")
    command = f"exec /usr/sbin/sshd -D -e -f {place}/config"  # it wants to be started by its whole path
    lab.net.start("sh", "-c", command, ready=lambda _: lab.net.listens("tcp", 22))


@pytest.fixture(scope="module")
def guest(lab: BootLab) -> Guest:
    """The machine that is edited."""
    guest = lab.boot(MACS[FIRST], reboots=True)
    guest.wait_for_shell(SLOW)
    guest.wait_for(f"^{FIRST} login: ", SLOW)
    return guest


def reviews(lab: BootLab) -> list[str]:
    """The branches of reviews, in all repositories."""
    found = []
    for path in (*(lab.site / "prototypes").glob("*.git"), *(lab.site / "layers").glob("**/*.git")):
        found += git(path, "for-each-ref", "--format=%(refname:short)", "refs/heads/checkin/").split()
    return found


def places(lab: BootLab) -> set[Path]:
    """Where the server puts what it is receiving."""
    return set((lab.site / f"prototypes/{NAME}.git/gitstate").glob("scratch-*"))


def wait(what: str, test: object, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not test():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def begin(lab: BootLab, guest: Guest) -> None:
    """A check-in of a large file that the server is in the middle of receiving."""
    before = places(lab)
    send = f"gitstate checkin {TO} /srv/large >/tmp/said 2>&1; echo $? >/tmp/code"
    guest.out(f"rm -f /tmp/code; ({send}) >/dev/null 2>&1 &", SLOW)
    wait("the check-in doesn't begin", lambda: places(lab) - before)


def last_descendant(pid: int) -> int:
    """The program at the end of a session: gitstate itself."""
    while below := children(pid):
        pid = below[-1]
    return pid


def server_is_done(lab: BootLab, sshd: int) -> None:
    wait("a session of the server doesn't end", lambda: not children(sshd))


@pytest.fixture(scope="module")
def sshd(lab: BootLab) -> int:
    """The process that waits for connections."""
    (program,) = (one for one in lab.net.programs if one.name == "sh")
    return children(program.process.pid)[0]


def test_a_fresh_boot_has_nothing_to_check_in(guest: Guest) -> None:
    assert guest.out("gitstate checkin", SLOW).splitlines() == ["nothing to check in"]


def test_killed_on_either_side_or_cut_off_nothing_is_recorded(lab: BootLab, guest: Guest, sshd: int) -> None:
    guest.out("head -c 20000000 /dev/urandom >/srv/large", SLOW)
    begin(lab, guest)
    guest.out("kill -9 $(pidof ssh)")
    guest.out("until [ -s /tmp/code ]; do sleep 0.1; done", SLOW)
    server_is_done(lab, sshd)
    assert reviews(lab) == []

    begin(lab, guest)
    os.kill(last_descendant(sshd), signal.SIGKILL)
    assert guest.out("until [ -s /tmp/code ]; do sleep 0.1; done; cat /tmp/code", SLOW) in ("6", "255", "137", "1")
    server_is_done(lab, sshd)
    assert reviews(lab) == []

    begin(lab, guest)
    tap = guest.machine.tap
    lab.net.do("ip", "link", "set", tap, "nomaster")
    server_is_done(lab, sshd)
    assert reviews(lab) == []
    lab.net.do("ip", "link", "set", tap, "master", "br0")
    assert guest.out("until [ -s /tmp/code ]; do sleep 0.1; done; cat /tmp/code", SLOW) == "6"
    guest.out("rm /srv/large")


def package(place: Path) -> bytes:
    """A small package."""
    root = place / "tool"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: lab-tool\nVersion: 1\nArchitecture: all\nMaintainer: lab <lab@example.org>\nDescription: a tool\n"
    )
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/bin/lab-tool").write_text("#!/bin/sh\necho tool\n")
    (root / "usr/bin/lab-tool").chmod(0o755)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", root, place / "tool.deb"], check=True)
    return (place / "tool.deb").read_bytes()


def test_edits_and_a_package_become_a_review(lab: BootLab, guest: Guest, tmp_path: Path) -> None:
    guest.out(f"echo edited >{prototype.VERSION} && echo '# scratch' >>/etc/fstab && rm /etc/issue")
    guest.out("echo 'printer 33' >/etc/lab-file")
    text = base64.b64encode(package(tmp_path)).decode()
    guest.out(f"echo {text} | base64 -d >/tmp/tool.deb && dpkg -i /tmp/tool.deb", SLOW)
    started = time.monotonic()
    said = guest.out(f"gitstate checkin {TO} -m 'with a tool'", SLOW)
    with_ssh = time.monotonic() - started
    print(f"\n{said}\n{with_ssh:.1f} s on the machine", file=sys.stderr)
    (review,) = set(reviews(lab))
    changes = git(Site(lab.site).repository(NAME), "diff", "--name-status", "--no-renames", f"{review}^", review)
    found = [line for line in changes.splitlines() if not line.endswith(".gitstate")]
    assert found == [
        "M\tetc/fstab",
        "D\tetc/issue",
        f"M\t{prototype.VERSION[1:]}",
        f"A\t{TOOL[1:]}",
        *(f"A\tvar/lib/dpkg/info/lab-tool.{kind}" for kind in ("list", "md5sums")),
        "M\tvar/lib/dpkg/status",
    ]
    layer = git(lab.site / "layers/lab/lab3.git", "diff", "--name-status", f"{review}^", review)
    assert layer.splitlines()[0] == "M\tetc/lab-file" or "M\tetc/lab-file" in layer.splitlines()
    author = git(Site(lab.site).repository(NAME), "log", "-1", "--format=%ae %s", review).strip()
    assert author == f"root@{FIRST} with a tool"


def test_merged_and_pushed_all_machines_have_them(lab: BootLab, guest: Guest) -> None:
    (review,) = set(reviews(lab))
    lab.gitstate("review", "merge", review)
    assert reviews(lab) == []
    lab.gitstate("push", "lab/lab3", "lab3", "--yes")
    lab.gitstate("push", NAME, "lab3", "--yes")
    guest.reboot()
    other = lab.boot(MACS[SECOND])
    for one in (guest, other):
        one.wait_for_shell(SLOW)
        assert one.out(f"cat {prototype.VERSION}; cat /etc/lab-file; lab-tool", SLOW) == "edited\nprinter 33\ntool"
        assert one.run("test -e /etc/issue")[0] == 1
        assert one.out("tail -n 1 /etc/fstab") == "# scratch"
        assert one.out("dpkg-query -W -f '${db:Status-Status}' lab-tool") == "installed"
    assert guest.out("gitstate drift", SLOW) == ""
    assert guest.out("gitstate checkin", SLOW) == "nothing to check in"
