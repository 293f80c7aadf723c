"""The arguments of ``log``, ``show`` and ``diff``, taken apart as git takes them: flags, revisions, paths.

git decides what a revision is. What a path is it can't tell in a bare repository: for us that is what stands
in a snapshot, and real names become stored ones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from gitstate.core.errors import DamagedError, GitstateError, NotFoundError, StorageError, UsageError
from gitstate.core.names import LINKS, RECORDS, join, octal, stored_name, tree_path
from gitstate.store import Repository, Type
from gitstate.store.objects import parse_commit
from gitstate.tree.snapshot import Lookup

# --- paths --------------------------------------------------------------------------------------------------

_MAGIC = re.compile(r":\(([^)]*)\)|:([!^/]+):?|:(?=$)")
_KNOWN_MAGIC: Final = frozenset({"top", "exclude", "literal"})
_WILD: Final = frozenset(b"*?[\\")

_NOT_OURS: Final = (b":(exclude,glob)**/" + RECORDS, b":(exclude,literal)" + LINKS)


@dataclass(frozen=True, slots=True)
class Pathspec:
    """One path or pattern, by real names; the root is empty."""

    path: bytes
    literal: bool
    exclude: bool

    def covers(self, path: bytes) -> bool:
        """Whether it means ``path``, by itself or by a directory above."""
        if not self.path or path == self.path or path.startswith(self.path + b"/"):
            return True
        return not self.literal and fnmatchcase(path, self.path)

    def may_hold(self, path: bytes) -> bool:
        """Whether it may mean ``path`` or something below it."""
        if self.literal:
            return self.covers(path) or self.path.startswith(path + b"/")
        fixed = self.path[: next(place for place, byte in enumerate(self.path) if byte in _WILD)]
        return path.startswith(fixed) or fixed.startswith(path)

    @property
    def stored(self) -> bytes:
        """The path as git holds it."""
        return b"/".join(map(stored_name, self.path.split(b"/")))

    @property
    def for_git(self) -> bytes:
        """The pathspec as git is told it."""
        words = [b"exclude"] * self.exclude + [b"literal" if self.literal and self.path else b"top"]
        return b":(%s)%s" % (b",".join(words), self.stored)

    @property
    def record(self) -> bytes:
        """The pathspec of the file that holds its record."""
        if not self.literal:
            return b":(glob)**/" + RECORDS
        return b":(literal)" + join(self.stored.rpartition(b"/")[0], RECORDS)


@dataclass(frozen=True, slots=True)
class Paths:
    """The paths that the user asked for; none: all."""

    specs: tuple[Pathspec, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.specs)

    @property
    def _positive(self) -> list[Pathspec]:
        return [spec for spec in self.specs if not spec.exclude] or [Pathspec(b"", True, False)]

    def match(self, path: bytes) -> bool:
        """Whether ``path`` was asked for."""
        if any(spec.exclude and spec.covers(path) for spec in self.specs):
            return False
        return any(spec.covers(path) for spec in self._positive)

    def may_hold(self, path: bytes) -> bool:
        """Whether ``path`` or something below it may have been asked for."""
        return any(spec.may_hold(path) for spec in self._positive)

    @property
    def of_content(self) -> list[bytes]:
        """git's pathspecs for their content, without what is ours."""
        negative = [spec for spec in self.specs if spec.exclude]
        return [*(spec.for_git for spec in [*self._positive, *negative]), *_NOT_OURS]

    @property
    def of_records(self) -> list[bytes]:
        """git's pathspecs for a superset of the commits that changed their content, records or links."""
        positive = self._positive
        return [
            *(spec.for_git for spec in positive),
            *(spec.record for spec in positive),
            b":(literal)" + LINKS,
        ]


def pathspec(text: str) -> Pathspec:
    """A path of the command line. Raises UsageError."""
    found = _MAGIC.match(text)
    if found is None:
        words, rest = set(), text
    else:
        short = {"exclude" if sign in "!^" else "top" for sign in found[2] or ""}
        words, rest = {word for word in (found[1] or "").split(",") if word} | short, text[found.end() :]
    if unknown := words - _KNOWN_MAGIC:
        raise UsageError(f"{text}: {', '.join(sorted(unknown))} is not understood here", "use plain paths, * and ?")
    path = tree_path(os.fsencode(rest))
    return Pathspec(path, "literal" in words or not _WILD.intersection(path), "exclude" in words)


# --- flags and revisions ------------------------------------------------------------------------------------

