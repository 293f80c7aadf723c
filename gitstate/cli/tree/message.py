"""The message of a check-in, asked for in an editor as git does."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gitstate.cli.base.app import Session
from gitstate.cli.base.output import DeclinedError, suggest
from gitstate.cli.tree.changes import change_lines
from gitstate.core import environment, process, settings
from gitstate.core.errors import HostError, UsageError
from gitstate.core.fs import write_file
from gitstate.core.names import visible
from gitstate.tree import checkin as engine
from gitstate.tree.checkin import Request, Status

_HELP = """
# Say above what was changed and why: a short line, and if need be an empty one and more.
# Lines that begin with # are left out; an empty message checks in nothing.
#
"""


@contextmanager
def asked(session: Session, request: Request, found: Status) -> Iterator[str]:
    """The message that a person writes for what ``found`` shows; if the check-in fails, it is kept, and said where.

    Raises DeclinedError for none, UsageError, HostError.

    What would stop the check-in is raised before anybody writes. In a script only an editor that GIT_EDITOR names is
    started: another would wait for a terminal for ever.
    """
    if session.json or not (sys.stdin.isatty() or environment.own().get("GIT_EDITOR")):
        raise UsageError(
            "a check-in needs a message", "-m TEXT; an editor opens only in a terminal, or if GIT_EDITOR is set"
        )
    engine.preview(request, found)
    before = engine.to_amend(request).message.strip() if request.amend else ""
    if not request.amend and found.tree == found.old_tree:
        yield "nothing"  # and nothing will be recorded
        return
    path = request.repository.private / "CHECKIN_EDITMSG"
    lines = change_lines(session, found.changes, found.links, times=False, plain=True)
    message = _written(path, before + "\n" + _HELP + "".join(f"# {line}\n" for line in lines), request)
    if not message:
        path.unlink()
        suggest(session, "an empty message: nothing recorded")
        raise DeclinedError
    try:
        yield message
    except Exception:
        suggest(session, f"the message is kept in {visible(str(path))}")
        raise
    path.unlink(missing_ok=True)


def _written(path: Path, text: str, request: Request) -> str:
    """What an editor makes of ``text``, without the lines that begin with #. Raises UsageError, HostError."""
    editor = settings.editor(request.repository.path)
    if editor is None:
        raise UsageError("a check-in needs a message, and there is no editor", "-m TEXT, or set EDITOR")
    write_file(path, text.encode("utf-8", "surrogateescape"), 0o600)
    # As git runs it: the setting is a shell command, the file's name its argument.
    code = process.show(["sh", "-c", f'{editor} "$@"', editor, str(path)], variables=environment.own())
    if code:
        raise HostError(
            f"the editor {editor} ended with exit code {code}: nothing recorded",
            "-m TEXT, or another editor: GIT_EDITOR=nano gitstate checkin",
        )
    written = path.read_bytes().decode("utf-8", "surrogateescape").splitlines()
    return "\n".join(line.rstrip() for line in written if not line.startswith("#")).strip()
