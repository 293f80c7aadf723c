"""clone."""

from __future__ import annotations

from pathlib import Path

import click

from gitstate.cli.base.app import Session, command, complete_repository
from gitstate.cli.base.output import emit, location
from gitstate.core.errors import UsageError


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
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UsageError(f"{target} is not an empty directory", "clone into a new one")
        emit(session, "clone/1", value, [f"would clone {repository.path} to {target}"])
        return
    session.observer.phase(f"git clone {name}")
    repository.clone(target)
    emit(session, "clone/1", value, [str(target)])
