"""What is flat and what is linear: many files, a wide directory, huge files, a long history; each at a tenth, too."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.bench.measure import MB, BenchError, Run, progress, run_untimed, timed
from tests.bench.stage import NEW, OLD, PROTOTYPE, Command, gitstate_command
from tests.bench.table import aligned, machine_facts
from tests.bench.trees import fresh, remove

MEMORY: Final = 400 * MB
LINEAR: Final = 12.5
"""Ten times the work may take so many times as long: ten, and what the clock and the machine's other work add."""

_TENTH: Final = 10
_IN_A_DIRECTORY: Final = 100
_PIECE: Final = 1 << 20
_GIB: Final = 1 << 30
_SPARE: Final = 2 << 30


@dataclass(frozen=True, slots=True)
class Case:
    """Something there is a lot of: ``count`` of it at full scale. ``make`` fills a live tree; ``prepare`` comes after
    the first check-in; ``room`` is the bytes that one of it takes in all."""

    name: str
    what: str
    count: int
    make: Callable[[Path, int], None]
    room: float
    prepare: Callable[[Path, int], None] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A command's figures at a tenth of the size and at the whole."""

    case: str
    command: str
    tenth: Run
    whole: Run

    @property
    def ratio(self) -> float:
        return self.whole.seconds / self.tenth.seconds

    @property
    def holds(self) -> bool:
        return max(self.tenth.memory, self.whole.memory) <= MEMORY and self.ratio <= LINEAR


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run says."""

    scale: float
    machine: Mapping[str, object]
    versions: Mapping[str, str]
    lines: Sequence[Line]
    failed = False

    def as_json(self) -> dict[str, object]:
        """The object that ``--json`` prints; memory in bytes."""
        return {
            "schema": "bench-scale/1",
            "scale": self.scale,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "lines": [{**asdict(line), "ratio": line.ratio, "holds": line.holds} for line in self.lines],
        }

    def as_text(self) -> str:
        """The table as Markdown."""
        facts = [*machine_facts(self.machine, self.versions)]
        if self.scale != 1:
            facts.append(f"- at {self.scale:g} of the full size")
        head = ["what", "command", "a tenth, s", "all, s", "all ÷ a tenth", "memory", "verdict"]
        return "\n".join([*facts, "", *aligned(head, list(self._cells()), left=2)])

    def _cells(self) -> Iterator[tuple[str, ...]]:
        last = ""
        for line in self.lines:
            yield (
                "" if line.case == last else line.case,
                line.command,
                f"{line.tenth.seconds:.2f}",
                f"{line.whole.seconds:.2f}",
                f"{line.ratio:.1f}",
                f"{max(line.tenth.memory, line.whole.memory) / MB:,.0f} MB",
                "holds" if line.holds else "MISSES",
            )
            last = line.case


# --- what there is a lot of -------------------------------------------------------------------------------------------


def _many(live: Path, count: int) -> None:
    chance = random.Random(1)
    for directory in range(count // _IN_A_DIRECTORY):
        path = live / f"d{directory // 100:03}" / f"e{directory % 100:02}"
        path.mkdir(parents=True)
        _fill(path, _IN_A_DIRECTORY, chance)


def _wide(live: Path, count: int) -> None:
    (live / "wide").mkdir()
    _fill(live / "wide", count, random.Random(1))


def _fill(directory: Path, count: int, chance: random.Random) -> None:
    base = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for number in range(count):
            file = os.open(f"file-{number:06}.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=base)
            os.write(file, b"%d\n" % number + chance.randbytes(chance.randrange(200)))
            os.close(file)
    finally:
        os.close(base)


def _sparse(live: Path, size: int) -> None:
    with open(live / "sparse", "wb") as file:
        file.truncate(size)
        for place in range(0, size, max(_PIECE, size // 1000)):
            file.seek(place)
            file.write(b"data %d" % place)


def _noise(live: Path, size: int) -> None:
    chance = random.Random(1)
    with open(live / "noise", "wb") as file:
        for _ in range(size // _PIECE):
            file.write(chance.randbytes(_PIECE))


def _thousand(live: Path, count: int) -> None:
    _many(live, 1000)


def _history(repository: Path, count: int) -> None:
    """Commits by plain git, each of them with an edit of a file; the last one is the live tree's state again."""
    first = run_untimed(["git", f"--git-dir={repository}", "rev-parse", "main"], os.environ).strip()
    stream = ["feature done\n"]
    for number in range(1, count):
        parent = f"from {first}\n" if number == 1 else ""
        text = f"{number}\n"
        path = f"d000/e{number % 10:02}/file-{number % 97:06}.txt"
        stream.append(
            f"commit refs/heads/main\ncommitter b <b@example.org> {1_700_000_000 + number} +0000\n"
            f"data 4\nedit\n{parent}"
            f"M 644 inline {path}\ndata {len(text)}\n{text}\n"
        )
    last = f"commit refs/heads/main\ncommitter b <b@example.org> {1_700_000_000 + count} +0000\ndata 4\nback\n"
    tree = run_untimed(["git", f"--git-dir={repository}", "rev-parse", "main^{tree}"], os.environ).strip()
    stream.append(f'{last}M 040000 {tree} ""\n\ndone\n')
    done = subprocess.run(
        ["git", f"--git-dir={repository}", "fast-import", "--quiet", "--force"],
        input="".join(stream).encode(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"git fast-import: {done.stderr.decode(errors='replace')}")


def _edit(live: Path, number: int) -> None:
    (live / "edited").write_text(f"{number}\n")


CASES: Final = (
    Case("many", "1,000,000 small files", 1_000_000, _many, 2.2 * 4096),
    Case("wide", "a directory of 100,000", 100_000, _wide, 2.2 * 4096),
    Case("sparse", "a sparse file of 20 GiB", 20 * _GIB, _sparse, 0.01),
    Case("noise", "5 GiB that do not compress", 5 * _GIB, _noise, 3),
    Case("history", "10,000 commits", 10_000, _thousand, 4096, _history),
)


def room(scale: float, names: Sequence[str]) -> int:
    """Bytes that a run fills at most: one case at a time, a tenth of it removed before."""
    return _SPARE + int(scale * max(case.count * case.room for case in CASES if case.name in names))


# --- measuring --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scale:
    """One run of the cases that are named."""

    scale: float
    names: Sequence[str]
    work: Path
    environment: Mapping[str, str]

    def run(self, machine: Mapping[str, object], versions: Mapping[str, str]) -> Report:
        """Raises BenchError if a command fails."""
        lines: list[Line] = []
        for case in CASES:
            if case.name in self.names:
                count = int(case.count * self.scale)
                tenth, whole = (self._measure(case, size) for size in (count // _TENTH, count))
                lines += [Line(case.what, command, tenth[command], whole[command]) for command in whole]
        return Report(self.scale, machine, versions, lines)

    def _measure(self, case: Case, count: int) -> dict[str, Run]:
        """Each command's figures at one size."""
        progress(f"{case.what}: {count:,}")
        live, site = fresh(self.work / "live"), self.work / "site"
        remove(site)
        case.make(live, count)
        repository = site / "prototypes" / f"{PROTOTYPE}.git"
        self._do(self._ours("init"), self._ours("prototype", "create", PROTOTYPE, "--live", str(live)))
        found = {} if case.prepare else {"first check-in": self._time("checkin", PROTOTYPE, "-m", "first")}
        if case.prepare:
            self._do(self._ours("checkin", PROTOTYPE, "-m", "first"))
            case.prepare(repository, count)
            found["check-in, catching up"] = self._time("checkin", PROTOTYPE, "-m", "caught up")
        found["status, nothing changed"] = self._time("status", PROTOTYPE)
        _edit(live, count)
        found["check-in of a new file"] = self._time("checkin", PROTOTYPE, "-m", "edit")
        found["diff of two snapshots"] = self._time("diff", PROTOTYPE, OLD, NEW)
        found["log of the new file"] = self._time("log", PROTOTYPE, "--", "edited")
        found["first export"] = self._time("export", PROTOTYPE, OLD)
        found["export of the next snapshot"] = self._time("export", PROTOTYPE, NEW)
        for tree in (live, site):
            remove(tree)
        return found

    def _ours(self, *words: str) -> Command:
        return [*gitstate_command(), "--site", str(self.work / "site"), *words]

    def _do(self, *commands: Command) -> None:
        for command in commands:
            run_untimed(command, self.environment)

    def _time(self, *words: str) -> Run:
        self._do(["sync", "--file-system", str(self.work)])
        run = timed([self._ours(*words)], self.environment)
        progress(f"{' '.join(words[:1])}: {run.seconds:.2f} s, {run.memory / MB:.0f} MB")
        return run