_VALUED = re.compile(
    r"-[nSGOLlI]|--(max-count|skip|since|after|until|before|since-as-filter|author|committer|grep|grep-reflog"
    r"|date|encoding|diff-filter|inter-hunk-context|anchored|find-object|src-prefix|dst-prefix|line-prefix"
    r"|ignore-matching-lines|word-diff-regex|ws-error-highlight|rotate-to|skip-to|diff-algorithm|color-moved-ws"
    r"|output|output-indicator-(new|old|context)|decorate-refs|decorate-refs-exclude)"
)
_VALUED_REVISION = re.compile(r"--(glob|exclude|exclude-hidden)")
_REVISION = re.compile(
    r"--(all|branches|tags|remotes|glob|exclude|exclude-hidden|reflog|alternate-refs|bisect|not)(=.*)?"
)
_WITH_PATH = re.compile(r"((?:[^:{]|\{[^}]*\})+):(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class LogArguments:
    """What the user asked git for. A flag's value is joined to it; ``--all`` and its kin are revisions.

    ``ids`` are the object ids of all revisions, ``^`` before those left out; a range's end comes first.
    """

    flags: tuple[str, ...]
    revisions: tuple[str, ...]
    ids: tuple[str, ...]
    paths: Paths


def split(repository: Repository, arguments: Sequence[str]) -> LogArguments:
    """Take ``arguments`` apart. Raises NotFoundError for what is neither a revision nor a path, UsageError."""
    dashes = arguments.index("--") if "--" in arguments else None
    flags, words = _flags(arguments[:dashes])
    revisions, ids = _revisions(repository, [_stored(word) for word in words])
    loose = words[len(revisions) :]
    if not revisions:
        repository.resolve("HEAD")
    for word in loose:
        if dashes is not None or not _is_path(repository, word, ids):
            raise _neither(repository, word)
    paths = loose if dashes is None else arguments[dashes + 1 :]
    return LogArguments(tuple(flags), tuple(revisions), tuple(ids), Paths(tuple(map(pathspec, paths))))


def _flags(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Flags, each with its value, and words: revisions or paths."""
    flags: list[str] = []
    words: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if _VALUED.fullmatch(word) or _VALUED_REVISION.fullmatch(word):
            value = next(rest, None)
            if value is None:
                raise UsageError(f"{word} wants a value", "see git help log")
            word += f"={value}" if word.startswith("--") else value
        (flags if word.startswith("-") and not _REVISION.fullmatch(word) else words).append(word)
    return flags, words


def _revisions(repository: Repository, words: Sequence[str]) -> tuple[Sequence[str], list[str]]:
    """The revisions that ``words`` begin with, and their object ids: git is asked only for what isn't plain."""
    if not words:
        return [], []
    plain = [_plain(repository, word) for word in words]
    if all(plain):
        return words, [oid.hex() for oid in plain if oid]
    try:
        return words, repository.git("rev-parse", *words, "--").decode().split()[:-1]
    except StorageError:
        pass
    ids: list[str] = []
    for count, word in enumerate(words):
        found = parse_revision(repository, word)
        if not found and not _REVISION.fullmatch(word):
            return words[:count], ids
        ids += found
    return words, ids


def _plain(repository: Repository, word: str) -> bytes | None:
    try:
        return repository.identify(word)
    except DamagedError:  # git says so in its own words
        return None


def parse_revision(repository: Repository, word: str) -> list[str]:
    """The object ids that ``word`` stands for, ``^`` before those left out; a range's end comes first."""
    return repository.git("rev-parse", "--quiet", "--revs-only", word).decode().split()


def peeled(repository: Repository, ids: Sequence[str], kind: Type) -> list[bytes] | None:
    """The objects of ``kind`` that ``ids`` lead to; None if one of them leads to another.

    Raises NotFoundError, DamagedError.
    """
    found = []
    for name in ids:
        try:
            oid, leads_to, data = repository.peeled(bytes.fromhex(name))
        except DamagedError:
            repository.resolve(name)  # an id that somebody made up is no damage
            raise
        if leads_to is Type.COMMIT and kind is Type.TREE:
            oid, leads_to = parse_commit(data).tree, kind
        if leads_to is not kind:
            return None
        found.append(oid)
    return found


def _stored(word: str) -> str:
    """``REV:PATH`` with git's stored names; any other word as it is."""
    found = _WITH_PATH.fullmatch(word)
    if not found or not found[2]:
        return word
    return f"{found[1]}:{os.fsdecode(Pathspec(tree_path(os.fsencode(found[2])), True, False).stored)}"


def _is_path(repository: Repository, word: str, ids: Sequence[str]) -> bool:
    """Whether a snapshot among ``ids``, or HEAD without any, has it; a pattern is a path too."""
    spec = pathspec(word)
    if not spec.literal or not spec.path:
        return True
    ids = [oid.lstrip("^") for oid in ids] or [repository.resolve("HEAD").hex()]
    for tree in peeled(repository, ids, Type.TREE) or []:
        look_up = Lookup(repository.read, tree)
        if look_up(spec.path) or look_up.directory(spec.path):
            return True
    return False


def _neither(repository: Repository, word: str) -> GitstateError:
    """The error for a word that is no revision, nor a path where one may stand."""
    try:
        repository.resolve(word)
    except NotFoundError as error:
        if "/" not in word or ".." in word:
            return error
        name = repository.path.name.removesuffix(".git")
        return NotFoundError(f"{name} has no path {octal(os.fsencode(word))}", "put -- before paths that are no more")
    return UsageError(f"{word} stands behind a path", "revisions come first, then --, then paths")
