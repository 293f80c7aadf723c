"""export, manifest and verify."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import click

from gitstate import export as exporting
from gitstate import verify as verifying
from gitstate.change import as_json
from gitstate.cli.app import Session, common, pass_session, writes
from gitstate.cli.output import emit
from gitstate.cli.record import change_lines
from gitstate.errors import NotFound
from gitstate.names import octal


@click.command(epilog="Examples:\n\n\b\n  gitstate export desktop HEAD\n  gitstate export desktop v12 --to /mnt/root")
@click.argument("repo")
@click.argument("rev", default="HEAD")
@click.option("--to", type=click.Path(path_type=Path), help="An empty or new directory, instead of the site's exports.")
@common
@writes
@pass_session
def export(session: Session, repo: str, rev: str, to: Path | None) -> None:
    """Make an immutable tree of snapshot REV and print its directory. Does nothing if it is there."""
    repository = session.site.repository(repo)
    commit = repository.resolve(rev)
    plan = exporting.plan(repository, commit, session.site.exports_path(repo), to)
    value: dict[str, Any] = {"repository": repo, "commit": commit.hex(), "directory": str(plan.target)}
    if session.dry_run:
        nearest = str(plan.nearest.path) if plan.nearest else None
        what = "is there already" if plan.done else f"would be linked from {nearest}" if nearest else "would be written"
        emit(session, "export/1", {**value, "linked": 0, "written": 0, "bytes": 0}, [f"{plan.target} {what}"])
        return
    session.observer.phase("export")
    tally = exporting.apply(plan, session.observer)
    value |= {"linked": tally.linked, "written": tally.written, "bytes": tally.bytes}
    emit(session, "export/1", value, [str(plan.target)])


@click.command(epilog="Example:  gitstate manifest desktop HEAD > desktop.mtree && mtree -f desktop.mtree -p DIR")
@click.argument("repo")
@click.argument("rev", default="HEAD")
@common
@pass_session
def manifest(session: Session, repo: str, rev: str) -> None:
    """Print snapshot REV as one mtree specification with SHA-256 of every file."""
    repository = session.site.repository(repo)
    commit = repository.resolve(rev)
    digest, entries = hashlib.sha256(), 0
    for line in verifying.full_manifest(repository, commit, session.observer):
        digest.update(line.encode("ascii"))
        entries += not line.startswith("#")
        if not session.json:
            sys.stdout.write(line)
    if session.json:
        value = {"repository": repo, "commit": commit.hex(), "entries": entries, "sha256": digest.hexdigest()}
        emit(session, "manifest/1", value, [])


@click.command(epilog="Example:  gitstate verify desktop HEAD /srv/gitstate/exports/desktop/4be1c02…")
@click.argument("repo")
@click.argument("rev", default="HEAD")
@click.argument("directory", required=False, type=click.Path(path_type=Path))
@common
@pass_session
def verify(session: Session, repo: str, rev: str, directory: Path | None) -> int:
    """Compare DIRECTORY (REV's export if left out) with snapshot REV. Exits with 1 if they differ."""
    repository = session.site.repository(repo)
    commit = repository.resolve(rev)
    target = directory or session.site.exports_path(repo) / commit.hex()
    if not target.is_dir():
        raise NotFound(f"{target} doesn't exist", f"gitstate export {repo} {rev} makes it")
    found = verifying.verify(repository, commit, target, session.observer)
    value = {
        "repository": repo,
        "commit": commit.hex(),
        "directory": str(target),
        "equal": not found,
        "changes": [as_json(item) for item in found.changes],
        "links": [as_json(item) for item in found.links],
        "unread": [{"path": octal(path), "why": why} for path, why in found.unread],
    }
    lines = [*change_lines(session, found.changes, found.links, True)]
    lines += [f"?  {octal(path)}  {why}" for path, why in found.unread]
    emit(session, "verify/1", value, lines or [f"{target} is {commit.hex()[:7]}"])
    return 1 if found else 0
