"""Which steps bring files onto the list, off it, or back into order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from gitstate.core.errors import ConflictError, GitstateError, NotFoundError
from gitstate.core.fs import open_descriptor_tree
from gitstate.core.names import display
from gitstate.tree.local.listing import DIRECTORY, LIST, beside, parse, place
from gitstate.tree.local.look import File, Original, State, Trees, same
from gitstate.tree.local.steps import CopyFromBase, CopyToBase, Drop, Link, MakeDirectory, Restore, Step, WriteList
from gitstate.tree.prepare.steps import check_way


class ConflictPolicy(Enum):
    """What happens to the base layer's file if the prototype has another one."""

    ASK = "ask"
    KEEP = "keep"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in this order; ``kept`` are files of which the base layer keeps another one."""

    steps: tuple[Step, ...]
    kept: tuple[bytes, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)


@contextmanager
def open_trees(live: Path, base: Path | None) -> Iterator[Trees]:
    """Both live trees. Raises HostError."""
    with ExitStack() as stack:
        trees = Trees(
            stack.enter_context(open_descriptor_tree(live)),
            stack.enter_context(open_descriptor_tree(base)) if base else None,
        )
        check_way(trees.live, LIST)
        yield trees


def listed(trees: Trees) -> list[bytes]:
    """The paths on the list. Raises ConfigError."""
    return parse(trees.live.read(LIST), f"/{display(LIST)} of the live tree")


def files(trees: Trees) -> list[File]:
    """Every file of the list, and how it stands. Raises ConfigError."""
    return [trees.look(path) for path in listed(trees)]


def add(trees: Trees, paths: Iterable[bytes], doubt: ConflictPolicy = ConflictPolicy.ASK) -> Plan:
    """Put files on the list. Raises NotFoundError, ConflictError, HostError, ConfigError."""
    before = listed(trees)
    wanted = sorted(set(paths))
    for path in wanted:
        check_way(trees.live, path)
        if path not in before and not trees.live.lstat(path):
            raise NotFoundError(
                f"there is no /{display(path)} in the live tree", "make it first, if only an empty file"
            )
        _check_beside(trees, path, {*before, *wanted})
    return _plan(trees, wanted, doubt, before, tuple(sorted({*before, *wanted})))


def fix(trees: Trees, paths: Sequence[bytes] = (), doubt: ConflictPolicy = ConflictPolicy.ASK) -> Plan:
    """Bring files of the list back into order; all of them if none is named.

    Raises NotFoundError, ConflictError, HostError, ConfigError.
    """
    before = listed(trees)
    _check_listed(paths, before)
    return _plan(trees, sorted(set(paths)) or before, doubt, before, tuple(before))


def remove(trees: Trees, paths: Iterable[bytes]) -> Plan:
    """Take files off the list; the base layer keeps what it has. Raises NotFoundError, ConflictError, ConfigError."""
    before = listed(trees)
    wanted = sorted(set(paths))
    _check_listed(wanted, before)
    back = [step for path in wanted for step in _back(trees, path)]
    after = tuple(path for path in before if path not in wanted)
    return Plan((*back, *(Drop(place(path)) for path in wanted), WriteList(after)))


def apply(todo: Plan, trees: Trees) -> None:
    """Do it. Raises OSError."""
    for step in todo.steps:
        step.apply(trees)


# --- how -------------------------------------------------------------------------------------------------------------


def _plan(
    trees: Trees, paths: Sequence[bytes], doubt: ConflictPolicy, before: Sequence[bytes], after: tuple[bytes, ...]
) -> Plan:
    found = [trees.look(path) for path in paths]
    _raise_all([problem for file in found if (problem := _problem(trees, file, doubt))])
    copies = [step for file in found for step in _copies(trees, file, doubt)]
    work = [file for file in found if file.state is not State.OK]
    folders = sorted({beside(file.path) for file in work})
    made = [MakeDirectory(path) for path in folders if trees.live.lstat(path) is None]
    fetched = [CopyFromBase(place(file.path), file.path) for file in work if _is_lost(trees, file)]
    links = [Link(file.path) for file in work if file.state is not State.DANGLING]
    new_list: list[Step] = [WriteList(after)] if list(after) != list(before) else []
    kept = tuple(file.path for file in found if _is_in_doubt(file) and not _is_put(trees, file, doubt))
    return Plan((*copies, *made, *new_list, *fetched, *links), kept)


def _is_in_doubt(file: File) -> bool:
    """Whether both the prototype and the base layer have one, and another one."""
    return file.state is State.REPLACED and file.original is Original.OTHER


def _has_directory(trees: Trees, path: bytes) -> bool:
    return trees.live.is_directory(path.rpartition(b"/")[0])


def _is_lost(trees: Trees, file: File) -> bool:
    """Whether the prototype has nothing that the link could lead to."""
    return file.state in (State.MISSING, State.DANGLING) and not trees.live.is_file(place(file.path))


def _problem(trees: Trees, file: File, doubt: ConflictPolicy) -> GitstateError | None:
    """Why a file can't be brought into order."""
    shown = f"/{display(file.path)}"
    folder = display(DIRECTORY)
    if file.state is State.BLOCKED:
        what = f"{shown} is no regular file, or {folder} beside it no directory"
        return ConflictError(
            what, "gitstate replaces neither; a link that leads elsewhere can be replaced by a file first"
        )
    if file.state is State.OK and file.original is not Original.NONE:
        return None
    if file.original is Original.BLOCKED:
        return ConflictError(
            f"{shown} of the base layer is no regular file", "remove it there, or leave the file as it is"
        )
    if not _has_directory(trees, file.path):
        hint = f"put it there again, or take the file off the list: gitstate local remove PROTOTYPE {shown}"
        return NotFoundError(f"the directory of {shown} is missing", hint)
    if _is_lost(trees, file) and file.original in (Original.NONE, Original.TEMPLATE):
        hint = f"put it there again, or take it off the list: gitstate local remove PROTOTYPE {shown}"
        return NotFoundError(f"{shown} is missing, and there is no copy to make it from", hint)
    trees.base  # noqa: B018 # raises, if there is none
    if _is_in_doubt(file) and doubt is ConflictPolicy.ASK and not _is_put(trees, file, doubt):
        hint = "--keep leaves it there, --replace puts the prototype's there"
        return ConflictError(f"the base layer has another {shown}", hint)
    return None


