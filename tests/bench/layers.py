"""Layers of many machines: rendered at a push, laid over a root at boot, compared on a running machine."""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from gitstate.store.site import Site
from tests.bench.machines import FILES, LAYERS, ONE, PROTOTYPE, TEMPLATES, WORKLOADS, Machines, expect
from tests.bench.measure import MB, BenchError, Contender, Row, run_untimed
from tests.bench.stage import gitstate_command
from tests.bench.trees import fresh
from tests.client.harness import only_busybox

CLIENTS: Final = 1000
OWN: Final = 300
"""So many have layers by their names and addresses."""
ROOM: Final = 8 << 30
PROGRAMS: Final = ("busybox", "dash", "cpio", "setfattr", "mount")
NAMES: Final = (
    "render-first",
    "render-one",
    "client-set",
    "resolve",
    "which",
    "boot",
    "relayer-dash",
    "relayer-busybox",
)
VERBS: Final = frozenset(("push", "channel", "client", "layer", "export"))
_HOOKS: Final = Path(__file__).resolve().parents[2] / "hooks"
_PARTS: Final = ("messages", "arguments", "network", "root", "archive", "layers", "state", "machine")
_LAYS: Final = (
    "set -u\nquiet=\ngitstate_has_warned=y gitstate_archive=x gitstate_state=overlay\n"
    "gitstate_run=$1/run gitstate_sys=$1/sys gitstate_proc=$1/proc\nshift\n"
    'for part; do . "$part"; done\n'
    'gitstate_layers "$gitstate_run/../initrd/gitstate/machine" "$gitstate_run/../root"\n'
)


@dataclass(frozen=True, slots=True)
class Harness:
    """The machines, and a place for what is done with one archive."""

    machines: Machines
    place: Path
    environment: Mapping[str, str]
    rounds: Iterator[int] = field(default_factory=itertools.count)

    @property
    def channel(self) -> str:
        """The channel that all machines follow."""
        return (self.place / "channel").read_text()

    @property
    def said(self) -> Path:
        """What the last command printed."""
        return self.place / "said"

    def gitstate(self, *words: str) -> list[str]:
        """A command whose output is kept."""
        argv = [*gitstate_command(), "--site", str(self.machines.site.path), *words]
        return ["sh", "-c", f'exec "$@" >{shlex.quote(str(self.said))}', "sh", *argv]

    def do(self, *argv: str | Path) -> str:
        """A command that only prepares."""
        return run_untimed([str(word) for word in argv], self.environment)


def about() -> dict[str, object]:
    """What is measured, for the report."""
    text = f"{CLIENTS:,} clients of one channel, {LAYERS} layers each, {FILES} files, {TEMPLATES} of them templates"
    return {"name": "layers", "about": f"{text}; {OWN} have layers of their own"}


@contextmanager
def rows(work: Path, environment: Mapping[str, str], count: int = CLIENTS, own: int = OWN) -> Iterator[list[Row]]:
    """The rows; what they need is made below ``work``, and unmounted in the end."""
    place = work / "place"
    place.mkdir()
    harness = Harness(Machines(Site(work / "site"), count, own), place, environment)
    machine = Machine(harness)
    try:
        yield [*_pushes(harness), *_asked(harness), _boot(machine), *_relayers(machine)]
    finally:
        machine.unmount()
        subprocess.run(["umount", "-q", str(place / "floor" / "tree")], check=False, capture_output=True)


def versions(base: Mapping[str, str]) -> dict[str, str]:
    """Of whoever takes part."""
    busybox = run_untimed(["busybox"], os.environ).split()[1].removeprefix("v")
    return {"gitstate": base["gitstate"], "git": base["git"], "jinja2": version("jinja2"), "busybox": busybox}


# --- the server -------------------------------------------------------------------------------------------------------


def _pushes(harness: Harness) -> Iterator[Row]:
    machines, count = harness.machines, harness.machines.count
    first = Contender(
        "gitstate push",
        lambda: [harness.gitstate("push", PROTOTYPE, harness.channel, "--yes")],
        partial(_another_channel, harness),
        lambda: check_rendered(harness, count),
    )
    floor = harness.place / "floor"
    by_hand = Contender(
        "jinja2, cpio",
        lambda: [[sys.executable, "-m", "tests.bench.render_floor", str(floor), str(count)]],
        lambda: fresh(floor / "archives"),
        lambda: expect(len(list((floor / "archives").iterdir())), count, "archives made by hand"),
    )

    def ready() -> None:
        machines.make()
        _make_floor(harness, floor)

    what = f"first render, {count:,} clients"
    yield Row("render-first", what, [first, by_hand], VERBS, ready, seconds=30, memory=400 * MB)
    again = Contender(
        f"gitstate push host/{ONE}",
        lambda: [harness.gitstate("push", f"host/{ONE}", harness.channel, "--yes")],
        lambda: machines.edit(next(harness.rounds)),
        lambda: check_rendered(harness, 1),
    )
    yield Row("render-one", "after one host layer changed", [again], VERBS, seconds=1, memory=400 * MB)


