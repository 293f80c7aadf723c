"""log, show and diff: git's own words, arguments and output, and after it metadata in words.

All give their output as a stream of bytes for the caller to write or page; ``color`` says that a terminal reads it.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

from gitstate import process
from gitstate.change import LinksChanged, as_json
from gitstate.errors import NotFound, StorageFault, UsageFault
from gitstate.history.arguments import Asked, parse_revision, split
from gitstate.history.report import section
from gitstate.history.trees import Trees, reader_beside
from gitstate.snapshot import Read
from gitstate.store import Repository

__all__ = [
    "Asked",
    "diff",
    "diff_json",
    "diff_trees",
    "differs",
    "log",
    "log_json",
    "show",
    "show_json",
    "sides",
    "split",
]

Test = Callable[[str], object]

_shows_content: Final[Test] = re.compile(
    r"-p|-u|-U\d+|-c|-X.*|--patch.*|--unified=.*|--stat.*|--numstat|--shortstat|--dirstat.*|--cumulative|--summary"
    r"|--name-only|--name-status|--raw|--compact-summary|--cc|--remerge-diff|--check|--binary|-z"
).fullmatch
_is_for_programs: Final[Test] = re.compile(r"-s|-z|--no-patch|--raw|--numstat|--check|--quiet").fullmatch
_shapes: Final[Test] = re.compile(r"-s|--no-patch|--oneline|--graph|--(pretty|format)(=.*)?").fullmatch
_counts: Final[Test] = re.compile(r"-\d+|-n\d+|--max-count=\d+").fullmatch
_skips: Final[Test] = re.compile(r"--skip=\d+").fullmatch
_selects_by_content: Final[Test] = re.compile(r"-[SG].*|--(diff-filter|find-object)=.*").fullmatch
_follows: Final[Test] = re.compile(r"--follow|-L.*").fullmatch
_walks: Final[Test] = re.compile(
    r"--reverse|-g|--walk-reflogs|--ancestry-path.*|--boundary|--cherry.*|--(left|right)-only|--left-right|--no-walk.*"
).fullmatch
_ends_lines: Final[Test] = re.compile(
    r"--oneline|--(pretty|format)=(oneline|reference|tformat:.*|.*%.*)"
).fullmatch
_is_mistake: Final = re.compile(
    r"unrecognized|unknown|invalid|ambiguous|cannot be used|exclusive|incompatible|requires|expects|usage|not a valid"
).search


# --- log ----------------------------------------------------------------------------------------------------


def log(repository: Repository, arguments: Sequence[str], *, color: bool = False) -> Iterator[bytes]:
    """``git log``. With paths, commits stay that changed their records too; with content, metadata follows it."""
    asked = split(repository, arguments)
    flags = asked.flags
    content = any(map(_shows_content, flags)) and not (
        flags and any(f in ("-s", "--no-patch") for f in flags)
    )
    if any(map(_follows, flags)):
        paths = [spec.stored for spec in asked.paths.specs]
        return _git(repository, "log", [*flags, *asked.revisions, "--", *paths], color=color)
    if "--graph" in flags and (content or asked.paths):
        raise UsageFault(
            "--graph goes with neither paths nor content here", f"plain git: git -C {repository.path} log"
        )
    if content:
        return _log_with_content(repository, asked, color=color)
    if asked.paths and not any(map(_selects_by_content, flags)):
        return _log_of_records(repository, asked, color=color)
    paths = asked.paths.of_content if any(map(_selects_by_content, flags)) else []
    return _git(repository, "log", [*flags, *asked.revisions, "--", *paths], color=color)


def log_json(repository: Repository, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The commits that ``log`` lists, each with the number of its changes by letter."""
    asked = split(repository, arguments)
    trees = Trees(repository.read, asked.paths)
    return (
        _commit_json(repository, oid)
        | {"counts": _count(trees, repository, oid, _merges(asked.flags, "combined"))}
        for oid in _commits(repository, asked)
    )


