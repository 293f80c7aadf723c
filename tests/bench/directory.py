"""``python -m tests.bench.directory``: 10,000 clients in both backends, LDAP beside LDAP's own tools.

A real slapd that writes safely. gitstate's part is timed inside a process, from opening the directory (for LDAP a new
connection and bind) to the result; a command adds what Python takes to start.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

from gitstate.directory import Client, open_directory
from gitstate.site import Site
from tests.bench.table import aligned
from tests.directory.ground import ADA, Place, choose_ldap, machine
from tests.lab.ldap import ADMIN, PASSWORD, SUFFIX, Server, ldap_server

LAB: Final = 200
BUDGET: Final = 1.5
_BASE: Final = f"ou=clients,{SUFFIX}"


@dataclass(frozen=True)
class Row:
    """Seconds of the embedded backend, of LDAP, and of LDAP's own tool."""

    what: str
    ldif: float
    ldap: float
    tool: str
    raw: float
    budget: float | None = BUDGET

    @property
    def ratio(self) -> float:
        return self.ldap / self.raw


@dataclass(frozen=True)
class Ground:
    """Both backends, full."""

    embedded: Site
    ldap: Site
    server: Server
    place: Path
    count: int

    def raw(self, program: str, *words: str) -> str:
        """One of LDAP's own tools; what it prints."""
        login = ["-x", "-H", self.server.ldapi, "-D", ADMIN, "-w", PASSWORD]
        done = subprocess.run([program, *login, *words], capture_output=True, text=True, check=True)
        return done.stdout


def timed(runs: int, *ways: Callable[[], object]) -> list[float]:
    """The median seconds of each, in turn."""
    found: list[list[float]] = [[] for _ in ways]
    for _ in range(runs):
        for seconds, way in zip(found, ways, strict=True):
            started = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - started)
    return [median(seconds) for seconds in found]


def rows(ground: Ground, runs: int) -> Iterator[Row]:
    """All rows."""
    search = ["-LLL", "-o", "ldif_wrap=no", "-b", _BASE]
    lab = {"channel": "lab3"}
    mac = {"macs": machine(ground.count // 2).macs[0]}

    def both(ask: Callable[[Site], object]) -> list[Callable[[], object]]:
        return [lambda: ask(ground.embedded), lambda: ask(ground.ldap)]

    def one(what: str, ask: Callable[[Site], object], tool: str, raw: Callable[[], object]) -> Row:
        ldif, ldap, theirs = timed(runs, *both(ask), raw)
        return Row(what, ldif, ldap, tool, theirs)

    yield one(
        f"a lab of {LAB} by its channel",
        lambda site: expect(LAB, open_directory(site).find(lab)),
        "ldapsearch",
        lambda: expect(LAB, ground.raw("ldapsearch", *search, "(gitstateChannelName=lab3)").split("\n\n")[:-1]),
    )
    yield one(
        "one by its MAC",
        lambda site: expect(1, open_directory(site).find(mac)),
        "ldapsearch",
        lambda: expect(1, ground.raw("ldapsearch", *search, f"(macAddress={mac['macs']})").split("\n\n")[:-1]),
    )
    everyone = ["-E", "pr=1000/noprompt", *search, "(objectClass=gitstateClient)"]
    yield replace(
        one(
            f"all {ground.count:,}",
            lambda site: expect(ground.count, open_directory(site).clients()),
            "ldapsearch",
            lambda: expect(ground.count, ground.raw("ldapsearch", *everyone).split("\n\n")[:-1]),
        ),
        budget=None,
    )
    yield _assignment(ground, runs)


def _assignment(ground: Ground, runs: int) -> Row:
    """A lab's clients get another workload, each time."""
    number = 0

    def assign(site: Site) -> None:
        nonlocal number
        number += 1
        directory = open_directory(site)
        found = directory.find({"channel": "lab3"})
        directory.change([replace(one, workload=f"w{number}") for one in found.values()], [], ADA, "workload")

    def modify() -> None:
        nonlocal number
        number += 1
        text = "".join(
            f"dn: cn={one.name},{_BASE}\nchangetype: modify\nreplace: gitstateWorkload\ngitstateWorkload: w{number}\n\n"
            for one in clients(ground.count)
            if one.channel == "lab3"
        )
        file = ground.place / "changes"
        file.write_text(text)
        ground.raw("ldapmodify", "-f", str(file))

    ldif, ldap, raw = timed(runs, lambda: assign(ground.embedded), lambda: assign(ground.ldap), modify)
    return Row(f"assign that lab (all or nothing; {LAB} entries)", ldif, ldap, "ldapmodify", raw)


def expect(count: int, found: object) -> None:
    """Nobody is fast by not doing it."""
    length = len(found)  # type: ignore[arg-type]
    if length != count:
        raise RuntimeError(f"{length} instead of {count}")


def clients(count: int) -> Iterator[Client]:
    """Labs of 200 that follow their channels."""
    for number in range(count):
        yield replace(machine(number), name=f"pc-{number:05}", channel=f"lab{number // LAB}", workload="w")


def main() -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser("python -m tests.bench.directory", description="both backends of the directory")
    parser.add_argument("--clients", type=int, default=10_000, metavar="N", help="how many there are (10000)")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="how often each is timed (5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    gc.set_threshold(100_000, 20, 20)  # as the command line does
    index = ["index gitstateWorkload eq"]
    with tempfile.TemporaryDirectory(prefix="gitstate-bench-") as made, ldap_server(sync=True, extra=index) as server:
        place = Path(made)
        ground = Ground(Site.create(place / "ldif"), Site.create(place / "ldap"), server, place, options.clients)
        choose_ldap(ground.ldap, server)
        for site in (ground.embedded, ground.ldap):
            Place(site).put(*clients(options.clients))
        found = list(rows(ground, options.runs))
    if options.json:
        print(
            json.dumps({"schema": "bench-directory/1", "rows": [{**asdict(row), "ratio": row.ratio} for row in found]})
        )
    else:
        print("\n".join(table(found)))
    return 0


def table(found: list[Row]) -> Iterator[str]:
    """The rows, for people."""
    head = ("work", "raw tool", "ldif", "ldap", "raw", "ldap ÷ raw", "budget", "verdict")
    cells = [
        (
            row.what,
            row.tool,
            f"{row.ldif * 1000:.1f} ms",
            f"{row.ldap * 1000:.1f} ms",
            f"{row.raw * 1000:.1f} ms",
            f"{row.ratio:.2f}",
            "" if row.budget is None else f"≤ {row.budget:g}",
            "" if row.budget is None else "holds" if row.ratio <= row.budget else "MISSES",
        )
        for row in found
    ]
    return aligned(head, cells, left=2)


if __name__ == "__main__":
    sys.exit(main())
