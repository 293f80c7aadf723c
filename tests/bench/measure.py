"""Commands timed in one interleaved run (A B C A B C …), and what the figures say against their budgets."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

MB: Final = 1_000_000
_STDERR_TAIL: Final = 4000


class BenchError(Exception):
    """The bench can't go on with a row; the text says why."""


@dataclass(frozen=True, slots=True)
class Run:
    """One timing: seconds on the clock, seconds of processor time, bytes of memory of the largest process."""

    seconds: float
    cpu: float
    memory: int


@dataclass(frozen=True, slots=True)
class Contender:
    """Somebody's way to do a row's work.

    ``commands`` are timed together, one after the other; ``prepare`` runs before, untimed, and
    ``check`` after, which raises BenchError if the work was not done. ``size`` tells the bytes
    of the repository once the row is done. ``budget``: gitstate may take at most so many times its seconds.
    """

    name: str
    commands: Callable[[], Sequence[Sequence[str]]]
    prepare: Callable[[], object] = lambda: None
    check: Callable[[], object] = lambda: None
    size: Callable[[], int] | None = None
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Work that several contenders do; the first is gitstate, which needs ``verbs`` for it.

    ``ready`` runs once before all rounds, ``round`` before each.
    """

    name: str
    what: str
    contenders: Sequence[Contender]
    verbs: frozenset[str]
    ready: Callable[[], object] = lambda: None
    round: Callable[[int], object] = lambda number: None
    seconds: float | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """Something that may be at most ``limit``, and what it is."""

    what: str
    value: float
    limit: float

    @property
    def holds(self) -> bool:
        return self.value <= self.limit


@dataclass(slots=True)
class Figures:
    """What was measured of one contender."""

    name: str
    runs: list[Run] = field(default_factory=list)
    repository: int | None = None
    ratio: float | None = None
    budgets: list[Budget] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return median(run.seconds for run in self.runs)

    @property
    def cpu(self) -> float:
        return median(run.cpu for run in self.runs)

    @property
    def memory(self) -> int:
        return max(run.memory for run in self.runs)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row: figures, or ``missing`` (the command that isn't there yet), or ``failure``."""

    name: str
    what: str
    figures: Sequence[Figures] = ()
    missing: str = ""
    failure: str = ""

    @property
    def state(self) -> str:
        if self.missing:
            return "not there yet"
        return "failed" if self.failure else "measured"


@dataclass(frozen=True, slots=True)
class Bench:
    """How all rows are measured: how often, in which environment, after which ``pause`` before each timing."""

    runs: int
    environment: Mapping[str, str]
    verbs: frozenset[str]
    pause: Callable[[], object]
    say: Callable[[str], None]

    def measure(self, row: Row) -> Outcome:
        """A row's figures. Whatever goes wrong is the outcome too: other rows can still be measured."""
        if absent := sorted(row.verbs - self.verbs):
            self.say(f"{row.what}: gitstate {absent[0]} is not there yet")
            return Outcome(row.name, row.what, missing=f"gitstate {absent[0]}")
        try:
            figures = self._interleave(row)
        except (BenchError, OSError) as error:
            self.say(f"{row.what}: FAILED: {error}")
            return Outcome(row.name, row.what, failure=str(error))
        judge(row, figures)
        return Outcome(row.name, row.what, figures)

    def _interleave(self, row: Row) -> list[Figures]:
        self.say(f"{row.what}: getting ready")
        row.ready()
        figures = [Figures(contender.name) for contender in row.contenders]
        for number in range(self.runs):
            row.round(number)
            for contender, its in zip(row.contenders, figures, strict=True):
                contender.prepare()
                self.pause()
                its.runs.append(timed(contender.commands(), self.environment))
                contender.check()
                self.say(f"{row.what}: {number + 1}/{self.runs}: {contender.name}: {its.runs[-1].seconds:.2f} s")
        for contender, its in zip(row.contenders, figures, strict=True):
            its.repository = contender.size() if contender.size else None
        return figures


def judge(row: Row, figures: Sequence[Figures]) -> None:
    """Enter ratios and budgets into a row's figures; the first are gitstate's."""
    ours = figures[0]
    if row.seconds is not None:
        ours.budgets.append(Budget("seconds", ours.seconds, row.seconds))
    if row.memory is not None:
        ours.budgets.append(Budget("memory", ours.memory, row.memory))
    for contender, its in zip(row.contenders[1:], figures[1:], strict=True):
        its.ratio = ours.seconds / its.seconds
        if contender.budget is not None:
            its.budgets.append(Budget("ratio", its.ratio, contender.budget))


def timed(commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> Run:
    """Run commands one after the other. Raises BenchError if one fails.

    The memory of a process is never less than ours was when it started: exec inherits the mark, so ours stays small.
    """
    cpu, memory = 0.0, 0
    started = time.perf_counter()
    for command in commands:
        usage = _run(command, environment)
        cpu += usage.ru_utime + usage.ru_stime
        memory = max(memory, usage.ru_maxrss * 1024)
    return Run(time.perf_counter() - started, cpu, memory)


def _run(command: Sequence[str], environment: Mapping[str, str]) -> os.struct_rusage:  # type: ignore[name-defined]
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
            )
        except OSError as error:
            raise BenchError(f"{command[0]}: {error.strerror}") from None
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            raise BenchError(failure_text(command, process.returncode, errors.read()))
    return usage


def failure_text(command: Sequence[str], code: int, stderr: bytes) -> str:
    """One line that says which command failed and what it said last."""
    said = " ".join(stderr[-_STDERR_TAIL:].decode(errors="replace").split("\n")).strip()
    how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
    return f"{' '.join(command)}: {how}: {said[-600:] or 'no message'}"


def run_untimed(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """Run a command that only prepares; its output. Raises BenchError if it fails."""
    try:
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise BenchError(f"{command[0]}: {error.strerror}") from None
    if done.returncode != 0:
        raise BenchError(failure_text(command, done.returncode, done.stderr))
    return done.stdout.decode(errors="surrogateescape")


def progress(text: str) -> None:
    """Tell who waits where the bench stands."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
