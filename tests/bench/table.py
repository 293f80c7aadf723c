"""The report: one table for people, in a terminal and in the docs alike, and one JSON object."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from tests.bench.harness import file_system
from tests.bench.measure import MB, BenchError, Budget, Figures, Outcome, run_untimed

HEAD: Final = ("work", "command", "seconds", "CPU", "memory", "repository", "gitstate ÷ it", "budget", "verdict")
_LEFT: Final = 2
"""Columns of words, not figures."""


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run of the bench says. ``floor``: the memory below which a command's can't be told."""

    corpus: Mapping[str, object]
    machine: Mapping[str, object]
    versions: Mapping[str, str]
    runs: int
    cold: bool
    outcomes: Sequence[Outcome]
    floor: int = 0

    @property
    def failed(self) -> bool:
        return any(outcome.failure for outcome in self.outcomes)

    def as_json(self) -> dict[str, object]:
        """The object that ``--json`` prints; sizes in bytes."""
        return {
            "schema": "bench/1",
            "corpus": dict(self.corpus),
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "runs": self.runs,
            "caches": "cold" if self.cold else "warm",
            "memory_floor": self.floor,
            "rows": [_outcome_json(outcome) for outcome in self.outcomes],
        }

    def as_text(self) -> str:
        """The table as Markdown, under the facts that figures mean nothing without."""
        lines = [*self._facts(), "", *aligned(HEAD, list(self._cells()), left=_LEFT)]
        lines += [f"\nFAILED {outcome.name}: {outcome.failure}" for outcome in self.outcomes if outcome.failure]
        return "\n".join(lines)

    def _facts(self) -> Iterator[str]:
        yield from facts(self.corpus, self.machine, self.versions)
        caches = "dropped before each timing" if self.cold else "warm"
        yield f"- medians of {self.runs} interleaved runs, caches {caches}; memory is the largest process's peak"

    def _cells(self) -> Iterator[tuple[str, ...]]:
        for outcome in self.outcomes:
            if outcome.state != "measured":
                what = outcome.missing or "see below"
                yield (outcome.what, what, "", "", "", "", "", "", "FAILED" if outcome.failure else "not there yet")
            for number, figures in enumerate(outcome.figures):
                yield ("" if number else outcome.what, *self._figures(figures))

    def _figures(self, figures: Figures) -> tuple[str, ...]:
        return (
            figures.name,
            f"{figures.seconds:.2f}" if figures.seconds >= 0.1 else f"{figures.seconds:.3f}",
            f"{figures.cpu:.2f}",
            f"{'≤ ' if figures.memory <= self.floor else ''}{figures.memory / MB:,.0f} MB",
            "" if figures.repository is None else f"{figures.repository / MB:,.0f} MB",
            "" if figures.ratio is None else f"{figures.ratio:.3f}",
            ", ".join(_limit(budget) for budget in figures.budgets),
            ", ".join("holds" if budget.holds else "MISSES" for budget in figures.budgets),
        )


def _limit(budget: Budget) -> str:
    forms = {"seconds": "≤ {:g} s", "memory": "≤ {:g} MB", "ratio": "≤ {:g}"}
    return forms[budget.what].format(budget.limit / MB if budget.what == "memory" else budget.limit)


def _outcome_json(outcome: Outcome) -> dict[str, object]:
    found: dict[str, object] = {"name": outcome.name, "what": outcome.what, "state": outcome.state}
    if outcome.missing:
        found["missing"] = outcome.missing
    if outcome.failure:
        found["failure"] = outcome.failure
    return {**found, "contenders": [_figures_json(figures) for figures in outcome.figures]}


def _figures_json(figures: Figures) -> dict[str, object]:
    return {
        "name": figures.name,
        "seconds": figures.seconds,
        "cpu": figures.cpu,
        "memory": figures.memory,
        "repository": figures.repository,
        "ratio": figures.ratio,
        "runs": [asdict(run) for run in figures.runs],
        "budgets": [{**asdict(budget), "holds": budget.holds} for budget in figures.budgets],
    }


def facts(corpus: Mapping[str, object], machine: Mapping[str, object], versions: Mapping[str, str]) -> Iterator[str]:
    """Lines that say what was measured, and on what."""
    if "about" in corpus:
        yield f"- {corpus['about']}"
    elif "clients" in corpus:
        yield f"- {corpus['clients']:,} clients of two snapshots; machines in QEMU without hardware support"
    else:
        size = float(str(corpus["bytes"])) / (1 << 30)
        yield f"- corpus {corpus['name']}: {corpus['entries']:,} entries, {corpus['files']:,} files, {size:.2f} GiB"
    yield from machine_facts(machine, versions)


def machine_facts(machine: Mapping[str, object], versions: Mapping[str, str]) -> Iterator[str]:
    """Lines that say on what it was measured."""
    memory = float(str(machine["memory"])) / (1 << 30)
    yield (
        f"- machine: {machine['cores']} cores of {machine['processor']}, {memory:.0f} GiB memory,"
        f" {machine['file_system']}, Linux {machine['kernel']}, load {machine['load']} at the start"
    )
    yield f"- versions: {', '.join(f'{name} {version}' for name, version in versions.items())}"


def aligned(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> Iterator[str]:
    """A Markdown table; the ``left`` first columns hold words, the others figures."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = ["-" * width if at < left else "-" * (width - 1) + ":" for at, width in enumerate(widths)]
    for row in (head, rule, *rows):
        sized = enumerate(zip(row, widths, strict=True))
        cells = [cell.ljust(width) if at < left else cell.rjust(width) for at, (cell, width) in sized]
        yield f"| {' | '.join(cells)} |"


def write_docs(page: Path, name: str, text: str) -> None:
    """Put the table of corpus ``name`` between its markers in a page. Raises BenchError if they aren't there."""
    begin, end = f"<!-- bench {name}: written by ./run bench -->\n", f"<!-- end of bench {name} -->\n"
    before, found, rest = page.read_text("utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise BenchError(f"{page}: no place for corpus {name}, which begins {begin.strip()} and ends {end.strip()}")
    page.write_text(f"{before}{begin}\n{text}\n\n{end}{after}", "utf-8")


def machine(work: Path) -> dict[str, object]:
    """What the figures depend on, of the machine that we run on."""
    cpuinfo = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    processor = {key.strip(): value.strip() for key, value in cpuinfo.items()}.get("model name", os.uname().machine)
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": processor,
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "file_system": file_system(work),
        "kernel": os.uname().release,
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def versions(gitstate: Sequence[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The versions of gitstate, its Python and its peers."""
    ours = [word for word in run_untimed([*gitstate, "--version"], environment).split() if word[0].isdigit()]
    ostree = run_untimed(["ostree", "--version"], environment).split("Version:", 1)[1].split()[0].strip("'")
    return {
        "gitstate": ours[0] if ours else "unknown",
        "git": run_untimed(["git", "--version"], environment).split()[2],
        "ostree": ostree,
        "cp": run_untimed(["cp", "--version"], environment).split("\n", 1)[0].split()[-1],
    }


def memory_floor() -> int:
    """Our own peak: exec hands it on, so no command's peak reads lower than what ours was by then."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
