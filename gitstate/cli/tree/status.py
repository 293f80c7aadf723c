"""status."""

from __future__ import annotations

from pathlib import Path

import click

from gitstate.cli.base.app import Session, command, repo_argument
from gitstate.cli.base.output import emit
from gitstate.cli.tree.changes import live_option, note_skipped, status_json, status_lines, unread_error, write_changed
from gitstate.core.errors import GitstateError, UsageError
from gitstate.tree import checkin as engine


@command(
    "gitstate status", "gitstate status desktop", "cd /srv/gitstate/live/desktop/etc && gitstate status", names=True
)
@repo_argument
@live_option
@click.option("--times", is_flag=True, help="Show entries of which only the time changed, too.")
@click.option("--exit-code", is_flag=True, help="Exit with 1 if there is anything to record.")
@click.option("--quick", is_flag=True, help="Without REPO: skip live trees and boot files.")
def status(session: Session, repo: str | None, live: Path | None, times: bool, exit_code: bool, quick: bool) -> int:
    """Show what a check-in of REPO's live tree would record.

    A added, M modified, D deleted, T of another type; then the path, and what
    changed in its metadata. Without REPO and outside any live tree: an overview
    of the site.
    """
    raw, name = session.raw, repo or _current_repository(session)
    if name is None:
        if live or times or raw:
            raise UsageError("--live, --times and -z need a REPO", "gitstate status REPO")
        from gitstate.cli.site.status import glance  # slow to load, and only the overview needs it

        return glance(session, quick=quick, exit_code=exit_code)
    if quick:
        raise UsageError("--quick and REPO exclude each other", "gitstate status --quick")
    repository = session.opened.repository(name)
    tree = engine.live_tree(repository, live)
    found = engine.status(repository, tree, session.observer)
    if raw:
        write_changed(found.changes, found.links, times=times)
    else:
        emit(session, "status/1", status_json(name, tree, found), status_lines(session, name, found, times))
        note_skipped(session, found)
    if found.findings.unrecorded:
        raise unread_error(found)
    return 1 if exit_code and found.tree != found.old_tree else 0


def _current_repository(session: Session) -> str | None:
    """The repository of the current live tree. Raises NotFoundError, ConfigError if there is no site."""
    site = session.opened.site
    try:
        return site.repository_of(Path.cwd())
    except GitstateError:  # a repository that can't be read is reported by the overview
        return None
