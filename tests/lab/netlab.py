"""A network of its own, with real servers, and machines that boot from them.

Everything runs in namespaces of its own (network, mounts, processes). Their first process waits for the end of a pipe
of ours: when the block ends, or we are killed, the kernel kills all that still runs there and takes network and mounts
with it. So nothing has to be found and removed afterwards, and two labs never meet.

What a server writes to the system's own places (`/run`, `/var/lib/nfs`) goes to file systems in memory.
"""

from __future__ import annotations

import itertools
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.lab.guest import Firmware, Guest, Machine
from tests.lab.program import Program, children
from tests.support import require, require_root

BRIDGE: Final = "br0"
SERVER: Final = "10.77.0.1"
START_SECONDS: Final = 30

_SET_UP: Final = f"""
set -e
mount -t tmpfs -o mode=755 lab /run
mount -t tmpfs -o mode=755 lab /var/lib/nfs
mkdir /run/rpcbind /run/ganesha /run/sendsigs.omit.d
ip link set lo up
ip link add {BRIDGE} type bridge
ip addr add {SERVER}/24 dev {BRIDGE}
ip addr add fd77::1/64 dev {BRIDGE} nodad
ip link set {BRIDGE} up
echo ready
cat >/dev/null # as a child: meanwhile the shell buries what the lab's programs leave behind
exit
"""


@dataclass
class NetLab:
    """The network ``10.77.0.0/24`` (``fd77::/64``) on the bridge `BRIDGE`, on which we are `SERVER`."""

    place: Path
    first: int
    programs: list[Program] = field(default_factory=list)
    machines: list[Guest] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def inside(self, words: Sequence[str]) -> list[str]:
        """The command line that runs ``words`` in the lab. It starts in ``/``."""
        return ["nsenter", f"--target={self.first}", "--net", "--mount", "--pid", "--", *words]

    def run(self, *words: str, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program in the lab to its end."""
        return subprocess.run(
            self.inside(words), env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def do(self, *words: str) -> str:
        """Run a program in the lab that has to succeed; what it prints."""
        done = self.run(*words)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def file(self, name: str) -> Path:
        """A file of the lab's own, such as a log, that no other has."""
        return self.place / f"{next(self._numbers)}-{name}"

    def start(self, *words: str, ready: Callable[[Program], bool], log: Path | None = None) -> Program:
        """Run a program in the lab in the background, and return when it is ``ready``. ``log``: its own log."""
        require(words[0])
        program = Program.start(words[0], self.inside(words), self.file(f"{words[0]}.output"), log)
        self.programs.append(program)
        deadline = time.monotonic() + START_SECONDS
        while not ready(program):
            if program.ended or time.monotonic() > deadline:
                raise RuntimeError(f"{words[0]} is not ready within {START_SECONDS} s:\n{program.words()}")
            time.sleep(0.01)
        return program

    def listens(self, protocol: str, port: int) -> bool:
        """Whether a program of the lab listens on a port (``udp``, ``tcp``, ``udp6``, ``tcp6``)."""
        lines = Path(f"/proc/{self.first}/net/{protocol}").read_text().splitlines()[1:]
        state = "0A" if protocol.startswith("tcp") else "07"
        return any(f":{port:04X} " in f"{words[1]} " and words[3] == state for words in map(str.split, lines))

    def seen(self, path: str) -> Path:
        """A path of the lab as it is reached from outside."""
        return Path(f"/proc/{self.first}/root{path}")

    def boot(
        self,
        mac: str,
        *,
        firmware: Firmware = Firmware.BIOS,
        rom: bool = True,
        reboots: bool = False,
        memory: int = 1024,
        devices: tuple[str, ...] = (),
        disk: Path | None = None,
    ) -> Guest:
        """Power on a machine without a disk.

        ``rom``: its network card carries iPXE; without, UEFI has PXE of its own, and a BIOS has none.
        ``reboots``: a reboot doesn't end it.
        """
        number = next(self._numbers)
        tap = f"tap{number}"
        self.do("ip", "tuntap", "add", "dev", tap, "mode", "tap")
        self.do("ip", "link", "set", tap, "master", BRIDGE, "up")
        place = self.place / f"{number}-guest"
        place.mkdir()
        machine = Machine(mac, tap, place, firmware, rom, reboots, memory, devices, disk)
        guest = Guest(machine, self.inside, self.words)
        self.machines.append(guest)
        return guest

    def close(self) -> None:
        """Wait for the end of all that the kernel killed with the lab."""
        for guest in self.machines:
            guest.close()
        for program in self.programs:
            program.process.wait()

    def words(self) -> str:
        """The last words of all programs, for a message."""
        return "\n".join(program.words() for program in self.programs)


@contextmanager
def netlab() -> Iterator[NetLab]:
    """A lab that ends with the block."""
    require_root()
    require("ip", "unshare", "nsenter")
    with tempfile.TemporaryDirectory(prefix="gitstate-lab-") as own:
        holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "sh", "-c", _SET_UP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert holder.stdin
        assert holder.stdout
        lab = None
        try:
            if holder.stdout.readline() != b"ready\n":
                raise RuntimeError("the lab's namespaces could not be made; see above")
            lab = NetLab(Path(own), children(holder.pid)[0])
            yield lab
        finally:
            holder.stdin.close()
            holder.wait()
            holder.stdout.close()
            if lab:
                lab.close()
