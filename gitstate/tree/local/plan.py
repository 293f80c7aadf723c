"""Plan the steps that add files to the list, remove them from it, or repair them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import ConflictError, GitstateError, NotFoundError
from gitstate.core.fs import open_descriptor_tree
from gitstate.core.names import display
from gitstate.store import Repository
from gitstate.store.site import Site
from gitstate.tree.checkin import live_tree
from gitstate.tree.local.listing import DIRECTORY, LIST, content_path, local_directory, parse
from gitstate.tree.local.state import File, Original, State, Trees, same
from gitstate.tree.local.steps import CopyFromBase, CopyToBase, Link, MakeDirectory, Remove, Restore, Step, WriteList
from gitstate.tree.prepare.steps import check_parents

BASE: Final = "base"
"""The layer that has the originals."""


class ConflictPolicy(Enum):
    """What happens to the base layer's file if the prototype's differs."""

    ASK = "ask"
    KEEP = "keep"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, in order; ``kept`` are files of which the base layer keeps a different copy."""

    steps: tuple[Step, ...]
    kept: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)


@contextmanager
def open_prototype(site: Site, repository: Repository, *, lock: bool) -> Iterator[tuple[Trees, Path, Path | None]]:
    """The live trees of a prototype and of base, locked if ``lock``, and their paths. Raises HostError, LockedError."""
    base = site.repository(BASE) if fs.has_directory(site.repository_path(BASE)) else None
    live, layer = live_tree(repository, None), live_tree(base, None) if base else None
    with ExitStack() as stack:
        for one in (repository, base) if lock else ():
            if one is not None:
                stack.enter_context(one.lock("local"))
        yield stack.enter_context(open_trees(live, layer)), live, layer


@contextmanager
def open_trees(live: Path, base: Path | None) -> Iterator[Trees]:
    """Open both live trees. Raises HostError."""
    with ExitStack() as stack:
        trees = Trees(
            stack.enter_context(open_descriptor_tree(live)),
            stack.enter_context(open_descriptor_tree(base)) if base else None,
        )
        check_parents(trees.live, LIST)
        yield trees


def listed(trees: Trees) -> list[bytes]:
    """The paths on the list. Raises ConfigError."""
    return parse(trees.live.configuration(LIST), f"/{display(LIST)} of the live tree")


def files(trees: Trees) -> list[File]:
    """Every file of the list with its state. Raises ConfigError."""
    return [trees.file(path) for path in listed(trees)]


def add(trees: Trees, paths: Iterable[bytes], policy: ConflictPolicy = ConflictPolicy.ASK) -> Plan:
    """Add files to the list. Raises NotFoundError, ConflictError, HostError, ConfigError."""
    before = listed(trees)
    wanted = sorted(set(paths))
    for path in wanted:
        check_parents(trees.live, path)
        if path not in before and not trees.live.lstat(path):
            raise NotFoundError(f"there is no /{display(path)} in the live tree", "make it first; it may be empty")
        _check_local_directory(trees, path, {*before, *wanted})
    return _plan(trees, wanted, policy, before, tuple(sorted({*before, *wanted})))


def fix(trees: Trees, paths: Sequence[bytes] = (), policy: ConflictPolicy = ConflictPolicy.ASK) -> Plan:
    """Repair listed files, by default all. Raises NotFoundError, ConflictError, HostError, ConfigError."""
    before = listed(trees)
    _check_listed(paths, before)
    return _plan(trees, sorted(set(paths)) or before, policy, before, tuple(before))


def remove(trees: Trees, paths: Iterable[bytes]) -> Plan:
    """Remove files from the list; the base layer keeps its copies. Raises NotFoundError, ConflictError, ConfigError."""
    before = listed(trees)
    wanted = sorted(set(paths))
    _check_listed(wanted, before)
    restored = [step for path in wanted for step in _restore(trees, path)]
    after = tuple(path for path in before if path not in wanted)
    return Plan((*restored, *(Remove(content_path(path)) for path in wanted), WriteList(LIST, after)))


def apply(todo: Plan, trees: Trees) -> None:
    """Carry out the plan. Raises OSError."""
    for step in todo.steps:
        step.apply(trees)


# --- steps ------------------------------------------------------------------------------------------------------------


def _plan(
    trees: Trees, paths: Sequence[bytes], policy: ConflictPolicy, before: Sequence[bytes], after: tuple[bytes, ...]
) -> Plan:
    found = [trees.file(path) for path in paths]
    _raise_problems([problem for file in found if (problem := _problem(trees, file, policy))])
    copies = [step for file in found for step in _copies(trees, file, policy)]
    work = [file for file in found if file.state is not State.OK]
    folders = sorted({local_directory(file.path) for file in work})
    directories = [MakeDirectory(path) for path in folders if trees.live.lstat(path) is None]
    fetched = [CopyFromBase(content_path(file.path), file.path) for file in work if _has_no_content(trees, file)]
    links = [Link(file.path) for file in work if file.state is not State.DANGLING]
    new_list: list[Step] = [WriteList(LIST, after)] if list(after) != list(before) else []
    kept = tuple(file.path for file in found if _is_conflict(file) and not _is_replaced(trees, file, policy))
    return Plan((*copies, *directories, *new_list, *fetched, *links), kept)


