"""10,000 clients in both backends of the directory, LDAP beside LDAP's own tools.

A real slapd that writes safely. gitstate's part is timed inside a process, from opening the directory (for LDAP a new
connection and bind) to the result; a command adds what Python takes to start. Only a push is the whole command.
"""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Final

import ldap as python_ldap

from gitstate.core.errors import GitstateError
from gitstate.directory import Client, open_directory
from gitstate.directory.model.client_attributes import FIELDS
from gitstate.store.site import Site
from tests.bench.measure import BenchError, failure_text, progress, run_untimed
from tests.bench.stage import environment, gitstate_command
from tests.bench.table import aligned, machine_facts
from tests.directory.harness import ADA, Place, choose_ldap
from tests.directory.harness import machine as client
from tests.lab.ldap import ADMIN, PASSWORD, SUFFIX, Server, ldap_server

CLIENTS: Final = 10_000
LAB: Final = 200
BUDGET: Final = 1.5
ROOM: Final = 1 << 30
PROGRAMS: Final = ("slapd", "ldapsearch", "ldapmodify")
_HALL: Final = "hall"
"""The channel that half of all clients follow; the others have one for each lab."""
_PROTOTYPE: Final = "desktop"
_BASE: Final = f"ou=clients,{SUFFIX}"
_HALLS_ENTRY: Final = f"cn={_HALL},ou=channels,{SUFFIX}"
_INDEXES: Final = ("index gitstateWorkload,gitstateHardwareClass eq",)


# --- what is said of it -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """The seconds of each run: in the embedded backend, in LDAP, and of LDAP's own tool; or why there are none."""

    what: str
    tool: str
    ldif: Sequence[float] = ()
    ldap: Sequence[float] = ()
    raw: Sequence[float] = ()
    budget: float | None = BUDGET
    failure: str = ""

    @property
    def ratio(self) -> float | None:
        return median(self.ldap) / median(self.raw) if self.raw else None

    @property
    def verdict(self) -> str:
        if self.failure:
            return "FAILED"
        if self.budget is None or self.ratio is None:
            return ""
        return "holds" if self.ratio <= self.budget else "MISSES"

    def as_json(self) -> dict[str, object]:
        """All single runs."""
        return {
            "what": self.what,
            "tool": self.tool or None,
            "ldif": list(self.ldif),
            "ldap": list(self.ldap),
            "raw": list(self.raw),
            "ratio": self.ratio,
            "budget": self.budget,
            "verdict": self.verdict or None,
            "failure": self.failure or None,
        }

    def cells(self) -> tuple[str, ...]:
        figures = (f"{median(runs) * 1000:,.0f} ms" if runs else "" for runs in (self.ldif, self.ldap, self.raw))
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        budget = "" if self.budget is None else f"≤ {self.budget:g}"
        return self.what, self.tool, *figures, ratio, budget, self.verdict


@dataclass(frozen=True, slots=True)
class Report:
    """All that one run says."""

    clients: int
    machine: Mapping[str, object]
    versions: Mapping[str, str]
    runs: int
    rows: Sequence[Row]

    @property
    def failed(self) -> bool:
        return any(row.failure for row in self.rows)

    def as_json(self) -> dict[str, object]:
        """The object that ``--json`` prints, in seconds."""
        return {
            "schema": "bench-directory/1",
            "clients": self.clients,
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "runs": self.runs,
            "rows": [row.as_json() for row in self.rows],
        }

    def as_text(self) -> str:
        """The table as Markdown."""
        head = ("work", "raw tool", "ldif", "ldap", "raw", "ldap ÷ raw", "budget", "verdict")
        lines = [f"- {self.clients:,} clients, half of them of one channel, the others in labs of {LAB}"]
        lines += machine_facts(self.machine, self.versions)
        lines.append(f"- medians of {self.runs} interleaved runs; the server is on the same host and syncs every write")
        lines += ["", *aligned(head, [row.cells() for row in self.rows], left=2)]
        return "\n".join([*lines, *(f"\nFAILED {row.what}: {row.failure}" for row in self.rows if row.failure)])


