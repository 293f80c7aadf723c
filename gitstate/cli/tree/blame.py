"""blame."""

from __future__ import annotations

from dataclasses import asdict

from gitstate.cli.base.app import Session, command
from gitstate.cli.base.output import emit, moment
from gitstate.cli.tree.git_words import GitCommand, git_arguments, page, parse_words
from gitstate.core.names import octal
from gitstate.tree.history import blame as asking


@command(
    "gitstate blame desktop etc/fstab",
    "gitstate blame desktop v1 etc/fstab",
    "gitstate blame desktop -L 10,20 etc/ssh/sshd_config",
    cls=GitCommand,
)
@git_arguments("[REPO] [GIT OPTION]... [REV] [--] PATH")
def blame(session: Session, words: tuple[str, ...]) -> None:
    """Show which commit set each line of a file, by whom and when.

    Takes the options of git blame (-L, -w, -C, --porcelain). It tells of content:
    who changed owner or mode is shown by gitstate log -p -- PATH.
    """
    name, arguments = parse_words(session, words)
    asked = asking.ask(session.opened.repository(name), arguments)
    if not session.json:
        page(session, asked.output(color=session.colour))
        return
    lines = [asdict(line) | {"when": moment(line.when)} for line in asked.lines()]
    emit(session, "blame/1", {"repository": name, "path": octal(asked.path), "lines": lines}, [])