def _another_channel(harness: Harness) -> None:
    """The only one, and nothing is rendered for it yet."""
    named = harness.place / "channel"
    channel = f"all{next(harness.rounds)}"
    harness.do(*harness.gitstate("channel", "create", channel, "--prototype", PROTOTYPE))
    harness.machines.follow(channel)
    if named.exists():
        harness.do(*harness.gitstate("channel", "remove", harness.channel, "--yes"))
    named.write_text(channel)


def check_rendered(harness: Harness, rendered: int) -> None:
    """What the command says that it did, and whether the archives are new files, or links to those of before."""
    count = harness.machines.count
    told = f"machine archives: {count}" + (f", {rendered} of them rendered" if rendered != count else "")
    if told not in (line.strip() for line in harness.said.read_text().splitlines()):
        raise BenchError(f"it doesn't say {told!r}: {harness.said.read_text()}")
    archives = harness.machines.archives(harness.channel)
    expect(len(archives), count, "archives")
    expect(sum(path.stat().st_nlink == 1 for path in archives.values()), rendered, "archives that are new")


def _make_floor(harness: Harness, floor: Path) -> None:
    """As many files and templates as one machine gets; what is written anew for each machine stands in memory."""
    machines, tree = harness.machines, floor / "tree"
    tree.mkdir(parents=True)
    harness.do("mount", "-t", "tmpfs", "tmpfs", tree)
    one = next(client for client in machines.clients("") if client.name == ONE)
    names = ("base", f"network/10.77.{ONE[3]}.0_24", f"class/{one.classes[0]}", f"workload/{one.workload}")
    for name in (*names, f"lab/{ONE[:4]}", f"host/{ONE}", f"ip/{one.ips[0]}"):
        live = machines.site.live_path(name)
        for path in (path for path in live.rglob("*") if path.is_file() and path.parent != live):
            place = floor / ("templates" if path.suffix == ".j2" else "tree") / path.relative_to(live)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    found = [sum(path.is_file() for path in (floor / name).rglob("*")) for name in ("tree", "templates")]
    expect(found, [FILES - TEMPLATES, TEMPLATES], "files and templates of a machine")


def _asked(harness: Harness) -> Iterator[Row]:
    """What people ask and do one machine at a time."""

    def line(text: str) -> None:
        if text not in harness.said.read_text():
            raise BenchError(f"{text!r} is not in {harness.said.read_text()}")

    def row(name: str, what: str, words: Sequence[str], wanted: str) -> Row:
        title = f"gitstate {words[0]} {words[1]}"
        asked = Contender(title, lambda: [harness.gitstate(*words)], check=lambda: line(wanted))
        return Row(name, what, [asked], VERBS)

    inodes: list[int] = []

    def archive() -> int:
        return harness.machines.archives(harness.channel)[ONE].stat().st_ino

    def check() -> None:
        if archive() == inodes[-1]:
            raise BenchError(f"{ONE} has the archive that it had")

    workloads = itertools.cycle(name for name in reversed(WORKLOADS))

    def another() -> list[list[str]]:
        return [harness.gitstate("client", "set", ONE, "--workload", next(workloads))]

    client = Contender("gitstate client set", another, lambda: inodes.append(archive()), check)
    yield Row("client-set", "one client gets another workload", [client], VERBS)
    yield row("resolve", "the layers of a machine", ("layer", "resolve", ONE), f"host/{ONE}")
    path = "/etc/default/base-0.conf"
    yield row("which", "who set a file", ("layer", "which", ONE, path), f"{path}: base sets it, rendered")


# --- the machine ------------------------------------------------------------------------------------------------------