def _commits(repository: Repository, asked: Asked) -> Iterator[bytes]:
    """The commits that ``log`` lists, in its order."""
    flags = [flag for flag in asked.flags if not _shows_content(flag) and not _shapes(flag)]
    if not asked.paths or any(map(_selects_by_content, flags)):
        paths = asked.paths.of_content if any(map(_selects_by_content, flags)) else []
        yield from _ids(repository, [*flags, *asked.revisions, "--", *paths])
        return
    most, skip = _number(flags, _counts), _number(flags, _skips) or 0
    rest = [flag for flag in flags if flag != "--reverse" and not _counts(flag) and not _skips(flag)]
    trees, merges = Trees(repository.read, asked.paths), _merges(flags, "combined")
    candidates = _ids(repository, [*rest, *asked.revisions, "--", *asked.paths.of_records])
    changed = (oid for oid in candidates if next(trees.of_commit(repository, oid, merges), None))
    found = islice(changed, skip, None if most is None else skip + most)
    yield from reversed(list(found)) if "--reverse" in flags else found


def _ids(repository: Repository, arguments: Sequence[str | bytes]) -> Iterator[bytes]:
    for line in _git(repository, "log", ["--format=%H", *arguments]):
        if len(line) == 41:
            yield bytes.fromhex(line.decode())


def _number(flags: Sequence[str], test: Test) -> int | None:
    """The value of the last flag that ``test`` knows."""
    return next((int(re.sub(r"\D", "", flag)) for flag in reversed(flags) if test(flag)), None)


def _merges(flags: Sequence[str], default: str) -> str:
    """What of a merge git shows with ``flags``."""
    for flag in reversed(flags):
        if flag in ("-c", "--cc", "--remerge-diff"):
            return "combined"
        if flag in ("-m", "--first-parent") or flag.startswith("--diff-merges="):
            return "off" if flag.endswith(("=off", "=none")) else "first"
    return default


_BATCH: Final = 200


def _log_of_records(repository: Repository, asked: Asked, *, color: bool) -> Iterator[bytes]:
    """Commits without content, printed by git in batches so that it streams."""
    flags = _display(asked.flags)
    commits, separator = _commits(repository, asked), b""
    while batch := list(islice(commits, _BATCH)):
        yield separator
        yield from _git(
            repository, "log", ["--no-walk=unsorted", *flags, *(oid.hex() for oid in batch)], color=color
        )
        separator = _separator(flags)


def _log_with_content(repository: Repository, asked: Asked, *, color: bool) -> Iterator[bytes]:
    """Commits one by one, metadata after each."""
    flags, merges = _display(asked.flags), _merges(asked.flags, "off")
    trees, separator = Trees(repository.read, asked.paths), b""
    for oid in _commits(repository, asked):
        yield separator
        yield from _git_commit(
            repository, "log", ["--no-walk=unsorted", *flags], oid.hex(), asked, color=color
        )
        told = (
            b""
            if any(map(_is_for_programs, flags))
            else section(trees.of_commit(repository, oid, merges), color=color)
        )
        if told:
            yield b"\n" + told
        separator = b"\n" if told else _separator(flags)


def _git_commit(
    repository: Repository, command: str, flags: Sequence[str], revision: str, asked: Asked, *, color: bool
) -> Iterator[bytes]:
    """One commit as git shows it; its head alone where no content of the paths changed: git would say nothing."""
    silent = True
    for line in _git(repository, command, [*flags, revision, "--", *asked.paths.of_content], color=color):
        silent = False
        yield line
    if silent:
        head = [flag for flag in flags if not _shows_content(flag)]
        yield from _git(repository, command, [*head, "-s", revision], color=color)


def _display(flags: Sequence[str]) -> list[str]:
    """``flags`` without those that choose commits by walking."""
    return [flag for flag in flags if not (_counts(flag) or _skips(flag) or _walks(flag))]


