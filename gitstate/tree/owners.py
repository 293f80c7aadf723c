"""Owners by name in a layer's records: accounts of the root below. Commits that change records alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gitstate.core.entry import Meta
from gitstate.core.errors import ConflictError, NotFoundError, UsageError
from gitstate.core.names import RECORDS, display, join, stored_name
from gitstate.core.signature import Signature
from gitstate.store import MAIN, Commit, Repository, Type, write_objects
from gitstate.store.edit import NewObjects, Read, edit_tree
from gitstate.store.objects import FILE
from gitstate.store.staging import Move
from gitstate.tree.checkin import LIVE, OWNER_REASON
from gitstate.tree.manifest import is_account
from gitstate.tree.snapshot import Lookup, effective_links, make_directory


class Owner(NamedTuple):
    """The owner to set by name. None: leave as it is; empty: no name, so that the number counts."""

    user: bytes | None
    group: bytes | None

    def __str__(self) -> str:
        if self == NOBODY:
            return "-"
        return display(self.user or b"", word=True) + (f":{display(self.group, word=True)}" if self.group else "")

    def of(self, meta: Meta) -> Meta:
        """``meta`` with this owner."""
        uname = meta.uname if self.user is None else self.user
        return meta._replace(uname=uname, gname=meta.gname if self.group is None else self.group)


NOBODY = Owner(b"", b"")


@dataclass(frozen=True, slots=True)
class Plan:
    """The paths whose records change; ``tip`` is the snapshot that was read."""

    owner: Owner
    tip: bytes
    paths: tuple[bytes, ...]


def parse(text: bytes) -> Owner:
    """``USER``, ``USER:GROUP``, ``:GROUP``, or ``-`` for no names. Raises UsageError."""
    if text == b"-":
        return NOBODY
    user, _, group = text.partition(b":")
    for name in (user, group):
        if name and (not is_account(name) or name.isdigit()):
            hint = "USER, USER:GROUP or :GROUP, by names; numbers are set by chown in the live tree"
            raise UsageError(f"'{display(name)}' is not an account's name", hint)
    if not user and not group:
        raise UsageError(f"'{display(text)}' names nobody", "USER, USER:GROUP, :GROUP, or - for no names")
    return Owner(user or None, group or None)


def plan(repository: Repository, owner: Owner, paths: Collection[bytes], *, recursive: bool = False) -> Plan:
    """What has to change for ``owner`` to own ``paths`` and their hard links. Raises NotFoundError, DamagedError."""
    tip = repository.ref(MAIN)
    if tip is None:
        raise NotFoundError(f"{repository.name} has no snapshot yet", f"gitstate checkin {repository.name} -m TEXT")
    tree = repository.snapshot(tip).tree
    look = Lookup(repository.read, tree)
    wanted: set[bytes] = set()
    for path in paths:
        found = set(_selected(look, path, recursive=recursive))
        if not found:
            hint = "check it in first; paths are from its root"
            raise NotFoundError(f"{repository.name} has no /{display(path)}", hint)
        wanted |= found
    for group in effective_links(repository.read, tree):
        if wanted.intersection(group):
            wanted.update(group)
    changed = [path for path in wanted if (meta := _meta(look, path)) and owner.of(meta) != meta]
    return Plan(owner, tip, tuple(sorted(changed)))


def _meta(look: Lookup, path: bytes) -> Meta | None:
    entry = look(path) if path else None
    directory = None if entry else look.directory(path)
    return entry.meta if entry else directory.own if directory else None


def _selected(look: Lookup, path: bytes, *, recursive: bool) -> Iterator[bytes]:
    if _meta(look, path) is None:
        return
    todo = [path]
    while todo:
        here = todo.pop()
        yield here
        directory = look.directory(here) if recursive else None
        if directory is not None:
            todo += [join(here, name) for name in (*directory.files, *directory.subdirectories)]


def apply(plan: Plan, repository: Repository, author: Signature, committer: Signature, message: str) -> bytes:
    """Commit the plan; the new snapshot. A live tree recorded as the old one counts as recorded as the new one.

    Raises ConflictError, LockedError.
    """
    with repository.lock("owner"):
        tip = repository.ref(MAIN)
        if tip != plan.tip:
            raise ConflictError(f"main of {repository.name} has moved meanwhile", "run it again")
        objects, root = NewObjects(), repository.snapshot(plan.tip).tree
        records = dict(_new_records(repository.read, plan, root, objects))
        tree = edit_tree(repository.read, root, records, objects)
        new = objects.add(Type.COMMIT, Commit(tree, [plan.tip], author, committer, message).encode())
        moves: list[Move] = [(MAIN, new, plan.tip)]
        if repository.ref(LIVE) == plan.tip:
            moves.append((LIVE, new, plan.tip))
        write_objects(repository, objects, moves, f"{OWNER_REASON}{message.splitlines()[0][:60]}")
    return new


def _new_records(read: Read, plan: Plan, root: bytes, objects: NewObjects) -> Iterator[tuple[bytes, tuple[int, bytes]]]:
    """The record files that change, by stored path."""
    look, paths = Lookup(read, root), frozenset(plan.paths)
    for path in sorted(paths | {path.rpartition(b"/")[0] for path in paths}):
        directory = look.directory(path)
        if directory is None:
            continue
        own = plan.owner.of(directory.own) if path in paths else directory.own
        entries = [
            entry._replace(meta=plan.owner.of(entry.meta)) if join(path, name) in paths else entry
            for name, entry in directory.files.items()
        ]
        records, _ = make_directory(own, entries, (), root=not path)
        stored = b"/".join(map(stored_name, path.split(b"/")))
        yield join(stored, RECORDS), (FILE, objects.add(Type.BLOB, records))
