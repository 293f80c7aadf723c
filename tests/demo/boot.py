"""A machine without a disk boots from a snapshot, and then from the next: `./run demo --boot`.

A network of its own, real servers and a machine in QEMU, on this computer alone. All it writes stands below one
directory; what a server writes to the system's own places goes to file systems in memory.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests import roots
from tests.lab.bootlab import SITE, BootLab, lab_around
from tests.lab.guest import Guest
from tests.lab.prototype import furnish
from tests.support import PROJECT

MAC: Final = "52:54:00:12:34:56"
NAME: Final = "lab3-12"
LIVE: Final = SITE / "live" / "desktop"
BOLD, PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
GREY: Final = "\033[2m" if sys.stdout.isatty() else ""


def step(text: str) -> None:
    """The heading of what comes."""
    print(f"\n{BOLD}== {text}{PLAIN}", flush=True)


class Server:
    """The machine that serves, as its admin sees it: every command is shown, then run."""

    def __init__(self, lab: BootLab) -> None:
        self.lab = lab

    def __call__(self, *words: str) -> None:
        """Run one command in the lab; it has to succeed, or the demo ends."""
        print(f"{BOLD}srv# {shlex.join(words)}{PLAIN}", flush=True)
        program = [sys.executable, "-m", "gitstate"] if words[0] == "gitstate" else [words[0]]
        environment = {**os.environ, "GITSTATE_SITE": str(SITE), "PYTHONPATH": str(PROJECT)}
        done = subprocess.run(self.lab.net.inside([*program, *words[1:]]), env=environment, check=False)
        if done.returncode:
            sys.exit(f"demo: that ended with {done.returncode}")


def show_line(line: str) -> None:
    """A line of the machine's console; if it is wider than the terminal, each part has the machine's name in front."""
    prefix = f"  {NAME}| "
    width = max(shutil.get_terminal_size().columns - len(prefix) - 1, 20)
    for start in range(0, len(line), width):
        print(f"{GREY}{prefix}{line[start : start + width]}{PLAIN}", flush=True)


@contextmanager
def shown(guest: Guest) -> Iterator[None]:
    """The machine's console, as it comes, while the block runs."""
    done = threading.Event()

    def follow() -> None:
        seen = 0
        while True:
            last = done.is_set()
            lines = guest.console.split("\n")
            for line in lines[seen:] if last else lines[seen:-1]:
                if line.strip():
                    show_line(line.rstrip())
            seen = len(lines) - 1
            if last:
                return
            done.wait(0.2)

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        yield
    finally:
        done.set()
        follower.join()


