"""blame: who set each line of a file, as git says it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from gitstate.core.entry import IN_GIT
from gitstate.core.errors import NotFoundError, UsageError
from gitstate.core.names import display, stored_name, tree_path
from gitstate.store import Repository, Type
from gitstate.tree.history import git
from gitstate.tree.history.arguments import parse, peel
from gitstate.tree.snapshot import Lookup

_UNSUPPORTED: Final = re.compile(r"-S.*|--(contents|incremental|reverse)(=.*)?")
_HEAD: Final = re.compile(rb"([0-9a-f]{40}) \d+ (\d+)(?: \d+)?")


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file as it stands there, and the commit that set it; ``when`` in seconds since the epoch."""

    number: int
    commit: str
    author: str
    when: int
    text: str


@dataclass(frozen=True, slots=True)
class Blame:
    """A question to ``git blame``: its flags, its revisions, and a file by its real path and its stored one."""

    repository: Repository
    flags: tuple[str, ...]
    revisions: tuple[str, ...]
    path: bytes
    stored: bytes

    def output(self, *, color: bool = False) -> Iterator[bytes]:
        """What ``git blame`` prints, as a stream of lines. Raises UsageError."""
        words: list[str | bytes] = [*self.flags, *self.revisions, "--", self.stored]
        return git.lines(self.repository, "blame", words, color=color)

    def lines(self) -> Iterator[Line]:
        """The lines that ``output`` shows."""
        return lines(self.repository, [*self.flags, *self.revisions], self.stored)


def ask(repository: Repository, arguments: Sequence[str]) -> Blame:
    """Parse the arguments of ``blame``: flags, a revision or none, one file.

    Raises NotFoundError for a file that isn't in the snapshot, UsageError.
    """
    parsed = parse(repository, arguments)
    if found := next(filter(_UNSUPPORTED.fullmatch, parsed.flags), None):
        raise UsageError(f"gitstate blame has no {found}", "it takes a snapshot's file")
    words = arguments[arguments.index("--") + 1 :] if "--" in arguments else ()
    if len(parsed.paths.specs) != 1 or parsed.paths.specs[0].exclude:
        raise UsageError("blame takes one file", "gitstate blame REPO [REV] PATH")
    path = tree_path(os.fsencode(words[0])) if words else parsed.paths.specs[0].path
    _check_file(repository, [oid for oid in parsed.ids if not oid.startswith("^")], path)
    stored = b"/".join(map(stored_name, path.split(b"/")))
    return Blame(repository, parsed.flags, parsed.revisions or ("HEAD",), path, stored)


def _check_file(repository: Repository, ids: Sequence[str], path: bytes) -> None:
    """Raise an error unless the snapshot has a file or symlink there."""
    trees = peel(repository, ids[:1] or [repository.resolve("HEAD").hex()], Type.TREE)
    if trees is None:
        raise UsageError("blame takes a snapshot's file", "gitstate blame REPO [REV] PATH")
    look_up = Lookup(repository.read, trees[0])
    entry = look_up(path)
    if entry is not None and entry.meta.kind in IN_GIT:
        return
    if entry is not None or look_up.directory(path) is not None:
        what = "a directory" if entry is None else "no file"
        raise UsageError(f"/{display(path)} is {what}", f"gitstate log {repository.name} -- PATH shows its history")
    raise NotFoundError(f"{repository.name} has no /{display(path)} there", "gitstate log shows where it was")


def lines(repository: Repository, arguments: Sequence[str], stored: bytes) -> Iterator[Line]:
    """The lines of the file at the stored path ``stored`` and who set them; ``arguments`` are flags and revisions."""
    authors: dict[str, tuple[str, int]] = {}
    current, number, name, mail, when = "", 0, "", "", 0
    words: list[str | bytes] = ["--porcelain", "--encoding=UTF-8", *arguments, "--", stored]
    for line in git.lines(repository, "blame", words, parsed=True):
        line = line.removesuffix(b"\n")
        head = _HEAD.fullmatch(line)
        if line.startswith(b"\t"):
            authors.setdefault(current, (f"{name} {mail}", when))
            yield Line(number, current, *authors[current], line[1:].decode("utf-8", "replace"))
        elif head:
            current, number = head[1].decode(), int(head[2])
        elif line.startswith(b"author "):
            name = line[7:].decode("utf-8", "replace")
        elif line.startswith(b"author-mail "):
            mail = line[12:].decode("utf-8", "replace")
        elif line.startswith(b"author-time "):
            when = int(line[12:])
