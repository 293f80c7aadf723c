"""log and show: git's own arguments, metadata in words."""

from __future__ import annotations

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit
from gitstate.cli.tree.git_words import GitCommand, by_kind, git_arguments, page, parse_words
from gitstate.tree import history


@command(
    "gitstate log desktop -- etc/fstab",
    "gitstate log desktop -p -3",
    "gitstate log desktop --since=yesterday",
    cls=GitCommand,
)
@git_arguments()
def log(session: Session, words: tuple[str, ...]) -> None:
    """Show history. Takes the options of git log.

    With paths, list the commits that changed their content or their metadata.
    Write the value of an option in the same word: --date=iso.
    """
    name, arguments = parse_words(session, words)
    repository = session.opened.repository(name)
    if session.json:
        emit(session, "log/1", {"repository": name, "commits": list(history.log_json(repository, arguments))}, [])
    else:
        page(session, history.log(repository, arguments, color=session.colour))


@command(
    "gitstate show desktop",
    "gitstate show desktop HEAD~1 -- etc",
    "gitstate show desktop v1:etc/fstab",
    cls=GitCommand,
)
@git_arguments()
def show(session: Session, words: tuple[str, ...]) -> None:
    """Show what snapshots changed. Takes the options of git show.

    Changes of content are followed by those of owners, modes, ACLs,
    capabilities, devices and hard links.
    """
    name, arguments = parse_words(session, words)
    repository = session.opened.repository(name)
    if session.json:
        commits = [one | by_kind(one["changes"]) for one in history.show_json(repository, arguments)]
        emit(session, "show/1", {"repository": name, "commits": commits}, [])
    else:
        page(session, history.show(repository, arguments, color=session.colour))
