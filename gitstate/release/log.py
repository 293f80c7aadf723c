"""``site.git``: a branch for each channel, a commit for each release.

A release's tree holds gitlinks, ``prototype/NAME`` and ``layer/...``, and ``site.toml`` as it was. The last paragraph
of its message, which nobody but us writes, says which tag it comes from; so a tag is never published twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import islice
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import DamagedError, NotFoundError
from gitstate.core.signature import Signature
from gitstate.release.models import TAGS, Name, NextRelease, Release, ReleaseRequest, number, version_name
from gitstate.store import Commit, Repository, Type, write_objects
from gitstate.store.edit import NewObjects, edit_tree
from gitstate.store.objects import FILE, GITLINK, TREE
from gitstate.store.site import Site

TAG: Final = "Gitstate-Tag"
ROLLBACK: Final = "Gitstate-Rollback"
_SUBJECT: Final = re.compile(r"(?P<channel>[^/\s]+)/(?P<version>[^/\s:]+): .*")
_TAG_LINE: Final = re.compile(r"(?P<repository>\S+) (?P<name>\S+) (?P<oid>[0-9a-f]{40})")
_TRAILER: Final = re.compile(r"(Gitstate-[A-Za-z-]+): (.+)")
_KINDS: Final = ("prototype", "layer")
_RENAMED: Final = "refs/gitstate/renamed"
_NAMES: Final = b"names.json"


class ReleaseLog:
    """The history of all channels of a site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._path = site.releases_path
        self._opened: Repository | None = None

    # --- reading ---

    @property
    def _repository(self) -> Repository | None:
        if self._opened is None and fs.has_directory(self._path):
            self._opened = Repository.open(self._path, self._path.name)
        return self._opened

    def current(self, channel: str) -> Release | None:
        """What ``channel`` runs, None before its first release. Raises DamagedError."""
        oid = self._repository and self._repository.ref(f"refs/heads/{channel}")
        return self._read(oid) if oid else None

    def find(self, name: Name) -> Release:
        """The release called so. Raises NotFoundError."""
        found = self.get(name)
        if found is None:
            known = ", ".join(str(one.name) for one in islice(self.of(name.channel), 5))
            raise NotFoundError(f"there is no release {name}", f"there are: {known}" if known else "it has none yet")
        return found

    def get(self, name: Name) -> Release | None:
        """The release called so, None if there is none. Raises DamagedError."""
        oid = self._called(name)
        return self._read(oid) if oid else None

    def origin(self, name: Name) -> tuple[str, bytes] | None:
        """The tag, with its repository, that a release came from; None if there is no such release, or a rollback."""
        oid = self._called(name)
        if not self._repository or not oid:
            return None
        return self._tag_today(trailers(self._repository.snapshot(oid).message).get(TAG, ""))

    def _called(self, name: Name) -> bytes | None:
        """The commit of a release: what its tag names, or the branch where a git was killed before it made the tag."""
        if self._repository is None:
            return None
        oid = self._repository.ref(f"{TAGS}{name}")
        if oid is None:
            tip = self._repository.ref(f"refs/heads/{name.channel}")
            oid = tip if tip and self._repository.snapshot(tip).message.startswith(f"{name}: ") else None
        return oid

    def of(self, channel: str) -> Iterator[Release]:
        """The releases of ``channel`` since it was created, the current one first. Raises DamagedError."""
        current = self.current(channel)
        while current is not None:
            yield current
            current = self._read(current.previous) if current.previous else None

    def before(self, release: Release) -> Release | None:
        """What its channel ran before a release. Raises DamagedError."""
        return self._read(release.previous) if release.previous else None

    def names(self, channel: str) -> list[Name]:
        """All releases that ``channel`` ever had, also those before it was removed and created again."""
        found = self._repository.refs(f"{TAGS}{channel}/") if self._repository else {}
        names = [Name(*name.removeprefix(TAGS).split("/", 1)) for name in found]
        current = self.current(channel)
        return names if current is None or current.name in names else [*names, current.name]

    def _read(self, oid: bytes) -> Release:
        assert self._repository is not None
        snapshot = self._repository.snapshot(oid)
        subject = _SUBJECT.fullmatch(snapshot.subject)
        commits = dict(self._links(snapshot.tree, b""))
        prototypes = [name for name in commits if name.startswith("prototype/")]
        if subject is None or len(prototypes) != 1:
            raise DamagedError(
                f"{oid.hex()} in {self._path} is no release", "run: git fsck there; take it from a backup"
            )
        said = trailers(snapshot.message)
        return Release(
            name=Name(subject["channel"], subject["version"]),
            oid=oid,
            previous=snapshot.parents[0] if snapshot.parents else None,
            prototype=self._today(prototypes[0].partition("/")[2]),
            commits=self._commits_today({name.partition("/")[2]: commit for name, commit in commits.items()}),
            author=snapshot.author,
            when=snapshot.when,
            message=snapshot.message,
            tag=self._tag_today(said.get(TAG, "")),
            rollback=_rollback(said.get(ROLLBACK)),
        )

    # --- names that were others ---

    @cached_property
    def renamed(self) -> Mapping[str, str]:
        """How repositories are called today, by the names that releases know them by. Raises DamagedError."""
        repository = self._repository
        tip = repository.ref(_RENAMED) if repository else None
        if not repository or not tip:
            return {}
        items = {item.name: item.oid for item in repository.tree(repository.snapshot(tip).tree)}
        try:
            found: dict[str, str] = json.loads(repository.read(items[_NAMES]))
        except (KeyError, ValueError) as error:
            raise DamagedError(f"{self._path}, {_RENAMED}: {error}", "take it from a backup") from None
        return found

    def rename(self, old: str, new: str, author: Signature, committer: Signature) -> None:
        """Note that ``old`` is called ``new`` from now on, under the lock. Raises LockedError, StorageError."""
        if self.renamed.get(old) == new:
            return
        names = {before: new if today == old else today for before, today in self.renamed.items()} | {old: new}
        names.pop(new, None)  # it is called so again
        repository, objects = self.open(), NewObjects()
        blob = objects.add(Type.BLOB, f"{json.dumps(names, indent=1, sort_keys=True)}\n".encode())
        tip = repository.ref(_RENAMED)
        tree = edit_tree(repository.read, None, {_NAMES: (FILE, blob)}, objects)
        commit = Commit(tree, [tip] if tip else [], author, committer, f"rename {old} to {new}").encode()
        write_objects(repository, objects, [(_RENAMED, objects.add(Type.COMMIT, commit), tip)], f"rename: {new}")
        self.__dict__.pop("renamed", None)

    def _today(self, name: str) -> str:
        return self.renamed.get(name, name)

    def _commits_today(self, commits: Mapping[str, bytes]) -> dict[str, bytes]:
        kept = {name: oid for name, oid in commits.items() if name not in self.renamed}
        return kept | {self._today(name): oid for name, oid in commits.items() if name in self.renamed}

    def _tag_today(self, text: str) -> tuple[str, bytes] | None:
        tag = _tag(text)
        return (self._today(tag[0]), tag[1]) if tag else None

    def _links(self, tree: bytes, above: bytes) -> Iterator[tuple[str, bytes]]:
        assert self._repository is not None
        for item in self._repository.tree(tree):
            path = above + b"/" + item.name if above else item.name
            if item.mode == GITLINK:
                yield path.decode(errors="replace"), item.oid
            elif item.mode == TREE and (above or item.name.decode(errors="replace") in _KINDS):
                yield from self._links(item.oid, path)

    # --- writing ---

    def open(self) -> Repository:
        """``site.git``, made if need be. Raises LockedError."""
        if self._opened is None:
            self._opened = self.site.releases()
        return self._opened

    def lock(self, command: str) -> AbstractContextManager[None]:
        """Be the only one who makes releases. Raises LockedError."""
        return self.open().lock(command)

    def append(
        self, release: NextRelease, who: tuple[Signature, Signature], message: str, facts: Mapping[str, bytes]
    ) -> Release:
        """Make a release, under the lock. Raises LockedError, StorageError.

        The branch is what counts: git moves two refs one after the other, and may be killed between. ``who`` are author
        and committer; ``message`` ends with a paragraph of trailers. ``facts`` are blobs by the machines' names.
        """
        repository, objects = self.open(), NewObjects()
        name, before = release.name, release.before
        entries = {
            f"{_KINDS[one != release.prototype]}/{one}".encode(): (GITLINK, oid) for one, oid in release.commits.items()
        }
        entries |= {f"facts/{host}.json".encode(): (FILE, blob) for host, blob in facts.items()}
        entries[b"site.toml"] = (FILE, objects.add(Type.BLOB, self.site.file.read_bytes()))
        tree = edit_tree(repository.read, None, entries, objects)
        parents = [before.oid] if before else []
        oid = objects.add(Type.COMMIT, Commit(tree, parents, *who, f"{name}: {message}").encode())
        move = (f"refs/heads/{name.channel}", oid, before.oid if before else None)
        write_objects(repository, objects, [move], f"release: {name}")
        return self.tagged(self._read(oid))

    def tagged(self, release: Release) -> Release:
        """``release``, under the lock, with the tag of its name."""
        repository = self.open()
        if repository.ref(f"{TAGS}{release.name}") is None:
            repository.move_refs([(f"{TAGS}{release.name}", release.oid, None)], f"release: {release.name}")
        return release

    def close(self, channel: str) -> bytes | None:
        """Forget what ``channel`` runs, under the lock, and return it; its releases stay, by their tags."""
        standing = self._repository and self._repository.ref(f"refs/heads/{channel}")
        if self._repository and standing:
            self._repository.git("update-ref", "-d", f"refs/heads/{channel}", standing.hex())
        return standing or None

    def reopen(self, channel: str, release: bytes) -> None:
        """Take a ``close`` back, under the lock."""
        self.open().move_refs([(f"refs/heads/{channel}", release, None)], f"release: {channel} goes on")


