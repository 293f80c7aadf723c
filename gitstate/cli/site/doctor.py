"""doctor."""

from __future__ import annotations

from itertools import groupby

from gitstate.boot.doctor.models import Check, State
from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit
from gitstate.core.names import visible
from gitstate.release.doctor import examine

_COLOURS = {State.OK: "32", State.NOTE: "33", State.BAD: "31"}


@command("gitstate doctor", "gitstate doctor --json")
def doctor(session: Session) -> int:
    """Check whether this server can boot machines, and how to fix it.

    Services are asked as machines ask them, by TFTP, HTTP and DHCP. Exits with
    1 if anything is wrong.
    """
    checks = list(examine(session.opened, session.observer))
    value = {
        "checks": [
            {"area": one.area, "state": str(one.state), "text": one.text, "fix": one.fix or None} for one in checks
        ]
    }
    emit(session, "doctor/1", value, _lines(checks, colour=session.colour))
    return 1 if any(one.state is State.BAD for one in checks) else 0


def _lines(checks: list[Check], *, colour: bool) -> list[str]:
    """A line for each finding under the name of its area, and one for its fix."""
    width = max((len(one.area) for one in checks), default=0)
    lines = []
    for area, found in groupby(checks, key=lambda one: one.area):
        label = area
        for one in found:
            word = f"{one.state:<4}"
            state = f"\x1b[{_COLOURS[one.state]}m{word}\x1b[0m" if colour else word
            lines.append(f"{label:<{width}}  {state}  {visible(one.text)}")
            if one.fix:
                lines.append(f"{'':<{width}}        {visible(one.fix)}")
            label = ""
    return lines
