"""Channels and the like in the embedded backend: ``channels/NAME.ldif``, read once for each state of that folder."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

from gitstate.core import fs
from gitstate.directory.git.tree import Objects, Read, replant_things, thing_files, things_tree
from gitstate.directory.model.record_types import Record, RecordType
from gitstate.store import Type

_VERSION: Final = b"1"
"""Another one for another shape, and where what is read must be looked at again by stricter rules."""


def read_all(sort: RecordType[Record], read: Read, root: bytes | None, caches: Path) -> dict[str, Record]:
    """All of one sort in a root tree, by name, in their order. Raises ConfigError with file and line."""
    tree = things_tree(read, root, sort.folder)
    if tree is None:
        return {}
    known = _load(sort, caches, tree)
    if known is None:
        from gitstate.directory.model.text import read_thing  # python-ldap takes longer to load than all channels

        files = thing_files(read, tree, sort.folder)
        things = (read_thing(sort, read(blob), name, _where(sort, name))[0] for name, blob in files.items())
        known = sort.by_name(things)
        _save(sort, caches, tree, known.values())
    return known


def replace(
    sort: RecordType[Record],
    read: Read,
    root: bytes | None,
    put: Iterable[Record],
    remove: Iterable[str],
    objects: Objects,
) -> bytes | None:
    """The root tree with things of one sort changed, new objects in ``objects``; None if all is so already.

    Raises UsageError, NotFoundError, ConfigError.
    """
    from gitstate.directory.model.text import read_thing, write_thing

    standing = thing_files(read, things_tree(read, root, sort.folder), sort.folder)
    files = dict(standing)
    for name in remove:
        if name not in files:
            raise sort.missing(name, files)
        del files[name]
    for thing in put:
        sort.refuse_twin(thing.name, files)
        had = standing.get(thing.name)
        entry = read_thing(sort, read(had), thing.name, _where(sort, thing.name))[1] if had else None
        files[thing.name] = objects.enter(Type.BLOB, write_thing(sort, thing, entry))
    if files == standing:
        return None
    return replant_things(read, root, sort.folder, files, objects)


def _where(sort: RecordType[Any], name: str) -> str:
    return f"directory.git: {sort.folder}/{name}.ldif"


# --- what was read, kept: private, and never the truth ----------------------------------------------------------------


def _load(sort: RecordType[Record], caches: Path, tree: bytes) -> dict[str, Record] | None:
    with suppress(OSError, ValueError, TypeError):
        head, _, body = (caches / sort.folder).read_bytes().partition(b"\n")
        if head == _head(sort, tree, body):
            return {one.name: one for one in (sort.make(*map(_hashable, row)) for row in json.loads(body))}
    return None


def _hashable(value: Any) -> Any:
    """What JSON made a list of."""
    return tuple(value) if isinstance(value, list) else value


def _save(sort: RecordType[Any], caches: Path, tree: bytes, things: Iterable[Any]) -> None:
    body = json.dumps([astuple(one) for one in things], separators=(",", ":")).encode()
    with suppress(OSError):
        fs.write_file(caches / sort.folder, _head(sort, tree, body) + b"\n" + body, 0o600)


def _head(sort: RecordType[Any], tree: bytes, body: bytes) -> bytes:
    folder, name = sort.folder.encode(), tree.hex().encode()
    return b"gitstate %s %s %s %08x" % (folder, _VERSION, name, zlib.crc32(body))