def next_number(versions: Sequence[str]) -> int:
    """The number after all of ``versions``."""
    return 1 + max((number(version) or 0 for version in versions), default=0)


def trailers(message: str) -> dict[str, str]:
    """What the last paragraph of a release's message says."""
    last = message.rstrip("\n").rpartition("\n\n")[2]
    return {found[1]: found[2] for line in last.splitlines() if (found := _TRAILER.fullmatch(line))}


def _tag(text: str) -> tuple[str, bytes] | None:
    found = _TAG_LINE.fullmatch(text)
    return (found["repository"], bytes.fromhex(found["oid"])) if found else None


def _rollback(text: str | None) -> Name | None:
    channel, _, version = (text or "").partition("/")
    return Name(channel, version_name(version)) if text else None


# --- messages ---------------------------------------------------------------------------------------------------------


_NAMED: Final = 20
"""Commits that are named."""


def tag_message(
    request: ReleaseRequest, commits: Mapping[str, bytes], current: Release | None, repository: Repository
) -> str:
    """The message of the release that ``request`` makes, without its name in front."""
    body = _own_words(request.tag.message)
    lines = [*_changes(commits, current), *_subjects(repository, request, current)]
    trailer = f"{TAG}: {request.repository} {request.name} {request.pending.oid.hex()}"
    parts = [f"{request.repository} {request.commit.hex()[:7]}", body, "\n".join(lines), trailer]
    return "\n\n".join(part for part in parts if part)


