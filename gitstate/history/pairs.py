"""diff: two snapshots, or one and the live tree, as git compares them and then in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from gitstate.change import as_json
from gitstate.errors import NotFound, UsageFault
from gitstate.history import git
from gitstate.history.arguments import Asked, peeled, split
from gitstate.history.report import section
from gitstate.history.trees import Trees, reader_beside
from gitstate.store import Repository

_NOT_HERE: Final = frozenset({"--cached", "--staged", "--no-index", "--merge-base"})
_EXIT_CODE: Final = frozenset({"--exit-code", "--quiet"})


def sides(repository: Repository, arguments: Sequence[str], *, default: str = "HEAD") -> tuple[bytes, bytes | None]:
    """The two trees that ``diff`` is asked to compare; the second None for the live tree.

    ``default`` is what the live tree is compared with where ``arguments`` name no revision.

    Raises NotFound, UsageFault.
    """
    asked = split(repository, arguments)
    if wrong := next((flag for flag in asked.flags if flag in _NOT_HERE), None):
        raise UsageFault(f"diff has no {wrong} here", "no index; A...B compares with the merge base")
    trees = peeled(repository, _compared(asked, default), "tree")
    if trees is None:
        hint = f"plain git compares files: git --git-dir={repository.path} diff REV:PATH REV:PATH"
        raise UsageFault("diff compares snapshots", hint)
    return trees[0], trees[1] if len(trees) == 2 else None


def _compared(asked: Asked, default: str) -> list[str]:
    """One or two object ids. In A..B git leaves A out and keeps B, in A...B the merge base."""
    ids = asked.ids or (default,)
    left_out = [oid[1:] for oid in ids if oid.startswith("^")]
    kept = [oid for oid in ids if not oid.startswith("^")]
    if not left_out and any("..." in word for word in asked.revisions):
        raise NotFound(f"{' '.join(asked.revisions)}: no commit in common", "compare them as A B")
    if len(kept) > 2 or not kept:
        raise UsageFault("diff compares two revisions", "gitstate diff REPO A B")
    return [left_out[0], kept[0]] if left_out else kept


def diff(
    repository: Repository, arguments: Sequence[str], *, color: bool = False, times: bool = False
) -> Iterator[bytes]:
    """``git diff`` of two revisions. Raises UsageFault where one side is the live tree: see ``diff_trees``."""
    old, new = sides(repository, arguments)
    if new is None:
        raise UsageFault("diff compares two revisions", "gitstate diff REPO A B")
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
    """``git diff`` of two trees with the flags and paths of ``arguments``, whatever revisions it names.

    ``objects`` is a further directory in which objects of ``new`` may stand. ``--exit-code`` is ``differs``.
    """
    asked = split(repository, arguments)
    if "--quiet" in asked.flags:
        return iter(())
    return _diff(repository, old, new, asked, objects=objects, color=color, times=times)


def _diff(
    repository: Repository,
    old: bytes,
    new: bytes,
    asked: Asked,
    *,
    objects: Path | None,
    color: bool,
    times: bool,
) -> Iterator[bytes]:
    flags = [flag for flag in asked.flags if flag not in _EXIT_CODE]
    silent = True
    argv: list[str | bytes] = [*flags, old.hex(), new.hex(), "--", *asked.paths.of_content]
    for line in git.lines(repository, "diff", argv, color=color, objects=objects):
        silent = False
        yield line
    if git.wants_metadata(flags):
        trees = _trees(repository, asked, objects, times=times)
        changes = trees.between(new, old) if "-R" in flags else trees.between(old, new)
        if told := section(changes, color=color, times=times):
            yield told if silent else b"\n" + told


def diff_json(
    repository: Repository, old: bytes, new: bytes, arguments: Sequence[str], *, objects: Path | None = None
) -> Iterator[dict[str, Any]]:
    """The changes between two trees, content and metadata."""
    return map(as_json, _trees(repository, split(repository, arguments), objects).between(old, new))


def differs(
    repository: Repository, old: bytes, new: bytes, arguments: Sequence[str], *, objects: Path | None = None
) -> bool:
    """Whether ``diff`` has anything to tell, for ``--exit-code``. Times alone are no difference."""
    changes = _trees(repository, split(repository, arguments), objects).between(old, new)
    return next(changes, None) is not None


def _trees(repository: Repository, asked: Asked, objects: Path | None, *, times: bool = False) -> Trees:
    read = repository.read if objects is None else reader_beside(repository, objects)
    return Trees(read, asked.paths, times=times)
