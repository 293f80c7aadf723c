"""diff: two snapshots, or one and the live tree, as git compares them and then in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from gitstate.core.errors import NotFoundError, UsageError
from gitstate.store import Repository, Type
from gitstate.tree.change import as_json
from gitstate.tree.history import git
from gitstate.tree.history.arguments import LogArguments, peeled, split
from gitstate.tree.history.report import section
from gitstate.tree.history.trees import Difference, Trees, reader_beside

_NOT_HERE: Final = frozenset({"--cached", "--staged", "--no-index", "--merge-base"})
_EXIT_CODE: Final = frozenset({"--exit-code", "--quiet"})


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two trees, and how they were asked to be compared.

    ``new`` None is the live tree, which ``against`` puts in. ``objects`` is a further directory in which objects of
    ``new`` may stand.
    """

    repository: Repository
    asked: LogArguments
    old: bytes
    new: bytes | None
    objects: Path | None = None

    def against(self, new: bytes, objects: Path) -> Comparison:
        """The same with the tree ``new``."""
        return replace(self, new=new, objects=objects)

    def lines(self, *, color: bool = False, times: bool = False) -> Iterator[bytes]:
        """``git diff``, then metadata. ``--exit-code`` is ``differs``."""
        if "--quiet" in self.asked.flags:
            return
        flags = [flag for flag in self.asked.flags if flag not in _EXIT_CODE]
        silent = True
        argv: list[str | bytes] = [*flags, self.old.hex(), self._new.hex(), "--", *self.asked.paths.of_content]
        for line in git.lines(self.repository, "diff", argv, color=color, objects=self.objects):
            silent = False
            yield line
        if git.wants_metadata(flags):
            changes = self._changes(times=times, backwards="-R" in flags)
            if told := section(changes, color=color, times=times):
                yield told if silent else b"\n" + told

    def json(self) -> Iterator[dict[str, Any]]:
        """The changes, content and metadata."""
        return map(as_json, self._changes())

    def differs(self) -> bool:
        """Whether there is anything to tell, for ``--exit-code``. Times alone are no difference."""
        return next(self._changes(), None) is not None

    @property
    def _new(self) -> bytes:
        if self.new is None:
            raise UsageError("diff compares two revisions", "gitstate diff REPO A B")
        return self.new

    def _changes(self, *, times: bool = False, backwards: bool = False) -> Iterator[Difference]:
        read = self.repository.read if self.objects is None else reader_beside(self.repository, self.objects)
        trees = Trees(read, self.asked.paths, times=times)
        return trees.between(self._new, self.old) if backwards else trees.between(self.old, self._new)


def compared(
    repository: Repository, arguments: Sequence[str], default: Callable[[], str] = lambda: "HEAD"
) -> Comparison:
    """What ``diff`` is asked to compare.

    ``default`` is what the live tree is compared with where ``arguments`` name no revision.

    Raises NotFoundError, UsageError.
    """
    asked = split(repository, arguments)
    if wrong := next((flag for flag in asked.flags if flag in _NOT_HERE), None):
        raise UsageError(f"diff has no {wrong} here", "no index; A...B compares with the merge base")
    trees = peeled(repository, _sides(repository, asked, default), Type.TREE)
    if trees is None:
        hint = f"plain git compares files: git --git-dir={repository.path} diff REV:PATH REV:PATH"
        raise UsageError("diff compares snapshots", hint)
    return Comparison(repository, asked, trees[0], trees[1] if len(trees) == 2 else None)


def _sides(repository: Repository, asked: LogArguments, default: Callable[[], str]) -> Sequence[str]:
    """One or two object ids. In A..B git leaves A out and keeps B, in A...B the merge base."""
    if not asked.ids:
        return [repository.resolve(default()).hex()]
    left_out = [oid[1:] for oid in asked.ids if oid.startswith("^")]
    kept = [oid for oid in asked.ids if not oid.startswith("^")]
    if not left_out and any("..." in word for word in asked.revisions):
        raise NotFoundError(f"{' '.join(asked.revisions)}: no commit in common", "compare them as A B")
    if len(kept) > 2 or not kept:
        raise UsageError("diff compares two revisions", "gitstate diff REPO A B")
    return [left_out[0], kept[0]] if left_out else kept
