"""Runs docs/netboot.md in a lab: commands on the server, power-on, the machine's screen, commands on the machine.

``python -m tests.lab.netboot_page --write`` puts what is printed now into the page. The page says what happens between
its blocks by comments: ``<!-- lab: start -->`` starts the servers that are configured, ``<!-- lab: power on MAC -->``
a machine, ``<!-- lab: reboot -->`` reboots the one that runs. A block ``console`` is typed on the server, a block
``machine`` on the machine; of a block ``screen`` every line comes on the machine's console, in this order.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests import roots
from tests.docs.console import masked
from tests.docs.pages import Fence, fences, prose
from tests.lab.guest import Guest
from tests.lab.netlab import BRIDGE, NetLab, netlab
from tests.lab.prototype import furnish
from tests.lab.servers import Servers, foreign_dhcp, router
from tests.support import PROJECT

PAGE: Final = PROJECT / "docs" / "netboot.md"
ETC: Final = Path("/etc")
_EVENT: Final = re.compile(r"<!-- lab: (.*?) -->")
_PROMPT: Final = re.compile(r"(?:# |[a-z0-9-]+# )(.*)")
_INTERFACE: Final = "eth1"

# The page's server has a /srv and an /etc of its own; what it writes there goes with the lab.
_SET_UP: Final = """
set -e
mount -t tmpfs -o mode=755 lab /srv
mkdir /run/etc /run/etc/upper /run/etc/work
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc/upper,workdir=/run/etc/work lab /etc
sed -i '/^gitstate:/d' /etc/group /etc/gshadow
mkdir /srv/gitstate
mount --bind "$1" /srv/gitstate
"""

# What mmdebstrap would make, made before.
_MMDEBSTRAP: Final = """\
#!/bin/sh
for last; do :; done
exec tar -C "$last" --numeric-owner --xattrs --xattrs-include='*' -xf {tarball}
"""


@dataclass
class Run:
    """The page's server and its machine; ``faults`` is where the page shows what isn't so."""

    lab: NetLab
    servers: Servers
    programs: Path
    site: Path
    guest: Guest | None = None
    seen: int = 0
    faults: list[str] = field(default_factory=list)

    def on_server(self, command: str) -> str:
        """What a command prints on the server."""
        environment = {
            "PATH": f"{self.programs}:{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.programs),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "COLUMNS": "80",
            "PYTHONPATH": str(PROJECT),
        }
        line = f"exec 2>&1; {command.replace(_INTERFACE, BRIDGE)}"
        done = self.lab.run("bash", "-c", line, environment=environment)
        live = self.site / "live" / "desktop"
        if "prototype create" in command and live.is_dir():
            furnish(live)
        return done.stdout.replace(BRIDGE, _INTERFACE)

    def on_machine(self, command: str) -> str:
        """What a command prints on the machine."""
        assert self.guest is not None
        return self.guest.run(command)[1]

    def happen(self, what: str) -> None:
        """What the page's reader does by hand."""
        words = what.split()
        if words == ["start"]:
            self.servers.restart(*self.servers.running)
            self.servers.start()
        elif words[:2] == ["power", "on"]:
            if self.guest is not None:
                self.guest.power_off()
            self.guest = self.lab.boot(words[2], reboots=True)
        elif words == ["reboot"]:
            assert self.guest is not None
            self.guest.reboot()
        else:
            raise ValueError(f"{PAGE.name}: nobody knows how to {what}")
        self.seen = 0

    def check_screen(self, fence: Fence) -> None:
        """Wait for every line of a block, one after the other."""
        assert self.guest is not None
        for line in fence.lines:
            words = [re.escape(part) for part in re.split(r"[0-9a-f]{40}", line.strip())]
            pattern = "[0-9a-f]{40}".join(words)
            found = self.guest.wait_for(rf"(?s)\A.{{{self.seen}}}.*?{pattern}")
            self.seen = found.end()


@contextmanager
def stage() -> Iterator[Run]:
    """A server with nothing on it yet, in a network where another machine gives addresses."""
    tarball = roots.tarball(roots.BOOTABLE)
    with tempfile.TemporaryDirectory(prefix="gitstate-page-") as own, netlab() as lab, ExitStack() as stack:
        programs, site = Path(own, "bin"), Path(own, "site")
        programs.mkdir()
        site.mkdir()
        for name, text in (
            ("mmdebstrap", _MMDEBSTRAP.format(tarball=tarball)),
            ("gitstate", f'#!/bin/sh\nexec {sys.executable} -m gitstate "$@"\n'),
            (".gitconfig", "[user]\n\tname = Ada Lovelace\n\temail = ada@example.org\n"),
        ):
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        lab.do("sh", "-c", _SET_UP, "sh", str(site))
        router(lab)
        stack.enter_context(foreign_dhcp(lab))
        yield Run(lab, Servers(lab, ETC), programs, site)


def events(text: str) -> list[tuple[int, Fence | str]]:
    """What happens on the page, in its order: blocks that are run, and what the reader does."""
    found: list[tuple[int, Fence | str]] = [
        (fence.line, fence) for fence in fences(text) if fence.language in ("console", "machine", "screen")
    ]
    for number, line in enumerate(prose(text).splitlines(), 1):
        found += [(number, match[1]) for match in _EVENT.finditer(line)]
    return sorted(found, key=lambda item: item[0])


def perform(text: str, run: Run) -> str:
    """Do all that the page says; the page as it would be with the output of now."""
    lines = text.split("\n")
    replaced: list[tuple[int, int, list[str]]] = []
    for _, event in events(text):
        if isinstance(event, str):
            run.happen(event)
        elif event.language == "screen":
            run.check_screen(event)
        else:
            speak = run.on_server if event.language == "console" else run.on_machine
            replaced.append((event.line - 1, event.line - 1 + len(event.lines), _block(event, speak, run)))
    for first, last, new in reversed(replaced):
        lines[first:last] = new
    return "\n".join(lines)


def _block(fence: Fence, speak: Callable[[str], str], run: Run) -> list[str]:
    """A block with the output of now; one that differs by nothing but masked parts stays as it is."""
    new: list[str] = []
    for line in fence.lines:
        if match := _PROMPT.match(line):
            new += [line, *speak(match[1]).rstrip("\n").splitlines()]
    if masked("\n".join(new)) == masked("\n".join(fence.lines)):
        return fence.lines
    page = "\n".join(fence.lines)
    run.faults.append(f"{PAGE.name}:{fence.line}:\n--- the page\n{page}\n--- now\n" + "\n".join(new))
    return new


def main() -> None:
    """Check the page, or write it anew."""
    text = PAGE.read_text("utf-8")
    with stage() as run:
        try:
            new = perform(text, run)
        except AssertionError:
            print("\n\n".join(run.faults))
            raise
    if "--write" in sys.argv[1:]:
        PAGE.write_text(new, "utf-8")
    else:
        print("\n\n".join(run.faults))
        sys.exit(bool(run.faults))


if __name__ == "__main__":
    main()
