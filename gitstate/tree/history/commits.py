"""log and show: commits as git prints them, each followed by its changes of metadata."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from gitstate.core.errors import UsageError
from gitstate.core.signature import iso_time
from gitstate.store import Repository, Type
from gitstate.tree.change import LinksChanged, as_json
from gitstate.tree.history import git
from gitstate.tree.history.arguments import GitArguments, parse, parse_revision, peel
from gitstate.tree.history.metadata import metadata_section
from gitstate.tree.history.tree_diff import TreeDiff

_BATCH: Final = 200


def log(repository: Repository, arguments: Sequence[str], *, color: bool = False) -> Iterator[bytes]:
    """``git log``, as a stream of lines. Raises NotFoundError, UsageError.

    With paths, commits stay that changed their records only; where content is shown, metadata follows it.
    """
    parsed = parse(repository, arguments)
    if any(map(git.follows, parsed.flags)):
        return _plain_log(repository, parsed, [spec.stored for spec in parsed.paths.specs], color=color)
    content = _wants_content(parsed.flags)
    if "--graph" in parsed.flags and (content or parsed.paths):
        hint = f"use plain git: git --git-dir={repository.path} log --graph"
        raise UsageError("--graph can't be combined with paths or content here", hint)
    if content:
        return _log_with_content(repository, parsed, color=color)
    if any(map(git.selects_by_content, parsed.flags)):
        return _plain_log(repository, parsed, parsed.paths.of_content, color=color)
    if parsed.paths:
        return _log_of_records(repository, parsed, color=color)
    return _plain_log(repository, parsed, [], color=color)


def _wants_content(flags: Sequence[str]) -> bool:
    for flag in reversed(flags):
        if git.shows_content(flag) or git.hides_content(flag):
            return not git.hides_content(flag)
    return False


def _plain_log(repository: Repository, parsed: GitArguments, paths: list[bytes], *, color: bool) -> Iterator[bytes]:
    return git.lines(repository, "log", [*parsed.flags, *parsed.revisions, "--", *paths], color=color)


def _log_of_records(repository: Repository, parsed: GitArguments, *, color: bool) -> Iterator[bytes]:
    """Commits without content; git prints them in batches, so that output starts early."""
    flags = _display(parsed.flags)
    commits, separator = _commits(repository, parsed), b""
    while batch := [oid.hex() for oid in islice(commits, _BATCH)]:
        yield separator
        yield from git.lines(repository, "log", ["--no-walk=unsorted", *flags, *batch], color=color)
        separator = _separator(flags)


def _log_with_content(repository: Repository, parsed: GitArguments, *, color: bool) -> Iterator[bytes]:
    """Commits one by one, each followed by its metadata section."""
    flags, merges = _display(parsed.flags), git.merges(parsed.flags, "off")
    tree_diff, separator = TreeDiff(repository.read, parsed.paths), b""
    for oid in _commits(repository, parsed):
        yield separator
        yield from _commit(repository, "log", ["--no-walk=unsorted", *flags], oid.hex(), parsed, color=color)
        metadata = b""
        if git.wants_metadata(flags):
            metadata = metadata_section(tree_diff.of_commit(repository, oid, merges), color=color)
        if metadata:
            yield b"\n" + metadata
        separator = b"\n" if metadata else _separator(flags)


def _display(flags: Sequence[str]) -> list[str]:
    """``flags`` without those that select or order commits."""
    return [flag for flag in flags if not (git.counts(flag) or git.skips(flag) or git.walks(flag))]


def _separator(flags: Sequence[str]) -> bytes:
    return b"" if any(map(git.ends_lines, flags)) else b"\n"


def _commit(
    repository: Repository, command: str, flags: Sequence[str], revision: str, parsed: GitArguments, *, color: bool
) -> Iterator[bytes]:
    """One commit as git shows it. Where no content changed git prints nothing: then its header alone."""
    is_empty = True
    for line in git.lines(repository, command, [*flags, revision, "--", *parsed.paths.of_content], color=color):
        is_empty = False
        yield line
    if is_empty:
        head = [flag for flag in flags if not git.shows_content(flag)]
        yield from git.lines(repository, command, [*head, "-s", revision], color=color)


# --- which commits ------------------------------------------------------------------------------------------


def _commits(repository: Repository, parsed: GitArguments) -> Iterator[bytes]:
    """The commits that ``log`` lists, in its order."""
    flags = [flag for flag in parsed.flags if not git.shows_content(flag) and not git.shapes_heads(flag)]
    if any(map(git.selects_by_content, flags)):
        return _ids(repository, [*flags, *parsed.revisions, "--", *parsed.paths.of_content])
    if not parsed.paths:
        return _ids(repository, [*flags, *parsed.revisions, "--"])
    return _commits_of_records(repository, parsed, flags)


def _commits_of_records(repository: Repository, parsed: GitArguments, flags: Sequence[str]) -> Iterator[bytes]:
    """Of the commits that touched the paths or a file of records, those that changed one of the paths."""
    most, skip = git.number(flags, git.counts), git.number(flags, git.skips) or 0
    rest = [flag for flag in flags if flag != "--reverse" and not git.counts(flag) and not git.skips(flag)]
    tree_diff, merges = TreeDiff(repository.read, parsed.paths), git.merges(flags, "combined")
    candidates = _ids(repository, [*rest, *parsed.revisions, "--", *parsed.paths.of_records])
    changed = (oid for oid in candidates if next(tree_diff.of_commit(repository, oid, merges), None))
    found = islice(changed, skip, None if most is None else skip + most)
    yield from reversed(list(found)) if "--reverse" in flags else found


def _ids(repository: Repository, arguments: Sequence[str | bytes]) -> Iterator[bytes]:
    for line in git.lines(repository, "log", ["--format=%H", *arguments], parsed=True):
        yield bytes.fromhex(line.decode())


# --- show ---------------------------------------------------------------------------------------------------

_Object = tuple[str, bytes | None]
"""An object as git names it, and the commit it peels to; None for a file or a directory."""


def show(repository: Repository, arguments: Sequence[str], *, color: bool = False) -> Iterator[bytes]:
    """``git show``: metadata follows each commit; tags, files (REV:PATH) and ranges as git shows them."""
    parsed = parse(repository, arguments)
    return _show(repository, parsed, list(_objects(repository, parsed)), color=color)


def _show(repository: Repository, parsed: GitArguments, objects: list[_Object], *, color: bool) -> Iterator[bytes]:
    tree_diff, merges = TreeDiff(repository.read, parsed.paths), git.merges(parsed.flags, "combined")
    separator = b""
    for revision, commit in objects:
        if commit is None:
            yield from git.lines(repository, "show", [*parsed.flags, revision], color=color)
            continue
        changes = list(tree_diff.of_commit(repository, commit, merges))
        if parsed.paths and not changes:
            continue
        yield separator
        if revision != commit.hex():
            yield from _tag(repository, parsed.flags, revision, commit.hex(), color=color)
        yield from _commit(repository, "show", parsed.flags, commit.hex(), parsed, color=color)
        if git.wants_metadata(parsed.flags) and (metadata := metadata_section(changes, color=color)):
            yield b"\n" + metadata
        separator = b"\n"


def _tag(repository: Repository, flags: Sequence[str], revision: str, commit: str, *, color: bool) -> list[bytes]:
    """What git prints of a tag before its commit; nothing for other revisions."""
    head = [flag for flag in flags if not git.shows_content(flag)]
    both, commit_only = (
        list(git.lines(repository, "show", [*head, "-s", one], color=color)) for one in (revision, commit)
    )
    return both[: len(both) - len(commit_only)]


def _objects(repository: Repository, parsed: GitArguments) -> Iterator[_Object]:
    for word in parsed.revisions or ("HEAD",):
        ids = parse_revision(repository, word)
        if any(oid.startswith("^") for oid in ids):
            yield from ((oid.hex(), oid) for oid in _ids(repository, [word, "--"]))
        elif len(ids) == 1:
            yield word, _commit_of(repository, ids[0])
        else:
            yield from ((oid, _commit_of(repository, oid)) for oid in ids)


def _commit_of(repository: Repository, oid: str) -> bytes | None:
    found = peel(repository, [oid], Type.COMMIT)
    return found[0] if found else None


# --- JSON ---------------------------------------------------------------------------------------------------


def log_json(repository: Repository, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The commits that ``log`` lists, each with the number of its changes by letter."""
    parsed = parse(repository, arguments)
    tree_diff, merges = TreeDiff(repository.read, parsed.paths), git.merges(parsed.flags, "combined")
    for oid in _commits(repository, parsed):
        changes = tree_diff.of_commit(repository, oid, merges)
        found = Counter(change.letter for change in changes if not isinstance(change, LinksChanged))
        yield _head(repository, oid) | {"counts": {letter: found[letter] for letter in "AMDT"}}


def show_json(repository: Repository, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The commits that ``show`` shows, each with its changes."""
    parsed = parse(repository, arguments)
    tree_diff, merges = TreeDiff(repository.read, parsed.paths), git.merges(parsed.flags, "combined")
    for revision, commit in _objects(repository, parsed):
        if commit is None:
            raise UsageError(f"{revision} is not a commit", "--json shows commits")
        changes = [as_json(change) for change in tree_diff.of_commit(repository, commit, merges)]
        yield _head(repository, commit) | {"changes": changes}


def _head(repository: Repository, oid: bytes) -> dict[str, Any]:
    commit = repository.snapshot(oid)
    return {
        "id": oid.hex(),
        "parents": [parent.hex() for parent in commit.parents],
        "author": commit.author,
        "when": iso_time(commit.when),
        "subject": commit.message.partition("\n")[0],
    }
