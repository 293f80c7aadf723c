"""git's output as a stream of lines, and what its flags ask for."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from gitstate.core import process
from gitstate.core.errors import UsageError
from gitstate.store import Repository

Test = Callable[[str], object]
"""Whether a flag, its value joined to it, is of some kind."""

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

_is_mistake: Final = re.compile(
    r"unrecognized|unknown|invalid|ambiguous|cannot be used|exclusive|incompatible|requires|expects|usage"
).search


def wants_metadata(flags: Sequence[str]) -> bool:
    """Whether a metadata section has a place in what ``flags`` ask for."""
    return not any(is_for_programs(flag) or hides_content(flag) for flag in flags)


def merges(flags: Sequence[str], default: str) -> str:
    """What of a merge git shows with ``flags``, in the words of ``Trees.of_commit``."""
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
    objects: Path | None = None,
) -> Iterator[bytes]:
    """What git prints, as it does in its own pager if ``color``. Raises UsageError, StorageError.

    ``objects`` is a further directory to find objects in.
    """
    variables = {}
    if color:
        variables = {"GIT_PAGER_IN_USE": "1", "COLUMNS": str(shutil.get_terminal_size().columns)}
    if objects is not None:
        quoted = str(objects).replace("\\", "\\\\").replace('"', '\\"')
        variables["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = f'"{quoted}"'
    try:
        argv = ["git", f"--git-dir={repository.path}", command, *arguments]
        with process.reading(argv, variables=variables) as output:
            yield from output
    except process.ProgramError as error:
        if error.tells_of_damage:
            raise
        said = error.message.removeprefix(f"git {command}: ")
        if not said.startswith(("fatal: ", "error: ")):  # the end of git's usage, which tells nothing
            said = f"it can't mean {' '.join(word for word in arguments if isinstance(word, str))}"
        elif not _is_mistake(said):
            raise
        raise UsageError(f"git {command}: {said}", f"see git help {command}") from None


def number(flags: Sequence[str], test: Test) -> int | None:
    """The value of the last flag that ``test`` knows."""
    return next((int(re.sub(r"\D", "", flag)) for flag in reversed(flags) if test(flag)), None)
