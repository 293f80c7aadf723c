"""From power-on to the login prompt: gitstate's files beside a hand-written minimum, for one root and one kernel.

``python -m tests.bench.boots gitstate|hand PLACE`` is one boot in a lab of its own: servers, a machine, its prompt.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench.measure import Contender, Row
from tests.lab import baseline, prototype
from tests.lab.bootlab import ETC, lab_around
from tests.lab.guest import Guest
from tests.lab.netlab import netlab

NAME: Final = "boot"
VERBS: Final = frozenset(("init", "prototype", "checkin", "prepare", "client", "boot"))

_CLIENT: Final = "bench-1"
_MAC: Final = "52:54:00:00:00:01"


def row(work: Path) -> Row:
    """The row; what it needs is made below ``work``."""
    place = work / "boots"

    def boot(title: str, who: str, budget: float | None = None) -> Contender:
        command = [sys.executable, "-m", "tests.bench.boots", who, str(place)]
        return Contender(title, lambda: [command], budget=budget)

    contenders = [boot("gitstate boot write", "gitstate"), boot("hand-written minimum", "hand", 1.15)]
    return Row(NAME, "power-on to login prompt", contenders, VERBS, partial(_ready, place))


def _ready(place: Path) -> None:
    """A site whose boot files are written, and a copy of its snapshot with an initrd made by hand."""
    place.mkdir()
    prototype.copy_to(place / "site")
    with lab_around(place / "site") as lab:
        lab.configure()
        lab.client(_CLIENT, _MAC, prototype.ONE, "--ip", "10.77.0.101")
        lab.write()
        subprocess.run(["cp", "-a", lab.net.seen(str(ETC)), place / "etc"], check=True)
    export = place / "site" / "exports" / prototype.NAME / prototype.commit(place / "site", prototype.ONE)
    subprocess.run(["cp", "-a", export, place / "root"], check=True)
    baseline.prepare(place / "root")


def _gitstate(place: Path) -> None:
    with lab_around(place / "site") as lab:
        lab.net.do("cp", "-a", f"{place}/etc/.", str(ETC))
        lab.servers.start()
        _prompt(lab.boot(_MAC))


def _hand(place: Path) -> None:
    with netlab() as lab, baseline.serving(lab, place / "root"):
        _prompt(lab.boot(_MAC))


def _prompt(guest: Guest) -> None:
    guest.wait_for(" login: ")


if __name__ == "__main__":
    {"gitstate": _gitstate, "hand": _hand}[sys.argv[1]](Path(sys.argv[2]))
