"""log and show: commits as git prints them, each followed by what happened to metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from gitstate.core.errors import UsageError
from gitstate.store import Repository, Type
from gitstate.tree.change import LinksChanged, as_json
from gitstate.tree.history import git
from gitstate.tree.history.arguments import LogArguments, parse_revision, peeled, split
from gitstate.tree.history.report import section
from gitstate.tree.history.trees import Trees

_BATCH: Final = 200


def log(repository: Repository, arguments: Sequence[str], *, color: bool = False) -> Iterator[bytes]:
    """``git log``, as a stream of lines. Raises NotFoundError, UsageError.

    With paths, commits stay that changed their records only; where content is asked for, metadata follows it.
    """
    asked = split(repository, arguments)
    if any(map(git.follows, asked.flags)):
        return _plain_log(repository, asked, [spec.stored for spec in asked.paths.specs], color=color)
    content = _wants_content(asked.flags)
    if "--graph" in asked.flags and (content or asked.paths):
        hint = f"plain git does: git --git-dir={repository.path} log --graph"
        raise UsageError("--graph goes with neither paths nor content here", hint)
    if content:
        return _log_with_content(repository, asked, color=color)
    if any(map(git.selects_by_content, asked.flags)):
        return _plain_log(repository, asked, asked.paths.of_content, color=color)
    if asked.paths:
        return _log_of_records(repository, asked, color=color)
    return _plain_log(repository, asked, [], color=color)


def _wants_content(flags: Sequence[str]) -> bool:
    for flag in reversed(flags):
        if git.shows_content(flag) or git.hides_content(flag):
            return not git.hides_content(flag)
    return False


def _plain_log(repository: Repository, asked: LogArguments, paths: list[bytes], *, color: bool) -> Iterator[bytes]:
    return git.lines(repository, "log", [*asked.flags, *asked.revisions, "--", *paths], color=color)


def _log_of_records(repository: Repository, asked: LogArguments, *, color: bool) -> Iterator[bytes]:
    """Commits without content, printed by git in batches so that it streams."""
    flags = _display(asked.flags)
    commits, separator = _commits(repository, asked), b""
    while batch := [oid.hex() for oid in islice(commits, _BATCH)]:
        yield separator
        yield from git.lines(repository, "log", ["--no-walk=unsorted", *flags, *batch], color=color)
        separator = _separator(flags)


def _log_with_content(repository: Repository, asked: LogArguments, *, color: bool) -> Iterator[bytes]:
    """Commits one by one, metadata after each."""
    flags, merges = _display(asked.flags), git.merges(asked.flags, "off")
    trees, separator = Trees(repository.read, asked.paths), b""
    for oid in _commits(repository, asked):
        yield separator
        yield from _commit(repository, "log", ["--no-walk=unsorted", *flags], oid.hex(), asked, color=color)
        told = b""
        if git.wants_metadata(flags):
            told = section(trees.of_commit(repository, oid, merges), color=color)
        if told:
            yield b"\n" + told
        separator = b"\n" if told else _separator(flags)


def _display(flags: Sequence[str]) -> list[str]:
    """``flags`` without those that choose commits by walking."""
    return [flag for flag in flags if not (git.counts(flag) or git.skips(flag) or git.walks(flag))]


def _separator(flags: Sequence[str]) -> bytes:
    return b"" if any(map(git.ends_lines, flags)) else b"\n"


def _commit(
    repository: Repository, command: str, flags: Sequence[str], revision: str, asked: LogArguments, *, color: bool
) -> Iterator[bytes]:
    """One commit as git shows it; its head alone where no content changed: git would say nothing then."""
    silent = True
    for line in git.lines(repository, command, [*flags, revision, "--", *asked.paths.of_content], color=color):
        silent = False
        yield line
    if silent:
        head = [flag for flag in flags if not git.shows_content(flag)]
        yield from git.lines(repository, command, [*head, "-s", revision], color=color)


# --- which commits ------------------------------------------------------------------------------------------


def _commits(repository: Repository, asked: LogArguments) -> Iterator[bytes]:
    """The commits that ``log`` lists, in its order."""
    flags = [flag for flag in asked.flags if not git.shows_content(flag) and not git.shapes_heads(flag)]
    if any(map(git.selects_by_content, flags)):
        return _ids(repository, [*flags, *asked.revisions, "--", *asked.paths.of_content])
    if not asked.paths:
        return _ids(repository, [*flags, *asked.revisions, "--"])
    return _commits_of_records(repository, asked, flags)


def _commits_of_records(repository: Repository, asked: LogArguments, flags: Sequence[str]) -> Iterator[bytes]:
    """git proposes whatever touched the paths or a file of records; those stay that changed the paths."""
    most, skip = git.number(flags, git.counts), git.number(flags, git.skips) or 0
    rest = [flag for flag in flags if flag != "--reverse" and not git.counts(flag) and not git.skips(flag)]
    trees, merges = Trees(repository.read, asked.paths), git.merges(flags, "combined")
    candidates = _ids(repository, [*rest, *asked.revisions, "--", *asked.paths.of_records])
    changed = (oid for oid in candidates if next(trees.of_commit(repository, oid, merges), None))
    found = islice(changed, skip, None if most is None else skip + most)
    yield from reversed(list(found)) if "--reverse" in flags else found


def _ids(repository: Repository, arguments: Sequence[str | bytes]) -> Iterator[bytes]:
    for line in git.lines(repository, "log", ["--format=%H", *arguments]):
        yield bytes.fromhex(line.decode())


# --- show ---------------------------------------------------------------------------------------------------

_Shown = tuple[str, bytes | None]
"""What is to be shown, in words that git knows, and the commit it leads to; None for a file or a directory."""


def show(repository: Repository, arguments: Sequence[str], *, color: bool = False) -> Iterator[bytes]:
    """``git show``: metadata follows each commit; tags, files (REV:PATH) and ranges as git shows them."""
    asked = split(repository, arguments)
    return _show(repository, asked, list(_shown(repository, asked)), color=color)


def _show(repository: Repository, asked: LogArguments, shown: list[_Shown], *, color: bool) -> Iterator[bytes]:
    trees, merges = Trees(repository.read, asked.paths), git.merges(asked.flags, "combined")
    separator = b""
    for revision, commit in shown:
        if commit is None:
            yield from git.lines(repository, "show", [*asked.flags, revision], color=color)
            continue
        changes = list(trees.of_commit(repository, commit, merges))
        if asked.paths and not changes:
            continue
        yield separator
        if revision != commit.hex():
            yield from _tag(repository, asked.flags, revision, commit.hex(), color=color)
        yield from _commit(repository, "show", asked.flags, commit.hex(), asked, color=color)
        if git.wants_metadata(asked.flags) and (told := section(changes, color=color)):
            yield b"\n" + told
        separator = b"\n"


def _tag(repository: Repository, flags: Sequence[str], revision: str, commit: str, *, color: bool) -> list[bytes]:
    """What git shows of a tag before the commit; nothing for other names of commits."""
    head = [flag for flag in flags if not git.shows_content(flag)]
    both, own = (list(git.lines(repository, "show", [*head, "-s", it], color=color)) for it in (revision, commit))
    return both[: len(both) - len(own)]


def _shown(repository: Repository, asked: LogArguments) -> Iterator[_Shown]:
    for word in asked.revisions or ("HEAD",):
        ids = parse_revision(repository, word)
        if any(oid.startswith("^") for oid in ids):
            yield from ((oid.hex(), oid) for oid in _ids(repository, [word, "--"]))
        elif len(ids) == 1:
            yield word, _peeled(repository, ids[0])
        else:
            yield from ((oid, _peeled(repository, oid)) for oid in ids)


def _peeled(repository: Repository, oid: str) -> bytes | None:
    found = peeled(repository, [oid], Type.COMMIT)
    return found[0] if found else None


# --- JSON ---------------------------------------------------------------------------------------------------


def log_json(repository: Repository, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The commits that ``log`` lists, each with the number of its changes by letter."""
    asked = split(repository, arguments)
    trees, merges = Trees(repository.read, asked.paths), git.merges(asked.flags, "combined")
    for oid in _commits(repository, asked):
        changes = trees.of_commit(repository, oid, merges)
        found = Counter(change.letter for change in changes if not isinstance(change, LinksChanged))
        yield _head(repository, oid) | {"counts": {letter: found[letter] for letter in "AMDT"}}


def show_json(repository: Repository, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The commits that ``show`` shows, each with its changes."""
    asked = split(repository, arguments)
    trees, merges = Trees(repository.read, asked.paths), git.merges(asked.flags, "combined")
    for revision, commit in _shown(repository, asked):
        if commit is None:
            raise UsageError(f"{revision} is not a commit", "--json shows commits")
        changes = [as_json(change) for change in trees.of_commit(repository, commit, merges)]
        yield _head(repository, commit) | {"changes": changes}


def _head(repository: Repository, oid: bytes) -> dict[str, Any]:
    commit = repository.snapshot(oid)
    return {
        "id": oid.hex(),
        "parents": [parent.hex() for parent in commit.parents],
        "author": commit.author,
        "when": datetime.fromtimestamp(commit.when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "subject": commit.message.partition("\n")[0],
    }
