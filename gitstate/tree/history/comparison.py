"""diff: two snapshots or live trees, of one repository or two, compared by git and then by metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.monitor import Observer
from gitstate.store import Repository, Type
from gitstate.tree.change import as_json
from gitstate.tree.history import git
from gitstate.tree.history.arguments import GitArguments, parse, peel
from gitstate.tree.history.metadata import metadata_section
from gitstate.tree.history.tree_diff import Difference, TreeDiff

_UNSUPPORTED: Final = frozenset({"--cached", "--staged", "--no-index", "--merge-base"})
_EXIT_CODE: Final = frozenset({"--exit-code", "--quiet"})


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two trees, and the parsed arguments.

    ``new`` is None for the live tree until ``with_new`` sets it. ``objects`` are additional object directories.
    """

    repository: Repository
    parsed: GitArguments
    old: bytes
    new: bytes | None
    objects: tuple[Path, ...] = ()

    def with_new(self, new: bytes, objects: Path) -> Comparison:
        """The same comparison with the tree ``new``."""
        return replace(self, new=new, objects=(objects,))

    def lines(self, *, color: bool = False, times: bool = False) -> Iterator[bytes]:
        """The output of ``git diff``, then metadata. For ``--exit-code`` see ``differs``."""
        if "--quiet" in self.parsed.flags:
            return
        flags = [flag for flag in self.parsed.flags if flag not in _EXIT_CODE]
        is_empty = True
        argv: list[str | bytes] = [*flags, self.old.hex(), self._new.hex(), "--", *self.parsed.paths.of_content]
        for line in git.lines(self.repository, "diff", argv, color=color, objects=self.objects):
            is_empty = False
            yield line
        if git.wants_metadata(flags):
            changes = self._changes(times=times, backwards="-R" in flags)
            if text := metadata_section(changes, color=color, times=times):
                yield text if is_empty else b"\n" + text

    def json(self) -> Iterator[dict[str, Any]]:
        """The changes of content and metadata."""
        return map(as_json, self._changes())

    def differs(self) -> bool:
        """Whether there are changes, for ``--exit-code``. Times alone don't count."""
        return next(self._changes(), None) is not None

    @property
    def _new(self) -> bytes:
        if self.new is None:
            raise UsageError("diff compares two revisions", "gitstate diff REPO A B")
        return self.new

    def _changes(self, *, times: bool = False, backwards: bool = False) -> Iterator[Difference]:
        repository = self.repository
        for directory in self.objects:
            repository = repository.including(directory)
        tree_diff = TreeDiff(repository.read, self.parsed.paths, times=times)
        return tree_diff.between(self._new, self.old) if backwards else tree_diff.between(self.old, self._new)


@contextmanager
def open_comparison(repository: Repository, arguments: Sequence[str], observer: Observer) -> Iterator[Comparison]:
    """The comparison that the arguments of ``diff`` ask for; new objects of the live tree are in a scratch directory.

    Without a revision the live tree is compared with the commit that it was last recorded as.

    Raises NotFoundError, UsageError, HostError.
    """
    comparison = compare(repository, arguments, lambda: _recorded(repository))
    if comparison.new is not None:
        yield comparison
        return
    from gitstate.tree import checkin  # comparing two snapshots takes half as long as this import

    with repository.scratch() as scratch:
        tree = checkin.scan_into(repository, checkin.live_tree(repository, None), scratch, observer)
        yield comparison.with_new(tree, scratch)


class Side(NamedTuple):
    """A snapshot, or a live tree if ``revision`` is None."""

    repository: Repository
    revision: str | None


@contextmanager
def open_sides(old: Side, new: Side, arguments: Sequence[str], observer: Observer) -> Iterator[Comparison]:
    """The comparison of two sides; ``arguments`` are the flags and paths of ``diff``.

    Raises NotFoundError, UsageError, HostError.
    """
    parsed = parse(old.repository, arguments)
    _check_supported(parsed)
    with ExitStack() as stack:
        objects: list[Path] = []
        before, after = (_tree_of(side, stack, objects, observer) for side in (old, new))
        if old.repository.path != new.repository.path:
            objects.append(new.repository.path / "objects")
        yield Comparison(old.repository, parsed, before, after, tuple(objects))


def _tree_of(side: Side, stack: ExitStack, objects: list[Path], observer: Observer) -> bytes:
    """The root tree of a side; the directory of a live tree's new objects is added to ``objects``."""
    repository, revision = side
    if revision is not None:
        return repository.snapshot(repository.resolve(revision)).tree
    from gitstate.tree import checkin

    scratch = stack.enter_context(repository.scratch())
    objects.append(scratch)
    return checkin.scan_into(repository, checkin.live_tree(repository, None), scratch, observer)


def _recorded(repository: Repository) -> str:
    """The commit that the live tree was last recorded as."""
    from gitstate.tree import checkin

    base = checkin.base_of(repository)
    return base.hex() if base else "HEAD"


def compare(
    repository: Repository, arguments: Sequence[str], default: Callable[[], str] = lambda: "HEAD"
) -> Comparison:
    """The comparison that the arguments of ``diff`` ask for.

    ``default`` returns the revision to compare with the live tree if ``arguments`` name none.

    Raises NotFoundError, UsageError.
    """
    parsed = parse(repository, arguments)
    _check_supported(parsed)
    trees = peel(repository, _sides(repository, parsed, default), Type.TREE)
    if trees is None:
        hint = f"plain git compares files: git --git-dir={repository.path} diff REV:PATH REV:PATH"
        raise UsageError("diff compares snapshots", hint)
    return Comparison(repository, parsed, trees[0], trees[1] if len(trees) == 2 else None)


def _check_supported(parsed: GitArguments) -> None:
    if found := next((flag for flag in parsed.flags if flag in _UNSUPPORTED), None):
        raise UsageError(f"gitstate diff has no {found}", "there is no index; A...B compares with the merge base")


def _sides(repository: Repository, parsed: GitArguments, default: Callable[[], str]) -> Sequence[str]:
    """One or two object ids. git excludes A of A..B, and the merge base of A...B."""
    if not parsed.ids:
        return [repository.resolve(default()).hex()]
    excluded = [oid[1:] for oid in parsed.ids if oid.startswith("^")]
    included = [oid for oid in parsed.ids if not oid.startswith("^")]
    if not excluded and any("..." in word for word in parsed.revisions):
        raise NotFoundError(f"{' '.join(parsed.revisions)}: no commit in common", "compare them as A B")
    if len(included) > 2 or not included:
        raise UsageError("diff compares two revisions", "gitstate diff REPO A B")
    return [excluded[0], included[0]] if excluded else included
