"""What was moved with a directory above it: the snapshot's own trees, under the policy of their new paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from gitstate.core.entry import Directory, Entry, Kind
from gitstate.core.names import RECORDS, join
from gitstate.store.objects import FILE, TreeItem, Type, format_tree
from gitstate.tree.policy import Policy, Refusal, Treatment
from gitstate.tree.scan.assemble import empty_tree
from gitstate.tree.scan.content import Sink
from gitstate.tree.snapshot import ReadObject, make_directory, read_directory


class Mover:
    """Records what lies below at a new path, without reading any file that policy has no question about."""

    def __init__(
        self,
        read: ReadObject,
        size_of: Callable[[bytes], int],
        policy: Policy,
        sink: Sink,
        refuse: Callable[[Refusal], None],
    ) -> None:
        self._read = read
        self._directory = partial(read_directory, read)
        self._size_of = size_of
        self._policy = policy
        self._sink = sink
        self._refuse = refuse

    def files(self, directory: bytes, entries: Iterable[Entry]) -> Iterator[Entry]:
        """Those that policy records in ``directory``; secrets are refused."""
        for entry in entries:
            path = join(directory, entry.name)
            if self._policy.treatment(path, entry.meta.kind) is Treatment.SKIP:
                continue
            if entry.meta.kind is Kind.FILE and self._policy.inspects(path, self._size_of(entry.oid)):
                refusal = self._policy.inspect(path, self._read(entry.oid))
                if refusal is not None:
                    self._refuse(refusal)
            yield entry

    def subdirectories(self, directory: bytes, below: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
        """The trees of subdirectories of ``directory``, by name."""
        found = {}
        for name, tree in below:
            path = join(directory, name)
            treatment = self._policy.treatment(path, Kind.DIRECTORY)
            if treatment is Treatment.METADATA_ONLY:
                found[name] = self._emptied(tree, path)
            elif treatment is Treatment.RECORD:
                found[name] = self._tree(tree, path)
        return found

    def _emptied(self, tree: bytes, path: bytes) -> bytes:
        records, data, made = empty_tree(self._directory(tree, path).own._replace(time=None))
        self._sink.add(Type.BLOB, records)
        self._sink.add(Type.TREE, data)
        return made

    def _tree(self, tree: bytes, path: bytes) -> bytes:
        """The tree of a directory that is recorded at ``path``; not recursive, as Python's recursion ends somewhere."""
        order: list[tuple[bytes, bytes, Directory]] = []
        todo = [(path, tree)]
        while todo:
            here, oid = todo.pop()
            directory = self._directory(oid, here)
            order.append((here, oid, directory))
            below = ((join(here, name), one) for name, one in directory.subdirectories.items())
            todo += [one for one in below if self._policy.treatment(one[0], Kind.DIRECTORY) is Treatment.RECORD]
        made: dict[bytes, bytes] = {}
        for here, oid, directory in reversed(order):
            made[here] = self._made(here, oid, directory, made)
        return made[path]

    def _made(self, path: bytes, tree: bytes, directory: Directory, made: dict[bytes, bytes]) -> bytes:
        own = directory.own if directory.own.time is not None else directory.own._replace(time=0)  # as exports have it
        files = list(self.files(path, directory.files.values()))
        inner = {
            name: made.get(join(path, name)) or self._emptied(oid, join(path, name))
            for name, oid in directory.subdirectories.items()
            if self._policy.treatment(join(path, name), Kind.DIRECTORY) is not Treatment.SKIP
        }
        if own == directory.own and len(files) == len(directory.files) and inner == directory.subdirectories:
            return tree
        records, items = make_directory(own, files, inner.items(), root=False)
        blob = self._sink.add(Type.BLOB, records)
        return self._sink.add(Type.TREE, format_tree([*items, TreeItem(FILE, RECORDS, blob)]))