def _is_conflict(file: File) -> bool:
    """Whether the prototype and the base layer have different files."""
    return file.state is State.REPLACED and file.original is Original.OTHER


def _has_directory(trees: Trees, path: bytes) -> bool:
    return trees.live.is_directory(path.rpartition(b"/")[0])


def _has_no_content(trees: Trees, file: File) -> bool:
    """Whether the prototype has no target for the link."""
    return file.state in (State.MISSING, State.DANGLING) and not trees.live.is_file(content_path(file.path))


def _problem(trees: Trees, file: File, policy: ConflictPolicy) -> GitstateError | None:
    """Why a file can't be linked."""
    shown = f"/{display(file.path)}"
    folder = display(DIRECTORY)
    if file.state is State.BLOCKED:
        what = f"{shown} is no regular file, or {folder} beside it no directory"
        return ConflictError(what, "gitstate replaces only files; put one there first")
    if file.state is State.OK and file.original is not Original.NONE:
        return None
    if file.original is Original.BLOCKED:
        return ConflictError(f"{shown} of the base layer is no regular file", "remove it from base")
    if not _has_directory(trees, file.path):
        hint = f"make it again, or: gitstate local remove PROTOTYPE {shown}"
        return NotFoundError(f"the directory of {shown} is missing", hint)
    if _has_no_content(trees, file) and file.original in (Original.NONE, Original.TEMPLATE):
        hint = f"make it again, or: gitstate local remove PROTOTYPE {shown}"
        return NotFoundError(f"{shown} is missing, and base has no copy of it", hint)
    trees.base  # noqa: B018 # raises, if there is none
    if _is_conflict(file) and policy is ConflictPolicy.ASK and not _is_replaced(trees, file, policy):
        hint = "--keep keeps it, --replace replaces it by the prototype's"
        return ConflictError(f"the base layer has a different {shown}", hint)
    return None


def _is_replaced(trees: Trees, file: File, policy: ConflictPolicy) -> bool:
    """Whether the base layer's file may be replaced: always if it is the previous target of the link.

    See docs/decisions/0007-originals-of-writable-files.md.
    """
    if policy is ConflictPolicy.REPLACE:
        return True
    return same(trees.live, content_path(file.path), trees.base, file.path)


def _copies(trees: Trees, file: File, policy: ConflictPolicy) -> Iterator[Step]:
    source = file.path if file.state is State.REPLACED else content_path(file.path)
    if not trees.live.is_file(source):
        return
    if file.original is Original.NONE or (_is_conflict(file) and _is_replaced(trees, file, policy)):
        yield CopyToBase(file.path, source)


def _restore(trees: Trees, path: bytes) -> Iterator[Step]:
    """Replace a link by a file."""
    file = trees.file(path)
    if file.state is State.BLOCKED:
        raise ConflictError(f"/{display(path)} is no link of gitstate any more", "put a file there, then try again")
    if file.state is State.REPLACED or not _has_directory(trees, path):
        return
    if trees.live.is_file(content_path(path)):
        yield Restore(path)
    elif trees.layer and trees.layer.is_file(path):
        yield CopyFromBase(path, path)
    elif file.state is State.DANGLING:
        yield Remove(path)


def _check_listed(paths: Iterable[bytes], before: Sequence[bytes]) -> None:
    for path in paths:
        if path not in before:
            raise NotFoundError(f"/{display(path)} is not on the list", "gitstate local list shows what is")


def _check_local_directory(trees: Trees, path: bytes, all_paths: set[bytes]) -> None:
    """Raise ConflictError if ``local`` holds other files: machines would copy them to memory, too."""
    ours = {content_path(one) for one in all_paths}
    for name, _ in trees.live.names(local_directory(path)):
        other = local_directory(path) + b"/" + name
        if other not in ours and not name.startswith(b".gitstate"):
            hint = f"{display(DIRECTORY)} beside a listed file may hold listed files only"
            raise ConflictError(f"/{display(local_directory(path))} holds another file: {display(name)}", hint)


def _raise_problems(problems: Sequence[GitstateError]) -> None:
    """Raise the first one, with the messages of the others."""
    if problems:
        first = problems[0]
        first.message = "; ".join(dict.fromkeys(one.message for one in problems[:5]))
        raise first