def rollback_message(target: Release, current: Release) -> str:
    """The message of a release that goes back to ``target``."""
    lines = list(_changes(target.commits, current))
    parts = [f"rollback to {target.name}", "\n".join(lines), f"{ROLLBACK}: {target.name}"]
    return "\n\n".join(part for part in parts if part)


def _own_words(message: str) -> str:
    """What the tagger wrote, trailers of any kind left out: the last paragraph is ours."""
    paragraphs = [part.strip() for part in message.strip().split("\n\n")]
    if paragraphs and all(_is_trailer(line) for line in paragraphs[-1].splitlines()):
        paragraphs.pop()
    return "\n\n".join(part for part in paragraphs if part)


def _is_trailer(line: str) -> bool:
    key, colon, value = line.partition(": ")
    return bool(colon and value) and "-" in key and " " not in key


def _changes(commits: Mapping[str, bytes], current: Release | None) -> Iterator[str]:
    """What becomes of each repository, a line each."""
    before = current.commits if current else {}
    for name in sorted(commits.keys() | before.keys()):
        old, new = before.get(name), commits.get(name)
        if new is None:
            yield f"{name} leaves"
        elif old is None:
            yield f"{name} enters at {new.hex()[:7]}"
        elif old != new:
            yield f"{name} {old.hex()[:7]} -> {new.hex()[:7]}"


def _subjects(repository: Repository, request: ReleaseRequest, current: Release | None) -> Iterator[str]:
    """The commits that a release brings, newest first; none for the first one, which brings all."""
    old = current.commits.get(request.repository) if current else None
    if old is None or old == request.commit:
        return
    words = ["log", f"--max-count={_NAMED + 1}", "--format=%H", f"{old.hex()}..{request.commit.hex()}"]
    ids = repository.git(*words).decode().split()
    for oid in ids[:_NAMED]:
        yield f"- {repository.snapshot(bytes.fromhex(oid)).subject}"
    if len(ids) > _NAMED:
        yield "- …"
