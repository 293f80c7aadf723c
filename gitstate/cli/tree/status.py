"""status."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import click

from gitstate.cli.base.app import Session, command, repo_argument
from gitstate.cli.base.output import emit, suggest
from gitstate.cli.tree.changes import live_option, note_skipped, status_json, status_lines, unread_error, write_changed
from gitstate.core.errors import GitstateError, UsageError
from gitstate.core.wording import counted
from gitstate.tree import checkin as engine
from gitstate.tree import live_root
from gitstate.tree.standing import Standing, standing


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
        stands = standing(repository)
        value = status_json(name, tree, found) | {"main": _standing_json(stands)}
        lines = chain(_standing_lines(name, stands), status_lines(session, name, found, times))
        emit(session, "status/1", value, lines)
        note_skipped(session, found)
        if live_root.is_replaced(repository, tree):
            session.observer.notice(f"{tree} is another directory than at the last check-in: is everything mounted?")
        if any(one.letter == "D" for one in found.changes):
            suggest(session, f"to bring back what was deleted: gitstate restore {name} PATH..., or --all")
    if found.findings.unrecorded:
        raise unread_error(found)
    return 1 if exit_code and found.tree != found.old_tree else 0


def _standing_json(found: Standing | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"commit": found.main.hex(), "behind": found.behind, "ahead": found.ahead}


def _standing_lines(name: str, found: Standing | None) -> Iterator[str]:
    """Whether others have moved main, and what to do about it."""
    if found is not None:
        here = f", which lacks {counted(found.ahead, 'commit')} of the live tree's" if found.ahead else ""
        there = f"{counted(found.behind, 'commit')} behind" if found.behind else "beside"
        yield f"{name}: the live tree is {there} main{here}: gitstate update {name}"


def _current_repository(session: Session) -> str | None:
    """The repository of the current live tree. Raises NotFoundError, ConfigError if there is no site."""
    site = session.opened.site
    try:
        return site.repository_of(Path.cwd())
    except GitstateError:  # a repository that can't be read is reported by the overview
        return None
