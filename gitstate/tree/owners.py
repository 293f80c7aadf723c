"""Owners by name in a layer's records: accounts of the root below. Commits that change records alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from gitstate.core.entry import Meta
from gitstate.core.errors import ConflictError, NotFoundError, UsageError
from gitstate.core.names import LINKS, RECORDS, display, join, stored_name
from gitstate.core.signature import Signature
from gitstate.store import MAIN, Commit, Repository, TreeItem, Type, object_id
from gitstate.store.objects import FILE, TREE, format_tree
from gitstate.tree.checkin import LIVE
from gitstate.tree.manifest import is_account
from gitstate.tree.snapshot import Lookup, effective_links, make_directory, put_together, take_apart


class Owner(NamedTuple):
    """Who shall own something; None: whoever does. Empty: nobody by name, the numbers stand."""

    user: bytes | None
    group: bytes | None

    def __str__(self) -> str:
        if self == NOBODY:
            return "-"
        return display(self.user or b"", word=True) + (f":{display(self.group, word=True)}" if self.group else "")

    def of(self, meta: Meta) -> Meta:
        """``meta``, owned so."""
        uname = meta.uname if self.user is None else self.user
        return meta._replace(uname=uname, gname=meta.gname if self.group is None else self.group)


NOBODY = Owner(b"", b"")


@dataclass(frozen=True, slots=True)
class Plan:
    """Records to be changed, by path; ``tip`` is the snapshot that was looked at."""

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
        raise UsageError(f"'{display(text)}' names nobody", "USER, USER:GROUP, :GROUP, or - to take names away")
    return Owner(user or None, group or None)


def plan(repository: Repository, owner: Owner, paths: Collection[bytes], *, recursive: bool = False) -> Plan:
    """What has to change for ``paths`` to be owned so, hard links of theirs included.

    Raises NotFoundError, DamagedError.
    """
    tip = repository.ref(MAIN)
    if tip is None:
        raise NotFoundError(f"{repository.name} has no snapshot yet", f"gitstate checkin {repository.name} -m TEXT")
    tree = repository.snapshot(tip).tree
    look = Lookup(repository.read, tree)
    wanted: set[bytes] = set()
    for path in paths:
        found = set(_meant(look, path, recursive=recursive))
        if not found:
            raise NotFoundError(
                f"{repository.name} has no /{display(path)}", "check it in first; paths are from its root"
            )
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


def _meant(look: Lookup, path: bytes, *, recursive: bool) -> Iterator[bytes]:
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
    """Commit it; the new snapshot. The live tree stands for it as it stood for the last.

    Raises ConflictError, LockedError.
    """
    with repository.lock("owner"), repository.staging() as staging:
        tip = repository.ref(MAIN)
        if tip != plan.tip:
            raise ConflictError(f"main of {repository.name} has moved meanwhile", "run it again")
        rewriting = _Rewriting(repository, plan)
        tree = rewriting.tree(repository.snapshot(plan.tip).tree, b"")
        for kind, data in rewriting.made:
            staging.add(kind, data)
        new = staging.add(Type.COMMIT, Commit(tree, [plan.tip], author, committer, message).encode())
        moves: list[tuple[str, bytes, bytes | None]] = [(MAIN, new, plan.tip)]
        if repository.ref(LIVE) == plan.tip:
            moves.append((LIVE, new, plan.tip))
        staging.publish(moves, f"owner: {message.splitlines()[0][:60]}", lambda name: None)
    return new


class _Rewriting:
    """The trees on the way to what changes, made anew."""

    def __init__(self, repository: Repository, plan: Plan) -> None:
        self._read = repository.read
        self._owner = plan.owner
        self._paths = frozenset(plan.paths)
        self._ways = {b""} | {way for path in plan.paths for way in _ways(path)}
        self.made: list[tuple[Type, bytes]] = []

    def tree(self, oid: bytes, path: bytes) -> bytes:
        """The directory at ``path``, its tree ``oid``, as it shall be."""
        parts = take_apart(self._read(oid), path)
        directory = put_together(self._read, parts, path)
        entries = [
            entry._replace(meta=self._owner.of(entry.meta)) if join(path, name) in self._paths else entry
            for name, entry in directory.files.items()
        ]
        own = self._owner.of(directory.own) if path in self._paths else directory.own
        records, _ = make_directory(own, entries, (), root=not path)
        items = [self._below(item, name, path) for name, item in parts.items.items()]
        items.append(TreeItem(FILE, RECORDS, self._add(Type.BLOB, records)))
        if parts.links is not None:
            items.append(TreeItem(FILE, LINKS, parts.links))
        return self._add(Type.TREE, format_tree(items))

    def _below(self, item: TreeItem, name: bytes, path: bytes) -> TreeItem:
        here = join(path, name)
        if item.mode != TREE or here not in self._ways:
            return item
        return TreeItem(TREE, stored_name(name), self.tree(item.oid, here))

    def _add(self, kind: Type, data: bytes) -> bytes:
        self.made.append((kind, data))
        return object_id(kind, data)


def _ways(path: bytes) -> Iterator[bytes]:
    while path:
        yield path
        path = path.rpartition(b"/")[0]
