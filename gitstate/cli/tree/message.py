"""The message of a check-in, asked for in an editor as git does."""

from __future__ import annotations

import sys

from gitstate.cli.base.app import Session
from gitstate.cli.base.output import DeclinedError, suggest
from gitstate.cli.tree.changes import change_lines
from gitstate.core import environment, process, settings
from gitstate.core.errors import HostError, UsageError
from gitstate.core.fs import write_file
from gitstate.tree import checkin as engine
from gitstate.tree.checkin import Request, Status

_HELP = """
# Say above what was changed and why: a short line, and if need be an empty one and more.
# Lines that begin with # are left out; an empty message checks in nothing.
#
"""


def ask(session: Session, request: Request, found: Status) -> str:
    """The message that a person writes for what ``found`` shows. Raises DeclinedError for none, UsageError, HostError.

    What would stop the check-in is raised before anybody writes. In a script only an editor that GIT_EDITOR names is
    started: another would wait for a terminal for ever.
    """
    if session.json or not (sys.stdin.isatty() or environment.own().get("GIT_EDITOR")):
        raise UsageError("a check-in needs a message", "-m TEXT")
    engine.preview(request, found)
    before = engine.to_amend(request).message.strip() if request.amend else ""
    if not request.amend and found.tree == found.old_tree:
        return "nothing"  # and nothing will be recorded
    path = request.repository.private / "CHECKIN_EDITMSG"
    lines = change_lines(session, found.changes, found.links, times=False, plain=True)
    text = before + "\n" + _HELP + "".join(f"# {line}\n" for line in lines)
    write_file(path, text.encode("utf-8", "surrogateescape"), 0o600)
    editor = settings.editor(request.repository.path)
    if editor is None:
        raise UsageError("a check-in needs a message, and there is no editor", "-m TEXT, or set EDITOR")
    # As git runs it: the setting is a shell command, the file's name its argument.
    code = process.show(["sh", "-c", f'{editor} "$@"', editor, str(path)], variables=environment.own())
    if code:
        raise HostError(
            f"the editor ended with exit code {code}: nothing recorded", f"-m TEXT, or set EDITOR: {editor}"
        )
    written = path.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    path.unlink()
    message = "\n".join(line.rstrip() for line in written if not line.startswith("#")).strip()
    if not message:
        suggest(session, "an empty message: nothing recorded")
        raise DeclinedError
    return message
