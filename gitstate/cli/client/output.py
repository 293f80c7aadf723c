"""Clients and their changes, as lines and JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from gitstate.cli.base.app import Session
from gitstate.cli.base.output import emit, moment, suggest
from gitstate.core import settings
from gitstate.core.signature import Signature
from gitstate.directory import Client, Directory, plan
from gitstate.directory.protocol import LastChange
from gitstate.release.refresh import change_clients, check_clients

if TYPE_CHECKING:
    from gitstate.machine.hardware.probe import Running

_NAMED: Final = 5
_DONE: Final = {"add": "added", "adopt": "adopted", "set": "set", "remove": "removed"}


def make(session: Session, planned: plan.Plan, message: str | None, author: str | None) -> None:
    """Make the changes, or print what they would be."""
    made = apply(session, planned, session.author(author), message)
    revision = new_revision(session, planned.directory, made)
    word = f"would {planned.verb}" if session.dry_run else _DONE[planned.verb]
    value = {"changes": as_changes(planned.changes), "revision": revision, "dry_run": session.dry_run}
    lines = [f"{word} {line}" for line in planned.describe()]
    emit(session, f"client-{planned.verb}/1", value, lines or ["nothing to change"])
    if made:
        suggest(session, "next: gitstate boot write")


def apply(session: Session, planned: plan.Plan, who: Signature, message: str | None) -> bool:
    """Make the changes in one step; False if there is nothing to do or it is a dry run, which finds the same errors."""
    if not planned.changes or session.dry_run:
        check_clients(session.opened, planned, session.observer)
        return False
    change_clients(session.opened, planned, who, settings.committer(), message, session.observer)
    return True


def refresh_archives(session: Session, hosts: Iterable[str] | None) -> None:
    """Update the machine archives of ``hosts``, or all, after a change that is saved. Raises PartlyDoneError."""
    from gitstate.release import refresh  # most reports change nothing

    for one in refresh.refresh_after(session.opened.reopened(), hosts, session.observer):
        names = [*one.added, *one.changed]
        what = ", ".join(names) if len(names) <= _NAMED else f"{len(names)} machines"
        if names:
            suggest(session, f"machine archives of {one.release.name} rebuilt: {what}")


def new_revision(session: Session, directory: Directory, made: bool) -> str | None:
    """The directory's revision after the change, for JSON only: an LDAP server must read all entries for it."""
    return directory.revision() if made and session.json else None


def as_changes(changes: Iterable[plan.ClientChange]) -> list[dict[str, Any]]:
    """Changes of clients, for JSON."""
    return [{"name": change.name, "old": as_json(change.old), "new": as_json(change.new)} for change in changes]


def as_json(one: Client | None) -> dict[str, Any] | None:
    """A client, for JSON."""
    if one is None:
        return None
    return {
        "name": one.name,
        "macs": list(one.macs),
        "ips": list(one.ips),
        "kind": str(one.kind),
        "channel": one.channel,
        "pin": {"repository": one.pin.prototype, "revision": one.pin.revision} if one.pin else None,
        "workload": one.workload,
        "classes": list(one.classes),
        "layers": list(one.layers),
        "state": one.state,
        "maintains": one.maintains,
    }


def running_as_json(running: Running | None) -> dict[str, Any] | None:
    """What a machine reported to run, for JSON."""
    return {"snapshot": running.snapshot, "release": running.release} if running else None


def last_as_json(last: LastChange | None) -> dict[str, Any] | None:
    """Who changed a client last, for JSON."""
    if last is None:
        return None
    return {"revision": last.revision, "author": last.author, "when": moment(last.when), "subject": last.subject}
