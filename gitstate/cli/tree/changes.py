"""Changes of a tree, as lines, names or JSON: what status, checkin and verify print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import PATH, Session
from gitstate.cli.base.output import alternatives, letter, location, write_name
from gitstate.core.errors import PartlyDoneError
from gitstate.core.names import columns, display, octal, padded
from gitstate.core.wording import counted, some_of
from gitstate.tree.change import Change, LinksChanged, as_json, details
from gitstate.tree.checkin import Status

_NAMED = 3
"""At most this many paths are named in one line."""

live_option = click.option("--live", metavar="DIR", type=PATH, help="The live tree, if not the one that REPO names.")


def write_changed(changes: Iterable[Change], links: Iterable[LinksChanged], *, times: bool) -> None:
    """The paths of changes for ``-z``, each once."""
    paths = [item.path for item in changes if times or not item.is_time_only]
    paths += [path for link in links for part in link.parts for path in part]
    for path in dict.fromkeys(paths):
        write_name(path)


def status_lines(session: Session, name: str, found: Status, times: bool) -> Iterator[str]:
    """What a check-in would record, for people."""
    if found.base is None:
        yield f"{name}: {found.findings.entries} entries, nothing checked in yet"
    elif found.tree == found.old_tree:
        yield f"{name}: nothing to check in since {found.base.hex()[:7]}"
    elif not found.changes and not found.links:
        yield f"{name}: nothing has changed since {found.base.hex()[:7]}; a check-in updates records after edits by git"
    yield from change_lines(session, found.changes, found.links, times)
    for refusal in found.findings.refusals:
        yield f"refused: /{display(refusal.path)}: {refusal.why}"
        yield from (f"  {line}" for line in alternatives(refusal.hint))


def change_lines(
    session: Session, changes: Iterable[Change], links: Iterable[LinksChanged], times: bool, *, plain: bool = False
) -> Iterator[str]:
    """A line for each change, words aligned; changes of times alone are counted only."""
    changes = list(changes)
    shown = [item for item in changes if times or not item.is_time_only]
    paths = [display(item.path) or "." for item in shown]
    width = min(48, max((columns(path) + 1 for path in paths), default=0))
    for item, path in zip(shown, paths, strict=True):
        words = ", ".join(details(item, times=times))
        yield f"{letter(item.letter, colour=session.colour and not plain)}  {padded(path, width)}  {words}".rstrip()
    for link in links:
        yield str(link)
    if len(shown) < len(changes):
        yield f"({counted(len(changes) - len(shown), 'entry differs', 'entries differ')} only in time: --times)"


def note_skipped(session: Session, found: Status) -> None:
    """Say what the walk left out: mounts and sockets."""
    for path in found.findings.mounts:
        session.observer.notice(f"/{display(path)} is a mount point: the content below it keeps its last record")
    for path in found.findings.sockets:
        session.observer.notice(f"/{display(path)} is a socket: not recorded")
    for path in found.findings.own_data:
        session.observer.notice(f"/{display(path)} is gitstate's own data: mode and owner alone are recorded")


def unrecorded_json(found: Iterable[tuple[bytes, str]]) -> list[dict[str, str]]:
    """What could not be read, for JSON."""
    return [{"path": octal(path) or ".", "why": why} for path, why in found]


def status_json(name: str, live: Path, found: Status) -> dict[str, Any]:
    """What a check-in would record, for JSON."""
    findings = found.findings
    return {
        "repository": name,
        "live": location(live),
        "base": found.base.hex() if found.base else None,
        "tree": found.tree.hex(),
        "entries": findings.entries,
        "changes": [as_json(item) for item in found.changes],
        "links": [as_json(item) for item in found.links],
        "unrecorded": unrecorded_json(findings.unrecorded),
        "refused": [
            {"path": octal(one.path) or ".", "rule": one.rule, "why": one.why, "hint": one.hint}
            for one in findings.refusals
        ],
        "mounts": [octal(path) for path in findings.mounts],
        "sockets": [octal(path) for path in findings.sockets],
    }


def unread_error(found: Status) -> PartlyDoneError:
    """The error that names what could not be read."""
    named = [f"/{display(path)} ({why})" for path, why in sorted(found.findings.unrecorded)]
    return PartlyDoneError(
        f"not recorded: {some_of(named, _NAMED)}",
        "their last records are kept; mend that, run it as root, or skip them in the policy file",
    )