# --- the two sites ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Harness:
    """Both backends, full."""

    embedded: Site
    ldap: Site
    server: Server
    place: Path
    count: int
    environment: Mapping[str, str]
    numbers: Iterator[int] = field(default_factory=itertools.count)
    """For what has to be another with each run."""

    def raw(self, program: str, *words: str) -> str:
        """One of LDAP's own tools; what it prints. Raises BenchError."""
        argv = [program, "-x", "-H", self.server.ldapi, "-D", ADMIN, "-w", PASSWORD, *words]
        done = subprocess.run(argv, capture_output=True, check=False)
        if done.returncode:
            raise BenchError(failure_text([program, *words], done.returncode, done.stderr))
        return done.stdout.decode()

    def search(self, wanted: str, *attributes: str, base: str = _BASE) -> list[str]:
        """What ldapsearch finds, by pages as we do, as LDIF records."""
        options = ["-LLL", "-o", "ldif_wrap=no", "-E", "pr=1000/noprompt", "-b", base]
        return self.raw("ldapsearch", *options, wanted, *attributes).split("\n\n")[:-1]

    def modify(self, changes: Mapping[str, Mapping[str, str]]) -> None:
        """ldapmodify: by the entry, what its attributes become."""
        file = self.place / "changes"
        with file.open("w") as text:
            for dn, values in changes.items():
                parts = "-\n".join(f"replace: {name}\n{name}: {value}\n" for name, value in values.items())
                text.write(f"dn: {dn}\nchangetype: modify\n{parts}\n")
        self.raw("ldapmodify", "-f", str(file))

    def gitstate(self, site: Site, *words: str) -> None:
        """A whole command. Raises BenchError."""
        run_untimed([*gitstate_command(), "--site", str(site.path), *words], self.environment)


def clients(count: int) -> Iterator[Client]:
    """Labs that follow their channels, and as many machines in one hall."""
    for number in range(count):
        channel = _HALL if number >= count // 2 else f"lab{number // LAB}"
        classes = ("hp", f"c{number % 7}")
        yield replace(
            client(number), name=f"pc-{number:05}", pin=None, channel=channel, workload=channel, classes=classes
        )


def run(work: Path, machine: Mapping[str, object], versions: Mapping[str, str], runs: int, count: int) -> Report:
    """Both sites below ``work``, and all rows."""
    gc.set_threshold(100_000, 20, 20)  # as the command line does
    with ldap_server(work, sync=True, extra=_INDEXES) as server:
        sites = Site.create(work / "ldif"), Site.create(work / "ldap")
        choose_ldap(sites[1], server)
        harness = Harness(*sites, server, work, count, environment(work))
        for site in sites:
            progress(f"{count:,} clients in {site.path.name}")
            _fill(harness, site)
        return Report(count, machine, versions, runs, [_measured(row, runs) for row in rows(harness)])


def _fill(harness: Harness, site: Site) -> None:
    harness.gitstate(site, "prototype", "create", _PROTOTYPE)
    _edit(harness, site)
    harness.gitstate(site, "channel", "create", _HALL, "--prototype", _PROTOTYPE)
    try:
        Place(site).put(*clients(harness.count))
    except GitstateError as error:
        raise BenchError(str(error)) from None
    harness.gitstate(site, "push", _PROTOTYPE, _HALL, "--yes")


def _edit(harness: Harness, site: Site) -> None:
    """Another snapshot of a small prototype."""
    live = site.live_path(_PROTOTYPE)
    for number in range(20):
        (live / f"file-{number}").write_text(f"{next(harness.numbers)}\n")
    harness.gitstate(site, "checkin", _PROTOTYPE, "-m", "edited")


# --- the rows ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Work:
    """A row to be measured: what is done in a site, and the same by LDAP's own tool; ``before`` isn't timed."""

    what: str
    ours: Callable[[Site], object]
    sites: tuple[Site, Site]
    tool: str = ""
    raw: Callable[[], object] | None = None
    before: Callable[[Site], object] = lambda site: None
    budget: float | None = BUDGET


def _measured(work: Work, runs: int) -> Row:
    """Each in turn, so that a disturbance meets all of them."""
    found: tuple[list[float], list[float], list[float]] = [], [], []
    try:
        for _ in range(runs):
            for site, seconds in zip(work.sites, found[:2], strict=True):
                work.before(site)
                os.sync()
                seconds.append(_timed(lambda site=site: work.ours(site)))  # type: ignore[misc]
            if work.raw is not None:
                os.sync()
                found[2].append(_timed(work.raw))
    except (BenchError, GitstateError, OSError) as error:
        progress(f"{work.what}: FAILED: {error}")
        return Row(work.what, work.tool, budget=work.budget, failure=str(error))
    row = Row(work.what, work.tool, *found, budget=work.budget)
    progress(" | ".join(row.cells()))
    return row


