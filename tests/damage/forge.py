"""Git objects that git itself would refuse to make: raw bytes, written as loose objects."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path

FILE, EXECUTABLE, LINK, TREE, GITLINK = b"100644", b"100755", b"120000", b"40000", b"160000"
HEAD = b"#mtree\n"
VERSION = b"#gitstate 1\n"
SET = b"/set type=file mode=0644 uid=0 gid=0\n"
OWN = b". type=dir mode=0755 time=1700000000.000000000\n"

Item = tuple[bytes, bytes, str]
"""Mode, stored name, hex id."""


class Forge:
    """Makes objects in a repository. Ids are hex."""

    def __init__(self, repository: Path) -> None:
        self._objects = repository / "objects"

    def put(self, kind: str, data: bytes) -> str:
        """Any object, whatever its bytes."""
        whole = f"{kind} {len(data)}".encode() + b"\0" + data
        oid = hashlib.sha1(whole).hexdigest()
        path = self._objects / oid[:2] / oid[2:]
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(zlib.compress(whole, 1))
        return oid

    def blob(self, data: bytes) -> str:
        """A blob."""
        return self.put("blob", data)

    def tree(self, *items: Item) -> str:
        """A tree with exactly these items in exactly this order."""
        return self.put("tree", b"".join(mode + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in items))

    def records(self, *lines: bytes, root: bool = False) -> Item:
        """A ``.gitstate`` with a directory's own record and ``lines``."""
        text = HEAD + (VERSION if root else b"") + SET + OWN + b"".join(line + b"\n" for line in lines)
        return (FILE, b".gitstate", self.blob(text))

    def directory(self, *items: Item, lines: tuple[bytes, ...] = (), root: bool = False) -> str:
        """A tree with its records first."""
        return self.tree(self.records(*lines, root=root), *items)

    def file(self, name: bytes, data: bytes = b"hostile\n") -> Item:
        """An item for a file."""
        return (FILE, name, self.blob(data))

    def link(self, name: bytes, target: bytes) -> Item:
        """An item for a symlink."""
        return (LINK, name, self.blob(target))

    def below(self, name: bytes, *items: Item) -> Item:
        """An item for a subdirectory with ``items``."""
        return (TREE, name, self.directory(*items))

    def commit(self, tree: str, *parents: str, message: bytes = b"hostile\n") -> str:
        """A commit of ``tree``."""
        who = b"Forger <f@example.org> 1700000000 +0000"
        lines = [b"tree " + tree.encode(), *(b"parent " + parent.encode() for parent in parents)]
        return self.put("commit", b"\n".join([*lines, b"author " + who, b"committer " + who, b"", message]))


def missing() -> str:
    """The id of an object that is nowhere."""
    return os.urandom(20).hex()
