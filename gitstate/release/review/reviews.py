"""The reviews of a site: which wait, what is in them, and how they go away."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from gitstate.core.entry import CAPABILITY, Kind, Meta
from gitstate.core.errors import NotFoundError
from gitstate.core.names import display, visible
from gitstate.core.wording import did_you_mean, nearest
from gitstate.release.opened import OpenedSite
from gitstate.release.review.names import PREFIX, ReviewName, of_ref
from gitstate.store import Repository, Snapshot
from gitstate.tree import history
from gitstate.tree.change import Added, Change, Removed, compare
from gitstate.tree.snapshot import read_different, read_directory

_TRAILERS: Final = re.compile(r"\n(?:\nGitstate-[A-Za-z-]+: [^\n]*(?:\nGitstate-[A-Za-z-]+: [^\n]*)*)\n*\Z")
_REPOSITORIES: Final = re.compile(r"^Gitstate-Repositories: (.+)$", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Branch:
    """What a review changes in one repository, over the commit that the machine ran (None: a layer without any)."""

    repository: Repository
    snapshot: Snapshot

    @property
    def name(self) -> str:
        return self.repository.name

    @property
    def base(self) -> bytes | None:
        return self.snapshot.parents[0] if self.snapshot.parents else None

    @property
    def base_tree(self) -> bytes | None:
        return self.repository.snapshot(self.base).tree if self.base else None

    def changes(self) -> list[Change]:
        """The changes, those of times included. Raises DamagedError."""
        read = self.repository.read
        pairs = partial(read_different, read)
        return list(compare(partial(read_directory, read), self.base_tree, self.snapshot.tree, read_pair=pairs))

    def rights(self) -> list[str]:
        """What gives rights to whoever runs it, and is new or was changed: paths, each with why, for people."""
        found = []
        for one in self.changes():
            if isinstance(one, Removed) or one.is_time_only:
                continue
            words = _rights_of(one.meta if isinstance(one, Added) else one.new)
            if words and (isinstance(one, Added) or one.content or words != _rights_of(one.old)):
                found.append(f"/{display(one.path)} of {self.name}: {', '.join(words)}")
        return found


def _rights_of(meta: Meta) -> list[str]:
    if meta.kind in (Kind.CHARACTER, Kind.BLOCK):
        return ["a device"]
    if meta.kind is not Kind.FILE:
        return []
    words = [word for bit, word in ((stat.S_ISUID, "setuid"), (stat.S_ISGID, "setgid")) if meta.mode & bit]
    return [*words, *("capabilities" for name, _ in meta.xattrs if name == CAPABILITY)]


@dataclass(frozen=True, eq=False)
class Review:
    """Edits that came from one machine at one moment. ``missing`` are repositories that it should be in and isn't."""

    name: ReviewName
    branches: tuple[Branch, ...]

    @property
    def author(self) -> str:
        return self.branches[0].snapshot.author

    @property
    def when(self) -> int:
        """Seconds since the epoch, by the server's clock."""
        return self.branches[0].snapshot.when

    @property
    def message(self) -> str:
        """What the person said, without our trailers."""
        return _TRAILERS.sub("", self.branches[0].snapshot.message).strip()

    @property
    def missing(self) -> list[str]:
        found = _REPOSITORIES.search(self.branches[0].snapshot.message)
        return sorted(set(found[1].split() if found else ()) - {one.name for one in self.branches})

    @property
    def files(self) -> int:
        """How many entries it changes, times alone aside."""
        return sum(not change.is_time_only for one in self.branches for change in one.changes())


def trailers_of(message: str) -> list[str]:
    """The lines that gitstate has added to a message."""
    found = _TRAILERS.search(message)
    return found[0].strip().split("\n") if found else []


def all_reviews(opened: OpenedSite) -> list[Review]:
    """All that wait, by machine, the oldest first. Raises DamagedError."""
    found: dict[ReviewName, list[Branch]] = {}
    for repository in map(opened.site.repository, opened.site.repositories()):
        for ref, commit in repository.refs(PREFIX).items():
            if name := of_ref(ref):
                found.setdefault(name, []).append(Branch(repository, repository.snapshot(commit)))
    return [Review(name, tuple(found[name])) for name in sorted(found)]


def find(opened: OpenedSite, name: ReviewName) -> Review:
    """One review. Raises NotFoundError with the nearest names."""
    branches = []
    for repository in map(opened.site.repository, opened.site.repositories()):
        commit = repository.ref(name.ref)
        if commit is not None:
            branches.append(Branch(repository, repository.snapshot(commit)))
    if not branches:
        names = [str(one.name) for one in all_reviews(opened)]
        raise NotFoundError(
            f"there is no review {name}", did_you_mean(nearest(str(name), names), "gitstate review list")
        )
    return Review(name, tuple(branches))


def diff(branch: Branch) -> Iterator[str]:
    """The lines of what ``gitstate show`` prints of the commit of one repository, without colours.

    A machine has written them: whatever could move a cursor, or hide a line from the reviewer, is in octal.
    """
    for piece in filter(None, history.show(branch.repository, ["--no-color", branch.snapshot.oid.hex()])):
        for line in piece.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n"):
            yield "\t".join(map(visible, line.split("\t")))


def diff_json(branch: Branch) -> dict[str, list[dict[str, Any]]]:
    """The changes in one repository: of entries, and of hard links."""
    commits = history.show_json(branch.repository, [branch.snapshot.oid.hex()])
    found = [change for one in commits for change in one["changes"]]
    return {
        "changes": [one for one in found if "links" not in one],
        "links": [one for one in found if "links" in one],
    }


def drop(review: Review) -> None:
    """Delete its branches. Raises LockedError, StorageError."""
    for one in review.branches:
        delete(one, review.name)


def delete(branch: Branch, name: ReviewName) -> None:
    """Delete the branch of one repository, if it is still what was looked at."""
    branch.repository.git("update-ref", "-d", name.ref, branch.snapshot.oid.hex())
