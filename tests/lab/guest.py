"""A machine without a disk, in QEMU: its console, and a root shell on its second serial line.

The console (``ttyS0``) is what a person at the machine sees, from the firmware's first word on; QEMU writes it to a
file, so nothing is lost and nothing waits for us to read. The root shell is apart from it (``ttyS1``), so that no
message of the kernel falls into an answer: see `tests.lab.prototype`.
"""

from __future__ import annotations

import os
import re
import secrets
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, NoReturn

from tests.lab.program import Program
from tests.support import require, unavailable

# What its kernel is told. norandmaps: QEMU translates a program anew for each address that it runs at, and is slowest
# where translations of one page pile up: an initrd that runs busybox a hundred times loses 3 s when memory is cleared.
ARGUMENTS: Final = "console=ttyS0 net.ifnames=0 norandmaps"
SHELL_READY: Final = "lab shell is ready"
BOOT_SECONDS: Final = 180
COMMAND_SECONDS: Final = 60
_LINE: Final = 4000
_OVMF: Final = Path("/usr/share/OVMF/OVMF_CODE.fd")
_ESCAPES: Final = re.compile(r"\x1b(?:\[[0-9;?=]*[A-Za-z]|[()][A-Z0-9]|[A-Z])|\r")


class Firmware(Enum):
    """What starts a machine."""

    BIOS = "bios"
    UEFI = "uefi"


@dataclass(frozen=True)
class Machine:
    """What a machine is made of."""

    mac: str
    tap: str
    place: Path
    firmware: Firmware
    rom: bool
    reboots: bool
    memory: int
    devices: tuple[str, ...] = ()
    """Further ones, as QEMU names them."""
    disk: Path | None = None
    """A file that is its disk."""

    def command(self) -> list[str]:
        """QEMU's command line. A BIOS that finds nothing to boot from tries again, as most real ones do."""
        words = ["qemu-system-x86_64", "-accel", "tcg,thread=single", "-cpu", "max,-erms", "-m", str(self.memory)]
        words += ["-nodefaults", "-display", "none", "-monitor", "none"]
        for number in (0, 1):
            line = self.place / f"ttyS{number}"
            words += ["-chardev", f"pipe,id=s{number},path={line}", "-serial", f"chardev:s{number}"]
        words += ["-netdev", f"tap,id=n0,ifname={self.tap},script=no,downscript=no"]
        words += ["-device", f"virtio-net-pci,netdev=n0,mac={self.mac}{'' if self.rom else ',romfile='}"]
        words += ["-object", "rng-random,id=r0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=r0"]
        for device in self.devices:
            words += ["-device", device]
        if self.disk is not None:
            words += ["-drive", f"file={self.disk},if=virtio,format=raw"]
        if self.firmware is Firmware.UEFI:
            words += ["-machine", "q35", "-bios", str(_OVMF)]
        else:
            words += ["-machine", "pc,graphics=off", "-boot", "order=n,reboot-timeout=2000"]
        return words if self.reboots else [*words, "-no-reboot"]


@dataclass(frozen=True)
class Traffic:
    """What a machine asked its NFS server for."""

    reads: int
    bytes_read: int
    calls: int


@dataclass(frozen=True)
class Mount:
    """A line of a machine's /proc/mounts."""

    source: str
    kind: str
    options: frozenset[str]