class Machine:
    """An overlay in memory, an archive unpacked as the kernel does it, and the programs of an initramfs."""

    def __init__(self, harness: Harness) -> None:
        self._harness = harness
        self.memory = harness.place / "memory"
        self.root = self.memory / "root"
        self.lower = harness.place / "lower"
        self.archive = harness.place / "archive.cpio"
        self.programs = harness.place / "bin"

    def ready(self) -> None:
        """Take a machine's archive, and make what it is laid over."""
        archives = self._harness.machines.archives(self._harness.channel)
        shutil.copy(archives[ONE], self.archive)
        if not self.programs.exists():
            only_busybox(self.programs)
            self._harness.do(
                *gitstate_command(), "--site", self._harness.machines.site.path, "export", PROTOTYPE, "--to", self.lower
            )

    def boot(self) -> None:
        """A fresh overlay, and the archive in the initramfs."""
        self.unmount()
        self.memory.mkdir(exist_ok=True)
        self._harness.do("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", self.memory)
        for name in ("upper", "overlay", "root", "run/gitstate/lower", "sys/bus/pci/devices", "proc", "initrd"):
            (self.memory / name).mkdir(parents=True)
        layers = f"lowerdir={self.lower},upperdir={self.memory}/upper,workdir={self.memory}/overlay"
        self._harness.do("mount", "-t", "overlay", "-o", layers, "overlay", self.root)
        self._harness.do("sh", "-c", 'cd "$1" && cpio -idm --quiet <"$2"', "sh", self.memory / "initrd", self.archive)

    def lay(self) -> list[str]:
        """The boot hook, from the shell's start to its end."""
        path = f"PATH={self.programs}"
        parts = [str(_HOOKS / "boot" / part) for part in _PARTS]
        return ["env", "-i", path, f"{self.programs}/sh", "-c", _LAYS, "sh", str(self.memory), *parts]

    def copy(self) -> list[str]:
        """The same files, by cpio alone."""
        script = 'cd "$1/root" && cpio -idmu <"$1/files.cpio"'
        return ["env", "-i", f"PATH={self.programs}", f"{self.programs}/sh", "-c", script, "sh", str(self.memory)]

    def pack(self) -> None:
        """For ``copy``: the files of the archive as they will stand."""
        self.boot()
        script = 'cd "$1/initrd/gitstate/machine/files" && find . | cpio -o -H newc --quiet >"$1/files.cpio"'
        self._harness.do("sh", "-c", script, "sh", self.memory)

    def check(self) -> None:
        """Raises BenchError unless all files of the layers stand in the root."""
        wanted = sum(path.is_file() for path in (self.memory / "initrd/gitstate/machine/files").rglob("*"))
        expect(sum(path.is_file() for path in (self.memory / "upper").rglob("*")), wanted, "files laid over the root")
        if wanted < FILES:
            raise BenchError(f"the archive has only {wanted} files")

    def relayer(self, *shell: str | Path, path: str) -> list[str]:
        """The client program, of the archive that it was booted with."""
        words = {"PATH": path, "GITSTATE_ROOT": self.root, "GITSTATE_LIB": _HOOKS, "TMPDIR": self.memory}
        environment = [f"{key}={value}" for key, value in words.items()]
        program = f"{_HOOKS}/client/gitstate"
        return ["env", "-i", *environment, *map(str, shell), program, "relayer", "--from", str(self.archive)]

    def settle(self) -> None:
        """A machine that runs and has nothing to do."""
        self.boot()
        self._harness.do(*self.lay())
        (self.root / "run/gitstate/lower").mkdir(parents=True)
        self._harness.do("mount", "--bind", self.lower, self.root / "run/gitstate/lower")
        self._harness.do("cp", "-a", self.memory / "run/gitstate/machine", self.root / "run/gitstate/machine")
        self._harness.do(*self.relayer("dash", path=self._harness.environment["PATH"]))

    def unmount(self) -> None:
        """Nothing of it is left."""
        for place in (self.root / "run/gitstate/lower", self.root, self.memory):
            subprocess.run(["umount", "-q", str(place)], check=False, capture_output=True)


def _boot(machine: Machine) -> Row:
    ours = Contender("hooks/boot/layers, busybox", lambda: [machine.lay()], machine.boot, machine.check)
    peer = Contender("busybox cpio -idmu", lambda: [machine.copy()], machine.pack, machine.check)
    what = f"an archive of {FILES} files at boot"
    return Row("boot", what, [ours, peer], VERBS, machine.ready, seconds=0.5)


def _relayers(machine: Machine) -> Iterator[Row]:
    shells = {
        "dash, GNU": ("dash", partial(machine.relayer, "dash", path="/usr/sbin:/usr/bin:/sbin:/bin")),
        "busybox": ("busybox", partial(machine.relayer, machine.programs / "sh", path=str(machine.programs))),
    }
    for title, (name, command) in shells.items():
        said = machine.memory / "said"

        def commands(command: partial[list[str]] = command, said: Path = said) -> list[list[str]]:
            return [["sh", "-c", f'exec "$@" >{shlex.quote(str(said))}', "sh", *command()]]

        def check(said: Path = said) -> None:
            if not said.read_text().endswith(": nothing to do\n"):
                raise BenchError(f"relayer had something to do: {said.read_text()[-300:]}")

        contender = Contender(f"gitstate relayer, {title}", commands, check=check)
        yield Row(f"relayer-{name}", "relayer, nothing to do", [contender], VERBS, machine.settle, seconds=0.3)
