"""status and checkin."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import Session, common, names, pass_session, repo_argument, writes
from gitstate.cli.base.help import Command
from gitstate.cli.base.output import emit, letter, location, seconds, write_name
from gitstate.core import settings
from gitstate.core.errors import GitstateError, PartlyDoneError, UsageError
from gitstate.core.names import octal, tree_path
from gitstate.core.wording import some_of
from gitstate.tree import checkin as engine
from gitstate.tree.change import Change, LinksChanged, as_json, details
from gitstate.tree.checkin import Allowance, Status
from gitstate.tree.scan.models import Findings

_NAMED = 3
"""So many paths stand in one line."""

_LIVE = click.option(
    "--live",
    metavar="DIR",
    type=click.Path(path_type=Path, readable=False),
    help="The tree to look at, if not the recorded one.",
)


@click.command(
    cls=Command,
    examples=("gitstate status", "gitstate status desktop", "cd /srv/gitstate/live/desktop/etc && gitstate status"),
)
@repo_argument
@_LIVE
@click.option("--times", is_flag=True, help="Show changes of times alone, too.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there is anything to record.")
@click.option("--quick", is_flag=True, help="Without REPO: look into no live tree and no boot file.")
@common
@names
@pass_session
def status(session: Session, repo: str | None, live: Path | None, times: bool, exit_code: bool, quick: bool) -> int:
    """Show what a check-in of REPO's live tree would record.

    A added, M modified, D deleted, T of another type; then the path, and what
    happened to its metadata. Without REPO, and in no live tree: the site at a
    glance.
    """
    raw, name = session.raw, repo or _here(session)
    if name is None:
        if live or times or raw:
            raise UsageError("--live, --times and -z are for one repository", "name it: gitstate status REPO")
        from gitstate.cli.site.status import glance  # whoever asks for one tree needn't wait for it

        return glance(session, quick=quick, exit_code=exit_code)
    if quick:
        raise UsageError("--quick is for the whole site", "gitstate status --quick")
    repository = session.repository(name)
    tree = engine.live_tree(repository, live)
    found = engine.status(repository, tree, session.observer)
    if raw:
        write_changed(found.changes, found.links, times=times)
    else:
        emit(session, "status/1", _as_json(name, tree, found), _lines(session, name, found, times))
        _notes(session, found.findings)
    if found.findings.unrecorded:
        raise _partly(found.findings)
    return 1 if exit_code and found.tree != found.old_tree else 0


def _here(session: Session) -> str | None:
    """The repository whose live tree we stand in. Raises NotFoundError, ConfigError if there is no site."""
    site = session.site
    try:
        return site.repository_of(Path.cwd())
    except GitstateError:  # a repository that can't be read is told of by the glance
        return None


def write_changed(changes: Iterable[Change], links: Iterable[LinksChanged], *, times: bool) -> None:
    """The paths of changes for ``-z``, each once."""
    paths = [item.path for item in changes if times or not item.is_time_only]
    paths += [path for link in links for part in link.parts for path in part]
    for path in dict.fromkeys(paths):
        write_name(path)


def _lines(session: Session, name: str, found: Status, times: bool) -> Iterator[str]:
    if found.base is None:
        yield f"{name}: {found.findings.entries} entries, nothing checked in yet"
    elif found.tree == found.old_tree:
        yield f"{name}: nothing to check in since {found.base.hex()[:7]}"
    elif not found.changes and not found.links:
        yield f"{name}: nothing has changed since {found.base.hex()[:7]}; a check-in renews records that git edited"
    yield from change_lines(session, found.changes, found.links, times)
    for refusal in found.findings.refusals:
        yield f"refused: /{octal(refusal.path)}: {refusal.why} ({refusal.hint})"


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


def _notes(session: Session, findings: Findings) -> None:
    for path in findings.mounts:
        session.observer.notice(f"/{octal(path)} is a mount point: what lies under it keeps its last record")
    for path in findings.sockets:
        session.observer.notice(f"/{octal(path)} is a socket: not recorded")


def unrecorded_json(found: Iterable[tuple[bytes, str]]) -> list[dict[str, str]]:
    """What could not be read, for JSON."""
    return [{"path": octal(path) or ".", "why": why} for path, why in found]


def _as_json(name: str, live: Path, found: Status) -> dict[str, Any]:
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


def _partly(findings: Findings) -> PartlyDoneError:
    named = [f"/{octal(path)} ({why})" for path, why in sorted(findings.unrecorded)]
    return PartlyDoneError(
        f"could not be read: {some_of(named, _NAMED)}",
        "what could not be read keeps its last record; run it as root to record it",
    )


@click.command(
    cls=Command,
    examples=(
        "gitstate checkin desktop -m 'printer in room 3'",
        "gitstate checkin desktop -m 'test key' \\\n    --allow etc/ssl/private/test.key --because 'a public test key'",
    ),
)
@repo_argument
@click.option("-m", "--message", metavar="TEXT", required=True, help="What was changed and why.")
@_LIVE
@click.option("--branch", metavar="NAME", default="main", show_default=True, help="The branch to record on.")
@click.option("--author", metavar="NAME", help="Who made the change: 'Name <mail>'.")
@click.option("--allow", multiple=True, metavar="PATH", help="Record this path although policy refuses it; repeatable.")
@click.option("--because", multiple=True, metavar="TEXT", help="Why it may stand in history; one for each --allow.")
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
    """Record what changed in REPO's live tree as a commit.

    What policy refuses (private keys, password hashes, a machine's own
    identity) stops it, and nothing is recorded. So does a branch that has
    moved since this tree was last recorded on it; a new branch begins at the
    commit that the tree was last recorded as on main.
    """
    name = session.name(repo)
    repository = session.repository(name)
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
        found, result = engine.status(repository, request.live, session.observer, allow=request.allow), None
    else:
        result = engine.record(request, session.observer)
        found = result.status
    value = _as_json(name, request.live, found) | {
        "branch": request.branch,
        "commit": result.commit.hex() if result and result.commit else None,
        "objects": result.objects if result else 0,
        "blobs": result.blobs if result else 0,
        "seconds": round(result.seconds, 3) if result else None,
        "dry_run": session.dry_run,
    }
    emit(session, "checkin/1", value, [_result(name, result)] if result else _lines(session, name, found, False))
    _notes(session, found.findings)
    if session.dry_run:
        engine.foresee(request, found)
    if found.findings.unrecorded:
        raise _partly(found.findings)


def _allowances(paths: tuple[str, ...], reasons: tuple[str, ...]) -> tuple[Allowance, ...]:
    if len(paths) != len(reasons):
        raise UsageError("every --allow wants its --because", "--allow PATH --because TEXT")
    if any(not reason.strip() or "\n" in reason for reason in reasons):
        raise UsageError("a --because is one line of text", "say why this may stand in history")
    return tuple(Allowance(tree_path(os.fsencode(path)), why) for path, why in zip(paths, reasons, strict=True))


def _result(name: str, result: engine.Result) -> str:
    if result.commit is None:
        return f"{name}: nothing changed"
    counts = Counter(item.letter for item in result.status.changes if not item.is_time_only)
    parts = [f"{counts[key]} {word}" for key, word in _WORDS.items() if counts[key]]
    told = f"  {', '.join(parts)}" if parts else ""
    return f"{result.commit.hex()[:7]}  {result.status.findings.entries} entries{told}  {seconds(result.seconds)}"


_WORDS = {"A": "added", "M": "modified", "D": "deleted", "T": "of another type"}