def _is_put(trees: Trees, file: File, doubt: ConflictPolicy) -> bool:
    """Whether the base layer's file is replaced: it may go if it is what the link led to before.

    See docs/decisions/0007-originals-of-writable-files.md.
    """
    if doubt is ConflictPolicy.REPLACE:
        return True
    return same(trees.live, place(file.path), trees.base, file.path)


def _copies(trees: Trees, file: File, doubt: ConflictPolicy) -> Iterator[Step]:
    source = file.path if file.state is State.REPLACED else place(file.path)
    if not trees.live.is_file(source):
        return
    if file.original is Original.NONE or (_is_in_doubt(file) and _is_put(trees, file, doubt)):
        yield CopyToBase(file.path, source)


def _back(trees: Trees, path: bytes) -> Iterator[Step]:
    """What puts a file in its link's place."""
    file = trees.look(path)
    if file.state is State.BLOCKED:
        raise ConflictError(f"/{display(path)} is no link of ours any more", "mend it by hand, then try again")
    if file.state is State.REPLACED or not _has_directory(trees, path):
        return
    if trees.live.is_file(place(path)):
        yield Restore(path)
    elif trees.layer and trees.layer.is_file(path):
        yield CopyFromBase(path, path)
    elif file.state is State.DANGLING:
        yield Drop(path)


def _check_listed(paths: Iterable[bytes], before: Sequence[bytes]) -> None:
    for path in paths:
        if path not in before:
            raise NotFoundError(f"/{display(path)} is not on the list", "gitstate local list shows what is")


def _check_beside(trees: Trees, path: bytes, all_paths: set[bytes]) -> None:
    """Raise ConflictError if ``local`` holds what isn't ours: machines would have it in memory, too."""
    ours = {place(one) for one in all_paths}
    for name, _ in trees.live.names(beside(path)):
        other = beside(path) + b"/" + name
        if other not in ours and not name.startswith(b".gitstate"):
            raise ConflictError(
                f"/{display(beside(path))} holds something else: {display(name)}",
                f"files beside a directory {display(DIRECTORY)} of another use can't be listed",
            )


def _raise_all(problems: Sequence[GitstateError]) -> None:
    """Raise the first one, with what the others say."""
    if problems:
        first = problems[0]
        first.message = "; ".join(dict.fromkeys(one.message for one in problems[:5]))
        raise first
