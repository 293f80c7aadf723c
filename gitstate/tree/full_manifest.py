"""A snapshot's full manifest: what mtree and other tools compare a directory with, SHA-256 of all content included."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from gitstate.core.entry import Entry, Kind, Meta
from gitstate.core.monitor import SILENT, Observer
from gitstate.core.names import join
from gitstate.store import Repository
from gitstate.tree.manifest import Content, format_full
from gitstate.tree.snapshot import BoundedReader, effective_links, walk


def full_manifest(repository: Repository, commit: bytes, observer: Observer = SILENT) -> Iterator[str]:
    """The lines of a snapshot's full manifest. Raises DamagedError."""
    tree = repository.snapshot(commit).tree
    observer.phase("manifest")
    yield from format_full(_entries(repository, tree, observer), effective_links(repository.read, tree))


def _entries(repository: Repository, tree: bytes, observer: Observer) -> Iterator[tuple[bytes, Meta, Content]]:
    for path, directory in walk(BoundedReader(repository.read), tree):
        yield path, directory.own, Content()
        for entry in directory.files.values():
            yield join(path, entry.name), entry.meta, _content(repository, entry)
        observer.advance(len(directory.files) + 1)


def _content(repository: Repository, entry: Entry) -> Content:
    if entry.meta.kind is Kind.SYMLINK:
        return Content(target=repository.read(entry.oid))
    if entry.meta.kind is not Kind.FILE:
        return Content()
    digest, size = hashlib.sha256(), 0
    for piece in _pieces(repository, entry.oid):
        digest.update(piece)
        size += len(piece)
    return Content(size, digest.hexdigest())


def _pieces(repository: Repository, oid: bytes) -> Iterable[bytes]:
    whole = repository.whole(oid)
    return whole.chunks() if whole is not None else [repository.read(oid)]