def ask(guest: Guest, command: str) -> None:
    """A command on the machine that has booted."""
    print(f"{BOLD}{NAME}# {command}{PLAIN}\n{guest.run(command)[1]}", flush=True)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Say so if the block takes more than a second, with the seconds on a terminal."""
    done = threading.Event()

    def count() -> None:
        start = time.monotonic()
        if done.wait(1):
            return
        print(f"  {text}", flush=True)
        while sys.stdout.isatty() and not done.wait(1):
            print(f"\r  {time.monotonic() - start:.0f} s ", end="", flush=True)
        if sys.stdout.isatty():
            print("\r\033[K", end="", flush=True)

    counter = threading.Thread(target=count)
    counter.start()
    try:
        yield
    finally:
        done.set()
        counter.join()


def state_of(site: Path) -> str:
    """What an admin can change in a site: commits, tags and releases, and what isn't checked in yet."""
    repositories = sorted([*site.glob("*.git"), *site.glob("prototypes/*.git"), *site.glob("layers/**/*.git")])
    told = [
        subprocess.run(["git", f"--git-dir={one}", "for-each-ref"], capture_output=True, text=True, check=False).stdout
        for one in repositories
    ]
    command = [sys.executable, "-m", "gitstate", "--site", str(site), "status", "desktop"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return "".join(
        [*told, subprocess.run(command, capture_output=True, text=True, env=environment, check=False).stdout]
    )


def clear(place: Path, *, sure: bool) -> None:
    """Remove an earlier demo; one that was changed since it ended only if somebody says so."""
    before = place / "state"
    changed = (place / "site").exists() and not (before.exists() and before.read_text() == state_of(place / "site"))
    if changed and not sure:
        print(f"demo: {place / 'site'} has changed since the last demo ended, and this one would delete it", flush=True)
        if not sys.stdin.isatty():
            print("  delete it with --yes, or choose another directory with --dir")
            sys.exit(4)
        if not input("Delete it and begin anew? [y/N] ").lower().startswith("y"):
            print("nothing done")
            sys.exit(0)
    shutil.rmtree(place, ignore_errors=True)


def prepare_site(server: Server, tarball: Path) -> None:
    """From nothing to a release, and a client that follows it."""
    step("a site on the network of the machines, and a prototype")
    server("gitstate", "init", "--interface", "br0")
    server.lab.configure(dhcp="own")
    server("gitstate", "prototype", "create", "desktop", "--from", str(tarball))
    furnish(server.lab.site / "live" / "desktop")
    step("made fit to boot, checked in")
    server("gitstate", "prepare", "desktop")
    server("gitstate", "checkin", "desktop", "-m", "bookworm, ready to boot")
    step("what machines of lab3 have of their own: a layer")
    server("gitstate", "layer", "create", "lab/lab3")
    write_layer(server, "Welcome to {{ host }} of {{ lab }}, {{ ip }}")
    server("gitstate", "checkin", "lab/lab3", "-m", "lab3 says welcome")
    step("who runs what, and what machines boot from")
    server("gitstate", "channel", "create", "lab3", "--prototype", "desktop")
    server("gitstate", "client", "add", NAME, "--mac", MAC, "--ip", "10.77.0.112", "--channel", "lab3")
    server("gitstate", "push", "desktop", "lab3", "--yes")
    server("gitstate", "boot", "write")


def write_layer(server: Server, text: str) -> None:
    """The lab's message of the day, as a template."""
    etc = f"{SITE}/live/lab/lab3/etc"
    server("sh", "-c", f"mkdir -p {etc}; echo {shlex.quote(text)} >{etc}/motd.j2")


def first_boot(server: Server) -> Guest:
    step("the servers run; is all well?")
    server.lab.servers.start()
    server("gitstate", "doctor")
    step(f"power on: {NAME}, {MAC}, without a disk")
    started = time.monotonic()
    guest = server.lab.boot(MAC, reboots=True)
    with shown(guest):
        guest.wait_for(f"^{NAME} login: ")
    print(f"power-on to login prompt: {time.monotonic() - started:.1f} s")
    ask(guest, "for place in / /run/gitstate/lower; do findmnt -no TARGET,FSTYPE,SOURCE $place; done")
    ask(guest, "touch /etc/written && ls -l /etc/written; getcap /usr/bin/ping; cat /etc/motd; gitstate about")
    return guest


def new_layer(server: Server, guest: Guest) -> None:
    step("another layer reaches the machine while it runs")
    write_layer(server, "Welcome to {{ host }} of {{ lab }}: the printer is print3")
    server("gitstate", "checkin", "lab/lab3", "-m", "a printer")
    server("gitstate", "push", "lab/lab3", "lab3", "--yes")
    ask(guest, "gitstate relayer; cat /etc/motd")
    server("gitstate", "layer", "which", NAME, "/etc/motd")


def next_boot(server: Server, guest: Guest) -> None:
    step("the admin edits the live tree and pushes it; the machine reboots")
    server("sh", "-c", f"echo 'second snapshot' >{LIVE}/etc/issue")
    server("gitstate", "checkin", "desktop", "-m", "a new issue")
    server("gitstate", "push", "desktop", "lab3", "--yes")
    guest.reboot()
    with shown(guest):
        guest.wait_for("iPXE")
        guest.wait_for(f"^{NAME} login: ")
    ask(guest, "cat /etc/issue /etc/motd; ls /etc/written")
    step("who changed what, by plain git")
    server("git", "-C", f"{SITE}/prototypes/desktop.git", "--no-pager", "log", "-p", "--format=%h %an: %s", "-1")
    server("git", "-C", f"{SITE}/site.git", "--no-pager", "log", "--format=%h %an: %s", "lab3")
    step("and all of it back")
    server("gitstate", "rollback", "lab3", "lab3/1")


def main() -> None:
    """The demo."""
    parser = argparse.ArgumentParser(prog="./run demo --boot", description=__doc__)
    parser.add_argument("--dir", type=Path, default=PROJECT / ".work" / "demo-boot", help="where all of it stands")
    parser.add_argument("--yes", action="store_true", help="replace an earlier site although it has changed")
    parsed = parser.parse_args()
    place = parsed.dir.absolute()
    if os.geteuid():
        sys.exit("demo: networks and root file systems are root's: run this as root")
    step("a small Debian with a kernel, by mmdebstrap (kept in .work/roots)")
    with waiting("building it takes a minute; the next demo finds it there"):
        tarball = roots.tarball(roots.BOOTABLE)
    clear(place, sure=parsed.yes)
    (place / "site").mkdir(parents=True)
    with lab_around(place / "site") as lab:
        server = Server(lab)
        prepare_site(server, tarball)
        guest = first_boot(server)
        new_layer(server, guest)
        next_boot(server, guest)
    (place / "state").write_text(state_of(place / "site"))
    step("where everything is")
    print(f"  site  {place / 'site'}   (in the demo's own network it stood at {SITE})")
    print(f"  clean up: rm -rf --one-file-system {place} {PROJECT / '.work/roots'}")
    print("  how to do this with real machines: docs/netboot.md")


if __name__ == "__main__":
    main()
