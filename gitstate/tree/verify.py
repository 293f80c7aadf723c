"""Compare a directory with a snapshot, print a snapshot as one mtree specification, and check a repository."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gitstate.core import fs
from gitstate.core.entry import Directory, Kind
from gitstate.core.errors import ConfigError, DamagedError, GitstateError
from gitstate.core.monitor import SILENT, Observer
from gitstate.core.names import join
from gitstate.store import Repository
from gitstate.store.objects import TREE
from gitstate.tree import change, export
from gitstate.tree.change import Change, LinksChanged, Modified
from gitstate.tree.limits import impossible_entries, require_possible_target
from gitstate.tree.own_data import own_data
from gitstate.tree.policy import Policy, parse, policy_path
from gitstate.tree.scan.cache import NO_CACHE
from gitstate.tree.scan.content import HashOnly
from gitstate.tree.scan.models import BaseSnapshot
from gitstate.tree.scan.tree import Scanner
from gitstate.tree.snapshot import BoundedReader, Lookup, effective_links, join_tree, read_links, split_tree


@dataclass(frozen=True, slots=True)
class Difference:
    """How a directory differs from a snapshot: ``old`` in each change is the snapshot's."""

    changes: list[Change]
    links: list[LinksChanged]
    unread: list[tuple[bytes, str]]

    def __bool__(self) -> bool:
        return bool(self.changes or self.links or self.unread)


def verify(repository: Repository, commit: bytes, directory: Path, observer: Observer = SILENT) -> Difference:
    """Compare ``directory``, every byte of it, with a snapshot. Raises DamagedError, HostError."""
    tree = repository.snapshot(commit).tree
    policy = _recording_everything(repository, tree)
    sink = HashOnly(repository.read)
    root = fs.open_tree(directory)
    try:
        observer.phase("read")
        base = BaseSnapshot(repository.read, repository.has_packed, tree)
        site = own_data(repository).root
        scan = Scanner(root, base, NO_CACHE, policy, sink, observer, own_data=site).run()
    finally:
        os.close(root)
    if scan.tree == tree and not scan.findings.unrecorded:
        return Difference([], [], [])
    changes = change.compare(BoundedReader(sink.read), tree, scan.tree)
    old_links, new_links = effective_links(repository.read, tree), read_links(sink.read, scan.tree)
    links = change.compare_links(old_links, new_links)
    return Difference([one for one in changes if not _is_unrecorded_time(one)], links, scan.findings.unrecorded)


def verify_export(repository: Repository, commit: bytes, exports: Path, observer: Observer = SILENT) -> Difference:
    """Compare the export of a snapshot with it, and keep in mind whether it is damaged: it is made again then.

    Raises DamagedError, HostError.
    """
    found = verify(repository, commit, exports / commit.hex(), observer)
    if not found.unread:
        export.remember(repository, commit, exports, damaged=bool(found))
    return found


def _recording_everything(repository: Repository, tree: bytes) -> Policy:
    """A policy that records all, and SELinux labels if the snapshot's own policy asks for them.

    One that is no file, or wrong, asks for nothing: it may not keep anybody from comparing.
    """
    own = policy_path(is_layer=repository.is_layer)
    try:
        policy_file = Lookup(repository.read, tree).regular_file(own)
        text = repository.read(policy_file) if policy_file else None
        return parse(text, f"/{own.decode()}", own).recording_everything()
    except ConfigError:
        return parse(None, f"/{own.decode()}", own).recording_everything()


def _is_unrecorded_time(item: Change) -> bool:
    """Whether only the time differs, of an entry whose time isn't recorded."""
    return isinstance(item, Modified) and item.old.time is None and item.old == item.new._replace(time=None)


# --- fsck -----------------------------------------------------------------------------------------------------------


def fsck(repository: Repository, observer: Observer = SILENT) -> list[str]:
    """The problems of a repository, a line each: git's own checks, then every record of every reachable snapshot."""
    observer.phase("git fsck")
    problems = repository.fsck()
    if problems:
        return problems
    seen: set[tuple[bytes, bool]] = set()
    observer.phase("records")
    for commit, tree in repository.all_snapshots():
        problems += [f"{commit.hex()[:7]} {problem}" for problem in _check_tree(repository, tree, seen, observer)]
    return problems


def _check_tree(
    repository: Repository, root: bytes, seen: set[tuple[bytes, bool]], observer: Observer
) -> Iterator[str]:
    try:
        read_links(repository.read, root)
    except GitstateError as error:
        yield error.message
    stack = [(b"", root)]
    while stack:
        path, tree = stack.pop()
        if (tree, not path) in seen:
            continue
        seen.add((tree, not path))
        observer.advance()
        try:
            parts = split_tree(repository.read(tree), path)
            directory = join_tree(repository.read, parts, path)
            yield from (error.message for error in impossible_entries(path, directory))
            yield from _check_targets(repository, path, directory)
        except GitstateError as error:
            yield error.message
            continue
        stack += [(join(path, name), item.oid) for name, item in parts.items.items() if item.mode == TREE]


def _check_targets(repository: Repository, path: bytes, directory: Directory) -> Iterator[str]:
    for name, entry in directory.files.items():
        if entry.meta.kind is Kind.SYMLINK:
            try:
                require_possible_target(join(path, name), repository.read(entry.oid))
            except DamagedError as error:
                yield error.message
