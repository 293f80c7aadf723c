"""The command line: thin, and slow to import nothing it doesn't need."""

from __future__ import annotations

import errno
import json
import sys
import traceback

import click

from gitstate.cli.app import Session, app
from gitstate.errors import GitstateError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS)


def main() -> None:
    """Run the command line and exit with the documented code (docs/cli.md)."""
    session = Session()
    try:
        code = app.main(standalone_mode=False, prog_name="gitstate", obj=session)
    except BaseException as error:
        code = _say(session, *_explain(error, session))
    sys.exit(code if isinstance(code, int) else 0)


def _explain(error: BaseException, session: Session) -> tuple[str, str, int]:
    """Message, hint and exit code of whatever was raised."""
    match error:
        case GitstateError():
            return error.message, error.hint, error.code
        case click.ClickException():
            return error.format_message(), _usage_hint(error), 2
        case click.exceptions.Abort() | KeyboardInterrupt():
            return "interrupted", "nothing half done is left; run it again", 130
        case BrokenPipeError():
            sys.stdout = None
            return "", "", 141
        case OSError() if error.errno in _FULL:
            return (
                f"{error.filename or 'the disk'}: {error.strerror}",
                "make room; nothing half done is left",
                6,
            )
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}{error.strerror or error}", "is it there, and are you root?", 5
        case Exception():
            if session.verbose:
                traceback.print_exc()
            return (
                f"bug: {type(error).__name__}: {error}",
                "run it again with -v and report what it prints",
                70,
            )
        case _:
            raise error


def _say(session: Session, message: str, hint: str, code: int) -> int:
    if not message:
        return code
    if session.json or "--json" in sys.argv:
        print(json.dumps({"error": {"code": code, "message": message, "hint": hint}}), file=sys.stderr)
    else:
        print(f"gitstate: {message}" + (f"\n  {hint}" if hint else ""), file=sys.stderr)
    return code


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help shows how" if context else "gitstate --help shows how"
