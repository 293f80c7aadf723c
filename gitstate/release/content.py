"""What may stand in a commit that somebody pushes or tags: our format, and nothing that a check-in would refuse.

Only what no parent has is looked at, so that a push costs what it changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from hashlib import sha1
from typing import Final, NamedTuple

from gitstate.core.entry import Directory, Entry, Kind
from gitstate.core.errors import DamagedError, RefusedError, UsageError
from gitstate.core.monitor import Observer
from gitstate.core.names import from_octal, join, octal
from gitstate.store import Repository
from gitstate.store.objects import TREE, TreeItem
from gitstate.tree.limits import LARGEST_RECORDS, require_possible_target
from gitstate.tree.policy import Policy, Refusal, parse, policy_path, refused, remedies
from gitstate.tree.snapshot import BoundedReader, Lookup, read_links, split_tree

_ALLOW: Final = re.compile(r"^Gitstate-Allow: (\S+) because (.+)$", re.MULTILINE)
_LARGE: Final = 32 << 20

Items = Mapping[bytes, TreeItem]


class _Step(NamedTuple):
    """A directory to look at, and what older commits have in its place."""

    path: bytes
    tree: bytes
    others: list[bytes]


class Inspector:
    """Looks into the commits of one repository; what it has seen and found good it doesn't look into again."""

    def __init__(self, repository: Repository, observer: Observer) -> None:
        self._repository = repository
        self._observer = observer
        self._directory = BoundedReader(self._read)
        self._seen: set[bytes] = set()
        self._policies: dict[bytes, Policy] = {}

    def inspect(self, commit: bytes, olds: Sequence[bytes], messages: str) -> None:
        """Look at what the commits ``olds`` don't hold. ``messages`` may tell of allowances (``checkin --allow``).

        Raises DamagedError for what breaks the format, RefusedError for what policy refuses, ConfigError for a wrong
        policy.
        """
        tree = self._repository.snapshot(commit).tree
        policy = _allowing(self._policy(tree), messages)
        read_links(self._read, tree)
        refusals = list(self._walk(policy, tree, [self._repository.snapshot(old).tree for old in olds]))
        if refusals:
            refusals.sort(key=lambda one: one.path)
            hints = remedies([replace(one, hint=_hint(one)) for one in refusals])
            raise RefusedError(f"{refused(refusals)} of {commit.hex()[:7]}", hints)

    def _read(self, oid: bytes) -> bytes:
        """A tree, a target or a file of records. Raises DamagedError if it takes more memory than any of these may."""
        if (size := self._repository.size_of(oid)) > LARGEST_RECORDS:
            hint = "that is the limit (docs/format.md, section 10)"
            raise DamagedError(f"{oid.hex()} has {size:,} bytes, more than {LARGEST_RECORDS:,}", hint)
        return self._repository.read(oid)

    def _policy(self, tree: bytes) -> Policy:
        own = policy_path(is_layer=self._repository.is_layer)
        oid = Lookup(self._read, tree).regular_file(own) or b""
        if oid not in self._policies:
            text = self._read(oid) if oid else None
            self._policies[oid] = parse(text, f"/{own.decode()}", own)
        return self._policies[oid]

    def _walk(self, policy: Policy, root: bytes, olds: list[bytes]) -> Iterator[Refusal]:
        stack: list[Iterator[_Step]] = [iter([_Step(b"", root, olds)])]
        while stack:
            step = next(stack[-1], None)
            if step is None:
                stack.pop()
                continue
            path, tree, others = step
            key = sha1(tree + path, usedforsecurity=False).digest()  # a path may be long
            if tree in others or key in self._seen:
                continue
            self._seen.add(key)
            self._observer.advance()
            directory = self._directory(tree, path)
            before = [self._items(other, path) for other in others]
            for name, entry in directory.files.items():
                if not any(name in items and items[name].oid == entry.oid for items in before):
                    yield from self._look(policy, join(path, name), entry)
            stack.append(_below(path, directory, before))

    def _items(self, tree: bytes, path: bytes) -> Items:
        """What an older commit holds at ``path``; nothing if it broke the format: perhaps that is mended now."""
        with suppress(DamagedError):
            return split_tree(self._read(tree), path).items
        return {}

    def _look(self, policy: Policy, path: bytes, entry: Entry) -> Iterator[Refusal]:
        """What policy refuses of a new entry. Raises DamagedError for a symlink that can't exist."""
        if entry.meta.kind is Kind.SYMLINK:
            require_possible_target(path, self._read(entry.oid))
        if entry.meta.kind is not Kind.FILE or not policy.inspects(path, 1):
            return
        size = self._repository.size_of(entry.oid)
        if policy.inspects(path, size):
            whole = self._repository.whole(entry.oid) if size > _LARGE else None
            data = next(iter(whole.chunks())) if whole else self._repository.read(entry.oid)
            if refusal := policy.inspect(path, data):
                yield refusal


def _below(path: bytes, directory: Directory, before: Sequence[Items]) -> Iterator[_Step]:
    """The subdirectories of ``path``, one at a time: paths may be long, and directories many."""
    for name, tree in directory.subdirectories.items():
        olds = [items[name].oid for items in before if name in items and items[name].mode == TREE]
        yield _Step(join(path, name), tree, olds)


def _allowing(policy: Policy, messages: str) -> Policy:
    """The policy with what check-ins allowed, by the trailers that they left."""
    pairs = []
    for path, because in _ALLOW.findall(messages):
        with suppress(ValueError, UsageError):
            pair = (from_octal(path.encode()), because)
            policy.allowing([pair])
            pairs.append(pair)
    return policy.allowing(pairs) if pairs else policy


def _hint(refusal: Refusal) -> str:
    what = refusal.hint.partition("; or check in")[0]
    trailer = f"Gitstate-Allow: {octal(refusal.path)} because TEXT"
    return f"{what}; or say in the commit's message: {trailer}"


def allowances(repository: Repository, commit: bytes) -> str:
    """The messages of all commits before ``commit`` that allowed something."""
    said = repository.git("log", "--format=%B", "--grep=^Gitstate-Allow: ", commit.hex())
    return said.decode(errors="replace")
