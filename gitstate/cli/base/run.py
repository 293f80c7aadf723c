"""One run of the command line: streams, errors in words, the exit code."""

from __future__ import annotations

import os
import sys
import warnings
from contextlib import suppress
from itertools import chain
from typing import Any

import click

from gitstate.cli.base import progress
from gitstate.cli.base.app import ReaderGoneError, Session, app
from gitstate.cli.base.help import HelpWantedError
from gitstate.cli.base.output import DeclinedError, alternatives, flush
from gitstate.core import failures
from gitstate.core.errors import GitstateError
from gitstate.core.names import visible

_CLOSED = 141  # what a shell makes of SIGPIPE


def run() -> None:
    """Run the command line and exit with the documented code (docs/cli.md)."""
    session = Session()
    _open_streams()
    warnings.showwarning = _show_warning
    code = _run(session)
    _discard_output()
    sys.exit(code)


def _run(session: Session) -> int:
    try:
        try:
            code = app.main(standalone_mode=False, prog_name="gitstate", obj=session)
        finally:
            progress.clear()
        flush()
    except SystemExit as end:  # of shell completion
        return end.code if isinstance(end.code, int) else 0
    except HelpWantedError as wanted:
        if not session.json:
            with suppress(OSError):
                print(wanted.format_message(), file=sys.stderr)
            return 2
        return _print_error(session, *_describe(wanted, session))
    except BaseException as error:
        return _print_error(session, *_describe(error, session))
    return code if isinstance(code, int) else 0


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    progress.clear()
    with suppress(OSError):
        print(f"gitstate: {message}", file=sys.stderr)


# --- streams ----------------------------------------------------------------------------------------------------------


def _open_streams() -> None:
    """Open those of the three standard descriptors that the caller closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # else the next file that we open gets this number
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)


def _discard_output() -> None:
    """The error is printed already: else Python would try again, print another one, and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- errors -----------------------------------------------------------------------------------------------------------


def _describe(error: BaseException, session: Session) -> tuple[str, str, int]:
    """Message, hint and exit code for an error."""
    match error:
        case GitstateError():
            return error.message, error.hint, error.code
        case HelpWantedError():
            return "no command given", _usage_hint(error), 2
        case click.ClickException():
            return error.format_message(), _usage_hint(error), 2
        case click.exceptions.Abort() | KeyboardInterrupt():
            return "interrupted", "nothing half done is left; run it again", 130
        case DeclinedError():
            return "nothing done", "", 1
        case ReaderGoneError() | BrokenPipeError():
            return "", "", _CLOSED
        case Exception() if known := failures.of_exception(error):
            return known.message, known.hint, known.code
        case Exception():
            if session.verbose:
                import traceback

                traceback.print_exc()
            return f"bug: {type(error).__name__}: {error}", "run it again with -v and report what it prints", 70
        case _:
            raise error


def _print_error(session: Session, message: str, hint: str, code: int) -> int:
    with suppress(OSError):  # in order with standard error if both go to one place
        sys.stdout.flush()
    message, hints = visible(message), [visible(line) for line in hint.splitlines()]
    text = "\n  ".join([f"gitstate: {message}", *chain.from_iterable(map(alternatives, hints))])
    if session.json or _wants_json(sys.argv):
        import json

        text = json.dumps({"error": {"code": code, "message": message, "hint": "\n".join(hints)}})
    if message:
        with suppress(OSError):
            print(text, file=sys.stderr)
    return code


def _wants_json(argv: list[str]) -> bool:
    """Judge by the plain words: errors of parsing are in JSON, too."""
    return "--json" in argv[: argv.index("--") if "--" in argv else None]


def _usage_hint(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help shows how" if context else "gitstate --help shows how"