class Guest:
    """A machine that was powered on."""

    def __init__(
        self, machine: Machine, inside: Callable[[Sequence[str]], list[str]], words: Callable[[], str]
    ) -> None:
        require("qemu-system-x86_64")
        if machine.firmware is Firmware.UEFI and not _OVMF.exists():
            unavailable(f"missing: {_OVMF}")
        self.machine = machine
        self._words = words
        self._forgotten = [0, 0]
        self._typed = []
        for line in self._lines():
            line.touch()
            os.mkfifo(line.with_suffix(".in"))
            # For reading too: QEMU must never wait for a writer, nor see an end.
            self._typed.append(os.open(line.with_suffix(".in"), os.O_RDWR | os.O_NONBLOCK))
        self.started = time.monotonic()
        self.program = Program.start("qemu", inside(machine.command()), machine.place / "qemu.log")

    def _lines(self) -> list[Path]:
        return [self.machine.place / f"ttyS{number}.out" for number in (0, 1)]

    @property
    def console(self) -> str:
        """All that stood on the console since `forget`."""
        return self._text(0)

    @property
    def age(self) -> float:
        """Seconds since power-on."""
        return time.monotonic() - self.started

    def _text(self, line: int) -> str:
        with open(self._lines()[line], "rb") as file:
            file.seek(self._forgotten[line])
            return _ESCAPES.sub("", file.read().decode(errors="backslashreplace"))

    def forget(self) -> None:
        """Wait only for what comes from now on: for the time before a reboot."""
        self._forgotten = [line.stat().st_size for line in self._lines()]

    def wait_for(self, pattern: str, seconds: float = BOOT_SECONDS) -> re.Match[str]:
        """Wait until the console shows ``pattern``. The error of a machine that never does holds the whole console."""
        return self._wait(0, pattern, seconds)

    def wait_for_shell(self, seconds: float = BOOT_SECONDS) -> None:
        """Wait until `run` can be asked."""
        self._wait(1, SHELL_READY, seconds)

    def _wait(self, line: int, pattern: str, seconds: float) -> re.Match[str]:
        deadline = time.monotonic() + seconds
        expression = re.compile(pattern, re.MULTILINE)
        while not (found := expression.search(self._text(line))):
            if self.program.ended or time.monotonic() > deadline:
                self._fail(f"no {pattern!r} on ttyS{line} within {seconds} s", line)
            time.sleep(0.05)
        return found

    def _fail(self, what: str, line: int) -> NoReturn:
        shell = f"\n--- shell:\n{self._text(1)}" if line else ""
        end = "and the machine is off" if self.program.ended else ""
        raise AssertionError(
            f"{self.machine.mac}: {what} {end}\n--- console:\n{self.console}{shell}\n"
            f"{self.program.words()}\n{self._words()}"
        )

    def run(self, command: str, seconds: float = COMMAND_SECONDS) -> tuple[int, str]:
        """Run a line of shell as root in the machine: its exit code, and what it printed."""
        mark = secrets.token_hex(8)
        line = f"sh -c {shlex.quote(command)} </dev/null 2>&1; printf '\\n%s %s\\n' {mark} $?\n".encode()
        if len(line) > _LINE or line.count(b"\n") > 1:
            raise ValueError(f"a command is one line of less than {_LINE} bytes: {command!r}")
        self.wait_for_shell()
        before = len(self._text(1))
        os.write(self._typed[1], line)
        found = self._wait(1, rf"(?s)\A.{{{before}}}(.*)\n{mark} (\d+)\n", seconds)
        return int(found[2]), found[1].removesuffix("\n")

    def reboot(self) -> None:
        """Tell the machine to reboot, and forget what it said before."""
        self.wait_for_shell()
        self.forget()
        os.write(self._typed[1], b"systemctl reboot\n")

    def out(self, command: str, seconds: float = COMMAND_SECONDS) -> str:
        """What a line of shell prints that has to succeed."""
        code, text = self.run(command, seconds)
        assert code == 0, f"{self.machine.mac}: {command}: {code}\n{text}"
        return text

    def mounted(self, path: str) -> Mount:
        """What is mounted at a path, last."""
        lines = [line.split() for line in self.out("cat /proc/mounts").splitlines()]
        source, _, kind, options, *_ = [words for words in lines if words[1] == path][-1]
        return Mount(source, kind, frozenset(options.split(",")))

    def traffic(self) -> Traffic:
        """What the machine has read by NFS since it was powered on."""
        text = self.out("cat /proc/self/mountstats")
        mounts = [part for part in text.split("device ") if re.search(r" with fstype nfs4? ", part)]
        assert mounts, text
        operations = [
            (name, int(count)) for part in mounts for name, count in re.findall(r"^\t\s*([A-Z_]+): (\d+) ", part, re.M)
        ]
        volumes = [int(words.split()[4]) for part in mounts for words in re.findall(r"^\tbytes:\t(.*)", part, re.M)]
        reads = sum(count for name, count in operations if name == "READ")
        return Traffic(reads, sum(volumes), sum(count for _, count in operations))

    def power_off(self) -> None:
        """Off at once, with nothing shut down."""
        self.program.stop()

    def wait_for_end(self, seconds: float = BOOT_SECONDS) -> None:
        """Wait until the machine has switched itself off."""
        try:
            self.program.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._fail(f"not off within {seconds} s", 0)

    def close(self) -> None:
        """Off, and nothing of it left open."""
        self.power_off()
        while self._typed:
            os.close(self._typed.pop())
