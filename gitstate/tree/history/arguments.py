"""Parse the arguments of ``log``, ``show`` and ``diff`` as git does: flags, revisions, paths.

git decides what a revision is, and which flags exist. In a bare repository it can't recognise paths: a path is what
exists in a snapshot, and real names are translated to stored ones.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from gitstate.core.errors import DamagedError, GitstateError, NotFoundError, UsageError
from gitstate.core.failures import ProgramError
from gitstate.core.names import LINKS, RECORDS, Locate, display, join, stored_name, tree_path
from gitstate.store import Repository, Type
from gitstate.store.objects import parse_commit
from gitstate.tree.history import git
from gitstate.tree.snapshot import Lookup

# --- paths --------------------------------------------------------------------------------------------------

_MAGIC = re.compile(r":\(([^)]*)\)|:([!^/]+):?|:(?=$)")
_KNOWN_MAGIC: Final = frozenset({"top", "exclude", "literal"})
_WILD: Final = frozenset(b"*?[\\")

_NO_RECORDS: Final = (b":(exclude,glob)**/" + RECORDS, b":(exclude,literal)" + LINKS)


@dataclass(frozen=True, slots=True)
class Pathspec:
    """A path or pattern of real names; the root is empty."""

    path: bytes
    literal: bool
    exclude: bool

    def matches(self, path: bytes) -> bool:
        """Whether it matches ``path`` or a directory above it."""
        if not self.path or path == self.path or path.startswith(self.path + b"/"):
            return True
        return not self.literal and fnmatchcase(path, self.path)

    def may_match(self, path: bytes) -> bool:
        """Whether it may match ``path`` or something below it."""
        if self.literal:
            return self.matches(path) or self.path.startswith(path + b"/")
        fixed = self.path[: next(place for place, byte in enumerate(self.path) if byte in _WILD)]
        return path.startswith(fixed) or fixed.startswith(path)

    @property
    def stored(self) -> bytes:
        """The path as stored in git's trees."""
        return b"/".join(map(stored_name, self.path.split(b"/")))

    @property
    def for_git(self) -> bytes:
        """git's pathspec for it."""
        words = [b"exclude"] * self.exclude + [b"literal" if self.literal and self.path else b"top"]
        return b":(%s)%s" % (b",".join(words), self.stored)

    @property
    def record(self) -> bytes:
        """git's pathspec for the file that holds its record."""
        if not self.literal:
            return b":(glob)**/" + RECORDS
        return b":(literal)" + join(self.stored.rpartition(b"/")[0], RECORDS)


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths that the user named; none means all."""

    specs: tuple[Pathspec, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.specs)

    @property
    def _positive(self) -> list[Pathspec]:
        return [spec for spec in self.specs if not spec.exclude] or [Pathspec(b"", True, False)]

    def match(self, path: bytes) -> bool:
        """Whether ``path`` is selected."""
        if any(spec.exclude and spec.matches(path) for spec in self.specs):
            return False
        return any(spec.matches(path) for spec in self._positive)

    def may_match(self, path: bytes) -> bool:
        """Whether ``path`` or something below it may be selected."""
        return any(spec.may_match(path) for spec in self._positive)

    @property
    def of_content(self) -> list[bytes]:
        """git's pathspecs for their content, without files of records."""
        negative = [spec for spec in self.specs if spec.exclude]
        return [*(spec.for_git for spec in [*self._positive, *negative]), *_NO_RECORDS]

    @property
    def of_records(self) -> list[bytes]:
        """git's pathspecs for a superset of the commits that changed their content, records or links."""
        positive = self._positive
        return [*(spec.for_git for spec in positive), *(spec.record for spec in positive), b":(literal)" + LINKS]


def pathspec(text: str, locate: Locate = tree_path) -> Pathspec:
    """Parse a path of the command line; one with the magic ``top`` is from the root. Raises UsageError."""
    found = _MAGIC.match(text)
    if found is None:
        words, rest = set(), text
    else:
        short = {"exclude" if sign in "!^" else "top" for sign in found[2] or ""}
        words, rest = {word for word in (found[1] or "").split(",") if word} | short, text[found.end() :]
    if unknown := words - _KNOWN_MAGIC:
        raise UsageError(f"{text}: {', '.join(sorted(unknown))} is not understood here", "use plain paths, * and ?")
    path = (tree_path if "top" in words else locate)(os.fsencode(rest))
    return Pathspec(path, "literal" in words or not _WILD.intersection(path), "exclude" in words)


def relocated(text: str, locate: Locate) -> str:
    """A path of the command line as one that begins at the root, magic kept. Raises UsageError."""
    found = _MAGIC.match(text)
    magic = text[: found.end()] if found else ""
    if found and ("/" in (found[2] or "") or "top" in (found[1] or "").split(",")):
        return text
    return f"{magic}/{os.fsdecode(locate(os.fsencode(text[len(magic) :])))}"


def matches_nothing(repository: Repository, text: str) -> bool:
    """Whether no commit of any branch has, or had, a plain path. Raises UsageError, DamagedError."""
    spec = pathspec(text)
    if not spec.literal or spec.exclude or not spec.path:
        return False
    newest = repository.ref("refs/heads/main")
    if newest is not None:
        look_up = Lookup(repository.read, repository.snapshot(newest).tree)
        if look_up(spec.path) or look_up.directory(spec.path):
            return False
    paths = (spec.for_git, Pathspec(join(spec.path, RECORDS), True, False).for_git)
    return not repository.git("rev-list", "--max-count=1", "--all", "--", *paths).strip()


# --- flags and revisions ------------------------------------------------------------------------------------