def _separator(flags: Sequence[str]) -> bytes:
    return b"" if any(map(_ends_lines, flags)) else b"\n"


# --- show ---------------------------------------------------------------------------------------------------


def show(repository: Repository, arguments: Sequence[str], *, color: bool = False) -> Iterator[bytes]:
    """``git show``: metadata follows each commit; tags, files (REV:PATH) and ranges as git shows them."""
    asked = split(repository, arguments)
    return _show(repository, asked, list(_shown(repository, asked)), color=color)


def _show(
    repository: Repository, asked: Asked, shown: list[tuple[str, bytes | None]], *, color: bool
) -> Iterator[bytes]:
    trees, merges, separator = Trees(repository.read, asked.paths), _merges(asked.flags, "combined"), b""
    for revision, commit in shown:
        if commit is None:
            yield from _git(repository, "show", [*asked.flags, revision], color=color)
            continue
        changes = list(trees.of_commit(repository, commit, merges))
        if asked.paths and not changes:
            continue
        yield separator
        separator = b"\n"
        yield from _git_commit(repository, "show", asked.flags, revision, asked, color=color)
        told = b"" if any(map(_is_for_programs, asked.flags)) else section(changes, color=color)
        if told:
            yield b"\n" + told


def show_json(repository: Repository, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The commits that ``show`` shows, each with its changes."""
    asked = split(repository, arguments)
    trees, merges = Trees(repository.read, asked.paths), _merges(asked.flags, "combined")
    for revision, commit in _shown(repository, asked):
        if commit is None:
            raise UsageFault(f"{revision} is not a commit", "--json shows commits")
        changes = [as_json(change) for change in trees.of_commit(repository, commit, merges)]
        yield _commit_json(repository, commit) | {"changes": changes}


def _shown(repository: Repository, asked: Asked) -> Iterator[tuple[str, bytes | None]]:
    """What is to be shown: how git is told it, and the commit; None for a file or a directory."""
    for word in asked.revisions or ("HEAD",):
        ids = parse_revision(repository, word)
        if any(oid.startswith("^") for oid in ids):
            yield from ((oid.hex(), oid) for oid in _ids(repository, [word]))
        elif len(ids) == 1:
            yield word, _peeled(repository, word, "commit")
        else:
            yield from ((oid, _peeled(repository, oid, "commit")) for oid in ids)


def _peeled(repository: Repository, revision: str, kind: str) -> bytes | None:
    """The ``kind`` of object that ``revision`` leads to; None if it leads to another."""
    try:
        found = repository.git("rev-parse", "--verify", "--quiet", f"{revision}^{{{kind}}}")
    except StorageFault:
        return None
    return bytes.fromhex(found.decode())


# --- diff ---------------------------------------------------------------------------------------------------


def sides(repository: Repository, asked: Asked) -> tuple[bytes, bytes | None]:
    """The two trees that ``diff`` is asked to compare; the second None for the live tree. Raises UsageFault."""
    if wrong := {"--cached", "--staged", "--no-index", "--merge-base"}.intersection(asked.flags):
        raise UsageFault(
            f"diff {wrong.pop()}: not here", "there is no index; A...B compares with the merge base"
        )
    ids = [oid for word in asked.revisions for oid in parse_revision(repository, word)] or ["HEAD"]
    left_out = [oid[1:] for oid in ids if oid.startswith("^")]
    kept = [oid for oid in ids if not oid.startswith("^")]
    if any("..." in word for word in asked.revisions) and not left_out:
        raise NotFound(f"{' '.join(asked.revisions)}: nothing in common", "compare the two as A B")
    if len(kept) > 2 or not kept:
        raise UsageFault("diff compares two revisions", "gitstate diff REPO A B")
    pair = [left_out[0], kept[0]] if left_out else kept
    trees = [_peeled(repository, oid, "tree") for oid in pair]
    if None in trees:
        raise UsageFault(
            "diff compares snapshots", f"files, by plain git: git -C {repository.path} diff REV:PATH REV:PATH"
        )
    old, new = [*trees, None][:2]
    assert old is not None
    return old, new


def diff(
    repository: Repository, arguments: Sequence[str], *, color: bool = False, times: bool = False
) -> Iterator[bytes]:
    """``git diff`` of two revisions. Raises UsageFault where one of the sides is the live tree: ``diff_trees``."""
    old, new = _two_sides(repository, arguments)
    return diff_trees(repository, old, new, arguments, color=color, times=times)


def diff_trees(
    repository: Repository,
    old: bytes,
    new: bytes,
    arguments: Sequence[str],
    *,
    objects: Path | None = None,
    color: bool = False,
    times: bool = False,
) -> Iterator[bytes]:
    """``git diff`` of two trees with the flags and paths of ``arguments``; the revisions there are not looked at.

    ``objects`` is a further object directory that ``new`` may stand in.
    """
    asked = split(repository, arguments)
    flags = [flag for flag in asked.flags if flag != "--exit-code"]
    if "--quiet" in flags:
        return
    paths, silent = asked.paths.of_content, True
    argv = [*flags, old.hex(), new.hex(), "--", *paths]
    for line in _git(repository, "diff", argv, color=color, objects=objects):
        silent = False
        yield line
    if any(map(_is_for_programs, flags)):
        return
    pair = (new, old) if "-R" in flags else (old, new)
    trees = Trees(_reader(repository, objects), asked.paths, times=times)
    if told := section(trees.between(*pair), color=color, times=times):
        yield told if silent else b"\n" + told


def diff_json(
    repository: Repository, old: bytes, new: bytes, arguments: Sequence[str], *, objects: Path | None = None
) -> Iterator[dict[str, Any]]:
    """The changes that ``diff_trees`` shows, content included."""
    trees = Trees(_reader(repository, objects), split(repository, arguments).paths)
    return map(as_json, trees.between(old, new))


def differs(
    repository: Repository, old: bytes, new: bytes, arguments: Sequence[str], *, objects: Path | None = None
) -> bool:
    """Whether ``diff`` would show anything: its ``--exit-code``. Times alone are no difference."""
    trees = Trees(_reader(repository, objects), split(repository, arguments).paths)
    return next(trees.between(old, new), None) is not None


def _two_sides(repository: Repository, arguments: Sequence[str]) -> tuple[bytes, bytes]:
    old, new = sides(repository, split(repository, arguments))
    if new is None:
        raise UsageFault("diff compares two revisions", "gitstate diff REPO A B")
    return old, new


def _reader(repository: Repository, objects: Path | None) -> Read:
    return repository.read if objects is None else reader_beside(repository, objects)


# --- git and JSON -------------------------------------------------------------------------------------------


def _git(
    repository: Repository,
    command: str,
    arguments: Sequence[str | bytes],
    *,
    color: bool = False,
    objects: Path | None = None,
) -> Iterator[bytes]:
    """What git prints, line by line, as in its own pager if ``color``. Raises UsageFault, StorageFault."""
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
    except StorageFault as error:
        said = error.message.partition(": ")[2]
        if _is_mistake(said):
            raise UsageFault(f"git {command}: {said}", f"see git help {command}") from None
        raise


def _commit_json(repository: Repository, oid: bytes) -> dict[str, Any]:
    commit = repository.snapshot(oid)
    return {
        "id": oid.hex(),
        "parents": [parent.hex() for parent in commit.parents],
        "author": commit.author,
        "when": datetime.fromtimestamp(commit.when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "subject": commit.message.partition("\n")[0],
    }


def _count(trees: Trees, repository: Repository, oid: bytes, merges: str) -> dict[str, int]:
    changes = trees.of_commit(repository, oid, merges)
    found = Counter(change.letter for change in changes if not isinstance(change, LinksChanged))
    return {letter: found[letter] for letter in "AMDT"}
