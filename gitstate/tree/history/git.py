"""git's output as a stream of lines, and what its flags mean."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from gitstate.core import git as program
from gitstate.core import process
from gitstate.core.errors import DamagedError, NotFoundError, UsageError
from gitstate.core.failures import ProgramError
from gitstate.store import Repository

Test = Callable[[str], object]
"""Whether a flag, with its value joined to it, is of some kind."""

shows_content: Final[Test] = re.compile(
    r"-p|-u|-U\d+|-c|-X.*|-z|--patch.*|--unified=.*|--stat.*|--numstat|--shortstat|--dirstat.*|--cumulative"
    r"|--summary|--name-only|--name-status|--raw|--compact-summary|--cc|--remerge-diff|--check|--binary"
).fullmatch
hides_content: Final[Test] = re.compile(r"-s|--no-patch").fullmatch
is_for_programs: Final[Test] = re.compile(r"-z|--raw|--numstat|--check").fullmatch
shapes_heads: Final[Test] = re.compile(
    r"-s|--no-patch|--oneline|--graph|--show-signature|--(pretty|format)(=.*)?"
).fullmatch
ends_lines: Final[Test] = re.compile(
    r"--oneline|--(pretty|format)=(oneline|reference|tformat:.*|(?!format:).*%.*)", re.DOTALL
).fullmatch
counts: Final[Test] = re.compile(r"-\d+|-n\d+|--max-count=\d+").fullmatch
skips: Final[Test] = re.compile(r"--skip=\d+").fullmatch
selects_by_content: Final[Test] = re.compile(r"-[SG].*|--(diff-filter|find-object)=.*", re.DOTALL).fullmatch
follows: Final[Test] = re.compile(r"--follow|-L.*").fullmatch
walks: Final[Test] = re.compile(
    r"--reverse|-g|--walk-reflogs|--ancestry-path.*|--boundary|--cherry.*|--(left|right)-only|--left-right"
    r"|--no-walk.*|--do-walk"
).fullmatch
_KNOWN: Final = (shows_content, hides_content, shapes_heads, counts, skips, selects_by_content, follows, walks)
"""None of these takes the next word as its value."""


def check_flag(repository: Repository, flag: str) -> None:
    """Raise UsageError if git would take the word after ``flag`` as its value."""
    if any(known(flag) for known in _KNOWN):
        return
    try:
        repository.git("log", "--max-count=0", flag)
    except ProgramError as error:
        if "requires a value" in error.said:
            example = f"{flag}=VALUE" if flag.startswith("--") else f"{flag}VALUE"
            raise UsageError(f"{flag}: its value has to be in the same word", f"write {example}") from None


def wants_metadata(flags: Sequence[str]) -> bool:
    """Whether ``flags`` leave room for a metadata section."""
    return not any(is_for_programs(flag) or hides_content(flag) for flag in flags)


def merges(flags: Sequence[str], default: str) -> str:
    """Which changes of a merge git shows with ``flags``; see ``TreeDiff.of_commit``."""
    for flag in reversed(flags):
        if flag in ("-c", "--cc", "--remerge-diff"):
            return "combined"
        if flag in ("-m", "--first-parent") or flag.startswith("--diff-merges="):
            return "off" if flag.endswith(("=off", "=none")) else "first"
    return default


def lines(
    repository: Repository,
    command: str,
    arguments: Sequence[str | bytes],
    *,
    color: bool = False,
    objects: Sequence[Path] = (),
    parsed: bool = False,
) -> Iterator[bytes]:
    """Stream what git prints; if ``color``, as for its own pager. Raises UsageError, StorageError.

    ``objects`` are additional object directories. What isn't to be ``parsed`` is shaped by the caller's configuration.
    """
    variables = {}
    if color:
        variables = {"GIT_PAGER_IN_USE": "1", "COLUMNS": str(shutil.get_terminal_size().columns)}
    if objects:
        quoted = (str(one).replace("\\", "\\\\").replace('"', '\\"') for one in objects)
        variables["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = ":".join(f'"{one}"' for one in quoted)
    try:
        argv = (program.on if parsed else program.shown)(repository.path, command, *arguments)
        with process.reading(argv, variables=variables, personal=not parsed) as output:
            yield from output
    except ProgramError as error:
        if isinstance(error, DamagedError):
            raise
        said = error.message.removeprefix(f"git {command}: ")
        if not said.startswith(("fatal: ", "error: ")):  # the last line of git's usage is no help
            said = f"can't understand {' '.join(word for word in arguments if isinstance(word, str))}"
        elif not isinstance(error, UsageError | NotFoundError):
            raise
        raise UsageError(f"git {command}: {said}", f"see git help {command}") from None


def number(flags: Sequence[str], test: Test) -> int | None:
    """The value of the last flag that ``test`` matches."""
    return next((int(re.sub(r"\D", "", flag)) for flag in reversed(flags) if test(flag)), None)