def _timed(what: Callable[[], object]) -> float:
    started = time.perf_counter()
    what()
    return time.perf_counter() - started


def rows(harness: Harness) -> Iterator[Work]:
    """All of them."""
    sites = harness.embedded, harness.ldap
    half = harness.count // 2
    mac = client(half).macs[0]
    of_a_class = sum(number % 7 == 3 for number in range(half, harness.count))
    yield _listing(harness, f"list a lab of {LAB}", {"channel": "lab1"}, LAB)
    yield _listing(harness, f"list {LAB} by workload and kind", {"workload": "lab1", "kind": "diskless"}, LAB)
    yield _listing(harness, "resolve one by its MAC", {"macs": mac}, 1)
    yield Work(
        f"assign a lab of {LAB}",
        lambda site: _assign(harness, site),
        sites,
        "ldapsearch, ldapmodify",
        lambda: _modify_lab(harness),
    )
    yield Work(
        f"count the {half:,} clients of a push, name its release",
        lambda site: _announce(harness, site),
        sites,
        "ldapsearch, ldapmodify",
        lambda: _modify_hall(harness),
    )
    yield Work(
        f"gitstate push, {half:,} clients follow",
        lambda site: harness.gitstate(site, "push", _PROTOTYPE, _HALL, "--yes"),
        sites,
        before=lambda site: _edit(harness, site),
        budget=None,
    )
    by_class = _listing(
        harness, f"list {of_a_class:,} by class and channel", {"classes": "c3", "channel": _HALL}, of_a_class
    )
    yield replace(by_class, budget=None)
    yield Work(
        f"list all {harness.count:,}",
        lambda site: _expect(harness.count, open_directory(site).clients()),
        sites,
        "ldapsearch",
        lambda: _expect(harness.count, harness.search("(objectClass=gitstateClient)")),
        budget=None,
    )


def _listing(harness: Harness, what: str, wanted: Mapping[str, str], expected: int) -> Work:
    attributes = {field.key: field.attribute for field in FIELDS}
    words = "".join(f"({attributes[key]}={value})" for key, value in wanted.items())
    return Work(
        what,
        lambda site: _expect(expected, open_directory(site).find(wanted)),
        (harness.embedded, harness.ldap),
        "ldapsearch",
        lambda: _expect(expected, harness.search(f"(&{words})")),
    )


def _assign(harness: Harness, site: Site) -> None:
    """A lab's clients get another workload: all of them, or none."""
    directory = open_directory(site)
    number = next(harness.numbers)
    found = directory.find({"channel": "lab0"})
    directory.change([replace(one, workload=f"w{number}") for one in found.values()], [], ADA, "workload")


def _modify_lab(harness: Harness) -> None:
    workload = {"gitstateWorkload": f"w{next(harness.numbers)}"}
    found = harness.search("(gitstateChannelName=lab0)")
    _expect(LAB, found)
    harness.modify({one.partition("\n")[0].removeprefix("dn: "): workload for one in found})


def _announce(harness: Harness, site: Site) -> None:
    """What a push asks of the directory, and tells it."""
    if sum(open_directory(site).followers(_HALL).values()) != harness.count // 2:
        raise BenchError("not all who follow were counted")
    directory = open_directory(site)
    channel = replace(directory.channels()[_HALL], release=f"{_HALL}/{next(harness.numbers) + 1}")
    directory.change_channels([channel], [], ADA, "released", ADA)


def _modify_hall(harness: Harness) -> None:
    wanted = f"(gitstateChannelName={_HALL})"
    _expect(harness.count // 2, harness.search(wanted, "gitstateKind", "gitstatePin"))
    _expect(1, harness.search("(objectClass=gitstateChannel)", base=f"ou=channels,{SUFFIX}"))
    harness.modify({_HALLS_ENTRY: {"gitstateRelease": f"{_HALL}/{next(harness.numbers) + 1}"}})


def _expect(count: int, found: Sequence[object] | Mapping[str, object]) -> None:
    """Nobody is fast by not doing it."""
    if len(found) != count:
        raise BenchError(f"{len(found)} instead of {count}")


def versions(base: Mapping[str, str]) -> dict[str, str]:
    """Of whoever takes part."""
    said = subprocess.run(["slapd", "-VV"], capture_output=True, text=True, check=False).stderr
    slapd = said.partition("slapd ")[2].split()[0]
    return {"gitstate": base["gitstate"], "git": base["git"], "slapd": slapd, "python-ldap": python_ldap.__version__}
