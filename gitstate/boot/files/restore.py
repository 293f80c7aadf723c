"""What NFS doesn't carry: capabilities and ACLs of a snapshot, as a list from which a booting machine restores them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Final

from gitstate.core import cpio
from gitstate.core.entry import ACL_ACCESS, ACL_DEFAULT, CAPABILITY, Kind, Meta
from gitstate.core.names import join, octal
from gitstate.store import Repository
from gitstate.store.objects import TREE
from gitstate.tree.snapshot import join_tree, split_tree

_LOST: Final = frozenset({CAPABILITY, ACL_ACCESS, ACL_DEFAULT})
_FOLDER: Final = b"gitstate"
_FILE: Final = b"gitstate/xattrs"
_SECOND: Final = 10**9


def attributes(repository: Repository, tree: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Path, attribute and value of all that is lost over NFS, parents first. Raises DamagedError.

    Most directories have no such thing, and their records say so without being parsed.
    """
    stack = [(b"", tree)]
    while stack:
        path, oid = stack.pop()
        parts = split_tree(repository.read(oid), path)
        if parts.records is None or b"xattr." not in repository.read(parts.records):
            names = sorted(name for name, item in parts.items.items() if item.mode == TREE)
            stack += [(join(path, name), parts.items[name].oid) for name in reversed(names)]
            continue
        directory = join_tree(repository.read, parts, path)
        yield from ((path, *pair) for pair in directory.own.xattrs if pair[0] in _LOST)
        for name, entry in directory.files.items():
            yield from ((join(path, name), *pair) for pair in entry.meta.xattrs if pair[0] in _LOST)
        stack += [(join(path, name), below) for name, below in reversed([*directory.subdirectories.items()])]


def restore_list(repository: Repository, tree: bytes) -> bytes:
    """The list as ``getfattr --dump`` prints it and ``setfattr --restore`` reads it; empty if nothing is lost."""
    lines: list[str] = []
    previous = None
    for path, name, value in attributes(repository, tree):
        if path != previous:
            lines += ["", f"# file: {octal(path) or '.'}"]
            previous = path
        lines.append(f"{octal(name)}=0s{base64.b64encode(value).decode()}")
    return "\n".join([*lines[1:], "", ""]).encode() if lines else b""


def archive(text: bytes, when: int) -> bytes:
    """The further initrd that puts ``text`` where the boot hook looks for it; ``when`` is the commit's time."""
    time = when * _SECOND
    members = [
        cpio.Member(_FOLDER, Meta(Kind.DIRECTORY, 0o700, time=time)),
        cpio.Member(_FILE, Meta(Kind.FILE, 0o600, time=time), text),
    ]
    return b"".join(cpio.write(members))
