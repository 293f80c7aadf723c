"""What a release would change, counted before anything is done."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from gitstate.core.entry import Kind
from gitstate.core.errors import NotFoundError, RefusedError
from gitstate.core.monitor import Observer
from gitstate.machine import render
from gitstate.machine.render import Batch, LayerError, RenderContext
from gitstate.machine.render import DirectoryChange as DirectoryChange
from gitstate.store import Repository
from gitstate.store.site import Site
from gitstate.tree.change import Added, Change, Modified, compare
from gitstate.tree.snapshot import BoundedReader, Lookup, read_directory, walk

NAMED: Final = 10
_WHY: Final = (
    ("kernel", re.compile(rb"boot/(?:vmlinu|Image|kernel).*|(?:usr/)?lib/modules/.*|vmlinuz")),
    ("initrd", re.compile(rb"boot/initr.*|initrd\.img|etc/initramfs-tools/.*|usr/share/initramfs-tools/.*")),
    ("init", re.compile(rb"(?:usr/)?sbin/init|(?:usr/)?lib/systemd/systemd|usr/bin/dbus-(?:daemon|broker).*")),
    ("libc", re.compile(rb"(?:usr/)?lib(?:32|64)?/(?:[^/]*/)?(?:libc\.so\.6|libc-2[^/]*\.so|ld-(?:linux|musl)[^/]*)")),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """How one repository's part of a release differs from the last one; ``old`` None where it enters.

    ``bytes`` are those of files with new content. ``reasons`` are what no running machine takes over.
    """

    repository: str
    old: bytes | None
    new: bytes
    added: int
    modified: int
    deleted: int
    names: tuple[tuple[str, bytes], ...]
    bytes: int
    reasons: tuple[str, ...]

    @property
    def files(self) -> int:
        """How many entries differ."""
        return self.added + self.modified + self.deleted


def between(name: str, repository: Repository, old: bytes | None, new: bytes, observer: Observer) -> Difference:
    """Compare two commits of one repository; counts are those of a check-in. Times alone are no difference.

    Raises DamagedError.
    """
    observer.phase(f"compare {name}")
    if old is None:
        return _all_of(name, repository, new)
    trees = [repository.snapshot(commit).tree for commit in (old, new)]
    look_up = Lookup(repository.read, trees[1])
    counts = {"A": 0, "M": 0, "D": 0}
    named: list[tuple[str, bytes]] = []
    reasons: set[str] = set()
    size = 0
    for one in compare(partial(read_directory, repository.read), *trees):
        if one.is_time_only:
            continue
        letter = "M" if one.letter == "T" else one.letter
        counts[letter] += 1
        if len(named) < NAMED:
            named.append((letter, one.path))
        reasons |= {why for why, paths in _WHY if paths.fullmatch(one.path)}
        size += _size(repository, look_up, one)
    return Difference(name, old, new, counts["A"], counts["M"], counts["D"], tuple(named), size, tuple(sorted(reasons)))


def directory_changes(
    site: Site, prototype: str, commits: Mapping[str, bytes], before: Mapping[str, bytes]
) -> list[DirectoryChange]:
    """Owners and modes of the prototype's directories of which layers say something else, and didn't ``before``.

    A layer with an error is left to the rendering, which names the machines that it concerns; one that is gone says
    nothing. Raises DamagedError.
    """
    known = set(_directory_changes(site, prototype, before, commits)) if prototype in before else set()
    return [one for one in _directory_changes(site, prototype, commits, before) if one not in known]


def _directory_changes(
    site: Site, prototype: str, commits: Mapping[str, bytes], other: Mapping[str, bytes]
) -> Iterator[DirectoryChange]:
    """Those of the layers that ``other`` has at another commit, or over another snapshot."""
    layers = {name: oid for name, oid in commits.items() if name != prototype}
    batch = Batch(RenderContext((prototype, commits[prototype]), layers), site.repository)
    is_same_image = other.get(prototype) == commits[prototype]
    for name in sorted(name for name, oid in layers.items() if not (is_same_image and other.get(name) == oid)):
        with suppress(LayerError, RefusedError, NotFoundError):
            yield from render.directory_changes(batch.image, [batch.layer(name)])


def _size(repository: Repository, look_up: Lookup, one: Change) -> int:
    if isinstance(one, Added) or (isinstance(one, Modified) and one.content):
        entry = look_up(one.path)
        if entry is not None and entry.meta.kind is Kind.FILE:
            return repository.size_of(entry.oid)
    return 0


def _all_of(name: str, repository: Repository, new: bytes) -> Difference:
    """A snapshot that comes as a whole: counted, and nothing named."""
    entries = size = 0
    for _, directory in walk(BoundedReader(repository.read), repository.snapshot(new).tree):
        files = [entry.oid for entry in directory.files.values() if entry.meta.kind is Kind.FILE]
        size += sum(map(repository.size_of, files))
        entries += 1 + len(directory.files)
    return Difference(name, None, new, entries, 0, 0, (), size, ())
