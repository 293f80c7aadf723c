"""status and checkin."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from gitstate import checkin as engine
from gitstate import settings
from gitstate.change import Change, LinksChanged, as_json, details
from gitstate.checkin import Allowance, Status
from gitstate.cli.app import Session, common, names, pass_session, writes
from gitstate.cli.output import emit, letter, seconds, write_name
from gitstate.errors import PartlyDone, UsageFault
from gitstate.names import octal, tree_path
from gitstate.scan.shapes import Findings

_REPO = click.argument("repo", required=False)
_LIVE = click.option("--live", type=click.Path(path_type=Path), help="The tree to look at, if not the recorded one.")


@click.command(
    epilog="Examples:\n\n\b\n  gitstate status desktop\n  cd /srv/gitstate/live/desktop/etc && gitstate status"
)
@_REPO
@_LIVE
@click.option("--times", is_flag=True, help="Show changes of times alone, too.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there is anything to record.")
@common
@names
@pass_session
def status(session: Session, repo: str | None, live: Path | None, times: bool, exit_code: bool) -> int:
    """Show what a check-in of REPO's live tree would record."""
    name = session.name(repo)
    repository = session.site.repository(name)
    found = engine.status(repository, engine.live_tree(repository, live), session.observer)
    if session.zero:
        for item in found.changes:
            if times or not item.is_time_only:
                write_name(item.path, session)
    else:
        emit(session, "status/1", {"repository": name, **_as_json(found)}, _lines(session, name, found, times))
    if found.findings.unrecorded:
        raise _partly(found.findings)
    return 1 if exit_code and found.tree != found.old_tree else 0


def _lines(session: Session, name: str, found: Status, times: bool) -> Iterator[str]:
    if found.base is None:
        yield f"{name}: {found.findings.entries} entries, nothing checked in yet"
    elif found.tree == found.old_tree:
        yield f"{name}: nothing to check in since {found.base.hex()[:7]}"
    yield from change_lines(session, found.changes, found.links, times)
    yield from _notes(found.findings)


def change_lines(
    session: Session, changes: Iterable[Change], links: Iterable[LinksChanged], times: bool
) -> Iterator[str]:
    """A line for each change, words aligned; changes of times alone are counted only."""
    changes = list(changes)
    shown = [item for item in changes if times or not item.is_time_only]
    width = min(48, max((len(octal(item.path)) + 1 for item in shown), default=0))
    for item in shown:
        path = octal(item.path) or "."
        words = ", ".join(details(item, times=times))
        yield f"{letter(item.letter, colour=session.colour)}  {path:<{width}}  {words}".rstrip()
    for link in links:
        yield str(link)
    if len(shown) < len(changes):
        count = len(changes) - len(shown)
        yield f"({count} {'entry' if count == 1 else 'entries'} with another time only: --times)"


def _notes(findings: Findings) -> Iterator[str]:
    for path in findings.mounts:
        yield f"note: /{octal(path)} is a mount point: what lies under it keeps its last record"
    for path in findings.sockets:
        yield f"note: /{octal(path)} is a socket: not recorded"
    for refusal in findings.refusals:
        yield f"refused: /{octal(refusal.path)}: {refusal.why} ({refusal.hint})"


def _as_json(found: Status) -> dict[str, Any]:
    findings = found.findings
    return {
        "base": found.base.hex() if found.base else None,
        "tree": found.tree.hex(),
        "entries": findings.entries,
        "changes": [as_json(item) for item in found.changes],
        "links": [as_json(item) for item in found.links],
        "unrecorded": [{"path": octal(path), "why": why} for path, why in findings.unrecorded],
        "refused": [{"path": octal(one.path), "rule": one.rule, "why": one.why} for one in findings.refusals],
        "mounts": [octal(path) for path in findings.mounts],
        "sockets": [octal(path) for path in findings.sockets],
    }


def _partly(findings: Findings) -> PartlyDone:
    path, why = findings.unrecorded[0]
    more = f" and {len(findings.unrecorded) - 1} more" if len(findings.unrecorded) > 1 else ""
    return PartlyDone(
        f"could not be read: /{octal(path)} ({why}){more}",
        "what could not be read keeps its last record; run it as root to record it",
    )


@click.command(
    epilog="Examples:\n\n\b\n"
    "  gitstate checkin desktop -m 'printer in room 3'\n"
    "  gitstate checkin desktop -m 'test key' --allow etc/ssl/private/test.key --because 'public test key'"
)
@_REPO
@click.option("-m", "--message", required=True, help="What was changed and why.")
@_LIVE
@click.option("--branch", default="main", show_default=True, help="The branch to record on.")
@click.option("--author", help="Who made the change: 'Name <mail>'.")
@click.option("--allow", multiple=True, metavar="PATH", help="Record this path although policy refuses it …")
@click.option("--because", multiple=True, metavar="TEXT", help="… and why; one for each --allow.")
@click.option("--replace", is_flag=True, help="Record this tree over commits that it never had.")
@common
@writes
@pass_session
def checkin(
    session: Session,
    repo: str | None,
    message: str,
    live: Path | None,
    branch: str,
    author: str | None,
    allow: tuple[str, ...],
    because: tuple[str, ...],
    replace: bool,
) -> None:
    """Record what changed in REPO's live tree as a commit."""
    name = session.name(repo)
    repository = session.site.repository(name)
    request = engine.Request(
        repository=repository,
        live=engine.live_tree(repository, live),
        message=message,
        author=settings.author(session.settings, author),
        committer=settings.committer(),
        branch=engine.branch_name(branch),
        allow=_allowances(allow, because),
        replace=replace,
    )
    if session.dry_run:
        found = engine.status(repository, request.live, session.observer, allow=request.allow)
        value = {"repository": name, "commit": None, **_as_json(found)}
        emit(session, "checkin/1", value, _lines(session, name, found, False))
        engine.refuse(found.findings)
    else:
        result = engine.record(request, session.observer)
        found = result.status
        value = {
            "repository": name,
            "commit": result.commit.hex() if result.commit else None,
            **_as_json(found),
            "objects": result.objects,
            "blobs": result.blobs,
            "seconds": round(result.seconds, 3),
        }
        emit(session, "checkin/1", value, _result(name, result))
    if found.findings.unrecorded:
        raise _partly(found.findings)


def _allowances(paths: tuple[str, ...], reasons: tuple[str, ...]) -> tuple[Allowance, ...]:
    if len(paths) != len(reasons):
        raise UsageFault("every --allow wants its --because", "--allow PATH --because TEXT")
    if any(not reason.strip() or "\n" in reason for reason in reasons):
        raise UsageFault("a --because is one line of text", "say why this may stand in history")
    return tuple(Allowance(tree_path(os.fsencode(path)), why) for path, why in zip(paths, reasons, strict=True))


def _result(name: str, result: engine.Result) -> Iterator[str]:
    found = result.status
    if result.commit is None:
        yield f"{name}: nothing changed"
    else:
        counts = Counter(item.letter for item in found.changes if not item.is_time_only)
        parts = [f"{counts[key]} {word}" for key, word in _WORDS.items() if counts[key]]
        told = f"  {', '.join(parts)}" if parts else ""
        yield f"{result.commit.hex()[:7]}  {found.findings.entries} entries{told}  {seconds(result.seconds)}"
    yield from _notes(found.findings)


_WORDS = {"A": "added", "M": "modified", "D": "deleted", "T": "of another type"}
