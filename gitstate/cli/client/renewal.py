"""After a change that is kept already: what machines get of it is made anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gitstate.cli.base.app import Session
from gitstate.cli.base.output import suggest
from gitstate.core.errors import GitstateError, PartlyDoneError

_NAMED: Final = 5
_KEPT: Final = "that is saved, but machine archives are not updated"


def renew_archives(session: Session, hosts: Iterable[str] | None) -> None:
    """Machine archives follow what is known of machines: those of ``hosts``, or all. Raises PartlyDoneError."""
    from gitstate.release import refresh  # most reports say nothing new

    site, observer = session.opened.site, session.observer
    try:
        made = refresh.refresh(site, observer) if hosts is None else refresh.again(site, hosts, observer)
    except GitstateError as error:
        raise PartlyDoneError(f"{_KEPT}: {error.message}", error.hint) from None
    except OSError as error:
        what = f"{_KEPT}: {error.filename}: {error.strerror}"
        raise PartlyDoneError(what, "make room, or fix it; then: gitstate boot write") from None
    for one in made:
        names = [*one.added, *one.changed]
        what = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} machines"
        if names:
            suggest(session, f"machine archives of {one.release.name} rebuilt: {what}")
