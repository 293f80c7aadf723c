"""``boot write`` for ten thousand clients: all files, after one change, and with nothing to do."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from gitstate.core.names import pin
from gitstate.core.signature import Signature
from gitstate.directory import Client, open_directory
from gitstate.store.site import Site
from tests.bench.measure import BenchError, Contender, Row, run_untimed
from tests.bench.stage import gitstate_command
from tests.boot.files.harness import OPTIONS, make

CLIENTS: Final = 10_000
NAMES: Final = ("write-first", "write-change", "write-nothing")
VERBS: Final = frozenset(("init", "prototype", "checkin", "client", "boot"))
_ONE: Final = "lab3-04242"


def rows(work: Path, environment: dict[str, str]) -> list[Row]:
    """The rows; what they need is made below ``work``. Nobody else does this, so the budgets are seconds."""
    site = work / "writes"

    def made(number: int, what: str, limit: float, begin: partial[None]) -> Row:
        command = [*gitstate_command(), "--site", str(site), "boot", "write"]
        contender = Contender("gitstate boot write", lambda: [command], check=partial(_check, site))
        ready = partial(_ready, site) if not number else lambda: None
        return Row(NAMES[number], what, [contender], VERBS, ready, begin, seconds=limit)

    def begin(words: list[str], number: int) -> None:
        run_untimed([part.format(number=number % 2 + 1) for part in words], environment)

    change = [*gitstate_command(), "--site", str(site), "client", "set", _ONE, "--ip", "10.77.0.{number}", "-q"]
    forget = ["rm", "-rf", str(site / "boot.state"), str(site / "tftp"), str(site.with_name("etc") / "gitstate")]
    return [
        made(0, f"boot write, {CLIENTS:,} clients", 3.0, partial(begin, forget)),
        made(1, "boot write, one client changed", 0.5, partial(begin, change)),
        made(2, "boot write, nothing changed", 0.5, partial(begin, ["true"])),
    ]


def _ready(path: Path) -> None:
    """A site of a small prototype and many clients."""
    make(path)
    etc = path.with_name("etc")
    etc.mkdir()
    options = OPTIONS | {"etc": str(etc), "dhcp": "proxy"}
    with (path / "site.toml").open("a") as settings:
        settings.write("[boot]\n" + "".join(f'{key} = "{value}"\n' for key, value in options.items()))
    clients = [
        Client(f"lab{number % 7}-{number:05}", (f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}",), pin=pin(what))
        for number in range(CLIENTS)
        for what in (f"desktop@{'one' if number % 2 else 'two'}",)
    ]
    clients.append(Client(_ONE, ("52:54:00:ff:ff:ff",), pin=pin("desktop@one")))
    who = Signature("bench <bench@localhost>", 1_700_000_000, "+0000")
    open_directory(Site(path)).change(clients, [], who, "ten thousand")


def _check(path: Path) -> None:
    """Whether there is a script for every machine."""
    found = sum(1 for _ in (path / "tftp" / "boot" / "mac").iterdir())
    if found != CLIENTS + 1:
        raise BenchError(f"{found} scripts of machines, not {CLIENTS + 1}")
