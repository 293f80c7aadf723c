"""What one repository gets of a check-in, before it is a commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from gitstate.core.entry import Entry, Kind, Meta
from gitstate.release.review.targets import WHITEOUT_FILE, Target
from gitstate.store import Repository, Staging, Type, object_id
from gitstate.store.edit import NewObjects
from gitstate.tree.edits import Edit, Group, edit_entries, lies_below
from gitstate.tree.limits import require_possible_target
from gitstate.tree.policy import Policy, Refusal, Treatment, parse, policy_path
from gitstate.tree.snapshot import Lookup

_LARGE: Final = 32 << 20
"""Files of this size (bytes) and above never are in memory as a whole."""


@dataclass(eq=False)
class Draft:
    """Edits of one repository over ``base``, the commit that the machine runs; None for a new layer."""

    repository: Repository
    base: bytes | None
    staging: Staging
    edits: dict[bytes, Edit] = field(default_factory=dict)
    linked: dict[bytes, list[bytes]] = field(default_factory=dict)
    changes: set[bytes] = field(default_factory=set)

    @cached_property
    def tree(self) -> bytes | None:
        return self.repository.snapshot(self.base).tree if self.base else None

    @cached_property
    def below(self) -> Lookup | None:
        return Lookup(self.repository.read, self.tree) if self.tree else None

    @cached_property
    def policy(self) -> Policy:
        """That of the base. Raises ConfigError."""
        own = policy_path(is_layer=self.repository.is_layer)
        oid = self.below.regular_file(own) if self.below else None
        return parse(self.repository.read(oid) if oid else None, f"/{own.decode()}", own)

    def is_recorded(self, path: bytes, kind: Kind) -> bool:
        """Whether policy lets an entry be recorded at all."""
        above = path.rpartition(b"/")[0]
        while above:
            if self.policy.treatment(above, Kind.DIRECTORY) is not Treatment.RECORD:
                return False
            above = above.rpartition(b"/")[0]
        return not path or self.policy.treatment(path, kind) is Treatment.RECORD

    # --- what is there ---

    def file(self, path: bytes, meta: Meta, pieces: Iterator[bytes], size: int) -> Refusal | None:
        """Stage a file's content; why it may not be recorded, if policy says so. The pieces are read in any case."""
        first = next(pieces, b"")
        if size < _LARGE:
            data = b"".join((first, *pieces))
            if refusal := self.policy.inspect(path, data):
                return refusal
            self.put(path, meta, data)
            return None
        if refusal := self.policy.inspect(path, first):
            for _ in pieces:
                pass
            return refusal
        self._put(path, meta, self.staging.stream(size, _chunks(first, pieces), self.repository.has_packed))
        return None

    def put(self, path: bytes, meta: Meta, data: bytes) -> None:
        """An entry with content in memory: a file, or a symlink with its target. Raises DamagedError."""
        if meta.kind is Kind.SYMLINK:
            require_possible_target(path, data)
        oid = object_id(Type.BLOB, data)
        if oid != self._old_oid(path):
            self.staging.blob(oid, data)
        self._put(path, meta, oid)

    def special(self, path: bytes, meta: Meta) -> None:
        """A device or fifo."""
        self._put(path, meta, b"")

    def directory(self, path: bytes, meta: Meta, *, is_change: bool) -> None:
        """A directory's own metadata; in a layer only that of a new one. What is no change brings a time alone."""
        old = self.below.directory(path) if self.below else None
        if old is not None and self.repository.is_layer:
            return
        if old is not None:
            meta = _with_named_owners(meta, old.own) if is_change else old.own._replace(time=meta.time)
        self.edits.setdefault(path, meta)
        if is_change:
            self.changes.add(path)

    def link(self, path: bytes, file: bytes) -> None:
        """``path`` is one of the names of a file."""
        self.linked.setdefault(file, []).append(path)

    def _put(self, path: bytes, meta: Meta, oid: bytes) -> None:
        old = self.below(path) if self.below else None
        if old is not None:
            meta = _with_named_owners(meta, old.meta)
        self.edits[path] = Entry(path.rpartition(b"/")[2], meta, oid)
        self.changes.add(path)

    def _old_oid(self, path: bytes) -> bytes | None:
        old = self.below(path) if self.below else None
        return old.oid if old else None

    # --- what isn't ---

    def remove(self, target: Target) -> None:
        """What was removed on the machine, and whatever else the target removes or hides."""
        for path in (*target.removes, *(() if target.is_there else (target.path,))):
            if self.below and (self.below(path) or self.below.directory(path)):
                self.edits[path] = None
                self.changes.add(path)
        if target.hides:
            self.put(target.hides, WHITEOUT_FILE, b"")

    # --- the result ---

    def write(self) -> bytes | None:
        """Stage the new tree; its id, None if nothing differs from the base but times of directories."""
        edits = {path: edit for path, edit in self.edits.items() if not lies_below(path, self.edits)}
        self.changes &= {path for path, edit in edits.items() if not self._is_as_before(path, edit)}
        if not self.changes:
            return None
        objects = NewObjects()
        tree = edit_entries(self.repository.read, self.tree, edits, objects, self._groups(edits))
        for kind, data in objects.values():
            self.staging.add(kind, data)
        return tree if tree != self.tree else None

    def _is_as_before(self, path: bytes, edit: Edit) -> bool:
        if self.below is None or edit is None:
            return False
        if isinstance(edit, Meta):
            old = self.below.directory(path)
            return old is not None and old.own._replace(time=edit.time) == edit
        return self.below(path) == edit

    def _groups(self, edits: dict[bytes, Edit]) -> list[Group]:
        found = []
        for paths in self.linked.values():
            alike: dict[Edit, list[bytes]] = {}
            for path in paths:
                if isinstance(entry := edits.get(path), Entry):
                    alike.setdefault(entry._replace(name=b""), []).append(path)
            found += [tuple(sorted(group)) for group in alike.values() if len(group) > 1]
        return found


def _with_named_owners(meta: Meta, was: Meta) -> Meta:
    """Owners by name stay: the machine has the ids that they had there."""
    if not (was.uname or was.gname):
        return meta
    return meta._replace(uid=was.uid, gid=was.gid, uname=was.uname, gname=was.gname)


def above(path: bytes) -> Iterator[bytes]:
    """The directories above a path, the root last."""
    while path:
        path = path.rpartition(b"/")[0]
        yield path


def _chunks(first: bytes, rest: Iterator[bytes]) -> Callable[[], bytes]:
    pending = [first]
    return lambda: pending.pop() if pending else next(rest, b"")
