"""What may stand in a commit that somebody pushes or tags: our format, and nothing that a check-in would refuse.

Only what no parent has is looked at, so that a push costs what it changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from gitstate.core.entry import Kind
from gitstate.core.errors import DamagedError, RefusedError, UsageError
from gitstate.core.monitor import Observer
from gitstate.core.names import display, from_octal, join, octal
from gitstate.core.wording import some_of
from gitstate.store import Repository
from gitstate.store.objects import TREE, TreeItem
from gitstate.tree.policy import Policy, Refusal, parse, policy_path
from gitstate.tree.snapshot import Lookup, join_tree, read_links, split_tree

_ALLOW: Final = re.compile(r"^Gitstate-Allow: (\S+) because (.+)$", re.MULTILINE)
_LARGE: Final = 32 << 20

Items = Mapping[bytes, TreeItem]


class Inspector:
    """Looks into the commits of one repository; what it has seen and found good it doesn't look into again."""

    def __init__(self, repository: Repository, observer: Observer) -> None:
        self._repository = repository
        self._observer = observer
        self._seen: set[tuple[bytes, bytes]] = set()
        self._policies: dict[bytes, Policy] = {}

    def inspect(self, commit: bytes, olds: Sequence[bytes], messages: str) -> None:
        """Look at what the commits ``olds`` don't hold. ``messages`` may tell of allowances (``checkin --allow``).

        Raises DamagedError for what breaks the format, RefusedError for what policy refuses, ConfigError for a wrong
        policy.
        """
        tree = self._repository.snapshot(commit).tree
        policy = _allowing(self._policy(tree), messages)
        read_links(self._repository.read, tree)
        refusals = list(self._walk(policy, tree, [self._repository.snapshot(old).tree for old in olds]))
        if refusals:
            refusals.sort(key=lambda one: one.path)
            named = some_of([f"/{display(one.path)} ({one.why})" for one in refusals])
            raise RefusedError(f"policy refuses {named} of {commit.hex()[:7]}", _hint(refusals[0]))

    def _policy(self, tree: bytes) -> Policy:
        own = policy_path(is_layer=self._repository.is_layer)
        entry = Lookup(self._repository.read, tree)(own)
        oid = entry.oid if entry is not None and entry.meta.kind is Kind.FILE else b""
        if oid not in self._policies:
            text = self._repository.read(oid) if oid else None
            self._policies[oid] = parse(text, f"/{own.decode()}", own)
        return self._policies[oid]

    def _walk(self, policy: Policy, root: bytes, olds: list[bytes]) -> Iterator[Refusal]:
        read = self._repository.read
        stack = [(b"", root, olds)]
        while stack:
            path, tree, others = stack.pop()
            if tree in others or (tree, path) in self._seen:
                continue
            self._observer.advance()
            directory = join_tree(read, split_tree(read(tree), path), path)
            before = [self._items(other, path) for other in others]
            for name, entry in directory.files.items():
                is_known = any(name in items and items[name].oid == entry.oid for items in before)
                if entry.meta.kind is Kind.FILE and not is_known:
                    refusal = self._look(policy, join(path, name), entry.oid)
                    if refusal is not None:
                        yield refusal
            for name, below in directory.subdirectories.items():
                trees = [items[name].oid for items in before if name in items and items[name].mode == TREE]
                stack.append((join(path, name), below, trees))
            self._seen.add((tree, path))

    def _items(self, tree: bytes, path: bytes) -> Items:
        """What an older commit holds at ``path``; nothing if it broke the format: perhaps that is mended now."""
        with suppress(DamagedError):
            return split_tree(self._repository.read(tree), path).items
        return {}

    def _look(self, policy: Policy, path: bytes, oid: bytes) -> Refusal | None:
        if not policy.inspects(path, 1):
            return None
        size = self._repository.size_of(oid)
        if not policy.inspects(path, size):
            return None
        whole = self._repository.whole(oid) if size > _LARGE else None
        return policy.inspect(path, next(iter(whole.chunks())) if whole else self._repository.read(oid))


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
