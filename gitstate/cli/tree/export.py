"""export, clone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import PATH, Session, command, complete_repository, repo_argument, rev_argument
from gitstate.cli.base.output import emit, location
from gitstate.core import fs
from gitstate.core.errors import UsageError
from gitstate.tree import export as exporting


@command("gitstate export desktop", "gitstate export desktop v12 --to /mnt/root", writes=True)
@repo_argument
@rev_argument
@click.option("--to", metavar="DIR", type=PATH, help="A new or empty directory, instead of the site's exports.")
def export(session: Session, repo: str | None, rev: str | None, to: Path | None) -> None:
    """Export snapshot REV as an immutable directory.

    Prints its path. Files are hard-linked from the nearest export of REPO. An
    export that exists is not made again. A directory of your own (--to) shares
    no files with exports; on btrfs and XFS it shares their disk space.
    """
    name, (revision,) = session.take(repo, rev)
    repository = session.opened.repository(name)
    commit = repository.resolve(revision or "HEAD")
    plan = exporting.plan(repository, commit, session.opened.site.exports_path(name), to)
    nearest = plan.nearest.path if plan.nearest and plan.nearest.linkable else None
    value: dict[str, Any] = {
        "repository": name,
        "commit": commit.hex(),
        "directory": location(plan.target),
        "present": plan.done,
        "nearest": location(nearest) if nearest else None,
        "dry_run": session.dry_run,
    }
    if session.dry_run:
        what = "is there already" if plan.done else f"would be linked from {nearest}" if nearest else "would be written"
        nothing = {"linked": 0, "cloned": 0, "written": 0, "bytes": 0, "inexact_times": 0}
        emit(session, "export/1", value | nothing, [f"{plan.target} {what}"])
        return
    session.observer.phase("export")
    counts = exporting.apply(plan, session.observer)
    value |= {"linked": counts.linked, "cloned": counts.cloned, "written": counts.written, "bytes": counts.bytes}
    value["inexact_times"] = counts.inexact_times
    emit(session, "export/1", value, [str(plan.target)])


@command("gitstate clone desktop ~/desktop", writes=True)
@click.argument("repo", required=False, shell_complete=complete_repository)
@click.argument("directory", required=False, metavar="DIRECTORY", type=click.Path(readable=False))
def clone(session: Session, repo: str | None, directory: str | None) -> None:
    """Clone REPO to DIRECTORY by plain git.

    The clone is set up so that git converts no bytes and shows readable diffs
    of records. Edit it with git, and push your commits back.
    """
    name, (where,) = session.take(repo, directory)
    if where is None:
        raise UsageError("DIRECTORY is missing", "gitstate clone REPO DIRECTORY")
    repository, target = session.opened.repository(name), Path(where)
    value = {"repository": name, "directory": location(target), "dry_run": session.dry_run}
    if session.dry_run:
        fs.require_empty(target, "clone into a new one")
        emit(session, "clone/1", value, [f"would clone {repository.path} to {target}"])
        return
    session.observer.phase(f"git clone {name}")
    repository.clone(target)
    emit(session, "clone/1", value, [str(target)])