_TAKES_VALUE: Final = re.compile(r"-[nSGL]|--(max-count|skip|since|after|until|before|author|committer|grep)")
"""Options whose value may be the next word, as git's users are used to. Any other value is joined: ``--date=iso``."""
_REVISION: Final = re.compile(
    r"--(all|branches|tags|remotes|reflog|alternate-refs|bisect|not)(=.*)?|--(glob|exclude|exclude-hidden)=.*"
)
_WITH_PATH: Final = re.compile(r"((?:[^:{]|\{[^}]*\})+):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class GitArguments:
    """Parsed arguments of ``log``, ``show`` or ``diff``. ``--all`` and similar options are revisions.

    ``ids`` are the object ids of all revisions, with ``^`` before excluded ones; a range's end comes first.
    """

    flags: tuple[str, ...]
    revisions: tuple[str, ...]
    ids: tuple[str, ...]
    paths: Paths


def parse(repository: Repository, arguments: Sequence[str]) -> GitArguments:
    """Sort ``arguments`` into flags, revisions and paths.

    Raises NotFoundError for a word that is neither a revision nor a path, UsageError.
    """
    dashes = arguments.index("--") if "--" in arguments else None
    flags, words = _flags(repository, arguments[:dashes])
    revisions, ids = _revisions(repository, [_with_stored_path(word) for word in words])
    rest = words[len(revisions) :]
    if not revisions:
        repository.resolve("HEAD")
    for word in rest:
        if dashes is not None or not _is_path(repository, word, ids):
            raise _not_found(repository, word)
    paths = rest if dashes is None else arguments[dashes + 1 :]
    return GitArguments(tuple(flags), tuple(revisions), tuple(ids), Paths(tuple(map(pathspec, paths))))


def _flags(repository: Repository, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags, and words that are revisions or paths."""
    flags: list[str] = []
    words: list[str] = []
    rest = deque(arguments)
    while rest:
        word = rest.popleft()
        if _TAKES_VALUE.fullmatch(word):
            if not rest:
                raise UsageError(f"{word} needs a value", "see git help log")
            word += "=" * word.startswith("--") + rest.popleft()
        if not word.startswith("-") or _REVISION.fullmatch(word):
            words.append(word)
            continue
        if word.partition("=")[0] == "--output":
            raise UsageError("--output: gitstate writes no file here", "redirect the output: > FILE")
        if "=" not in word and not (rest and rest[0].startswith("-")):
            git.check_flag(repository, word)
        flags.append(word)
    return flags, words


def _revisions(repository: Repository, words: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    """The leading ``words`` that are revisions, and their object ids. git is run only for what isn't a plain name."""
    if not words:
        return [], []
    known = [_identify(repository, word) for word in words]
    if all(known):
        return words, [oid.hex() for oid in known if oid]
    try:
        return words, repository.git("rev-parse", *words, "--").decode().split()[:-1]
    except ProgramError:
        pass
    ids: list[str] = []
    for count, word in enumerate(words):
        found = parse_revision(repository, word)
        if not found and not _REVISION.fullmatch(word):
            return words[:count], ids
        ids += found
    return words, ids


def _identify(repository: Repository, word: str) -> bytes | None:
    try:
        return repository.identify(word)
    except DamagedError:  # git reports it
        return None


def parse_revision(repository: Repository, word: str) -> list[str]:
    """The object ids that ``word`` means, with ``^`` before excluded ones; a range's end comes first."""
    return repository.git("rev-parse", "--quiet", "--revs-only", word).decode().split()


def peel(repository: Repository, ids: Sequence[str], kind: Type) -> list[bytes] | None:
    """Peel ``ids`` to objects of ``kind``; None if one is of another kind. Raises NotFoundError, DamagedError."""
    found = []
    for name in ids:
        try:
            oid, leads_to, data = repository.peeled(bytes.fromhex(name))
        except DamagedError:
            repository.resolve(name)  # an unknown id is no damage
            raise
        if leads_to is Type.COMMIT and kind is Type.TREE:
            oid, leads_to = parse_commit(data).tree, kind
        if leads_to is not kind:
            return None
        found.append(oid)
    return found


def _with_stored_path(word: str) -> str:
    """``REV:PATH`` with stored names; any other word unchanged."""
    found = _WITH_PATH.fullmatch(word)
    if not found or not found[2]:
        return word
    return f"{found[1]}:{os.fsdecode(Pathspec(tree_path(os.fsencode(found[2])), True, False).stored)}"


def _is_path(repository: Repository, word: str, ids: Sequence[str]) -> bool:
    """Whether one of the snapshots ``ids``, by default HEAD, has this path. A pattern counts as a path."""
    spec = pathspec(word)
    if not spec.literal or not spec.path:
        return True
    ids = [oid.lstrip("^") for oid in ids] or [repository.resolve("HEAD").hex()]
    for tree in peel(repository, ids, Type.TREE) or []:
        look_up = Lookup(repository.read, tree)
        if look_up(spec.path) or look_up.directory(spec.path):
            return True
    return False


def _not_found(repository: Repository, word: str) -> GitstateError:
    """The error for a word that is neither a revision nor, at this place, a path."""
    try:
        repository.resolve(word)
    except NotFoundError as error:
        if any(mark in word for mark in ("..", "~", "^", "@", ":")):
            return error
        if "/" not in word:
            return NotFoundError(
                f"{error.message} and no such path", f"{error.hint}; put -- before paths that are gone"
            )
        name = repository.path.name.removesuffix(".git")
        return NotFoundError(f"{name} has no path {display(os.fsencode(word))}", "put -- before paths that are gone")
    return UsageError(f"{word} comes after a path", "revisions come first, then --, then paths")
