"""Channels and classes in the embedded backend: ``channels/NAME.ldif``, parsed once for each tree."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

from gitstate.core.state_file import StateFormat
from gitstate.directory.git.tree import edits_of_records, record_files, records_tree
from gitstate.directory.model.record_types import Record, RecordType
from gitstate.store import Type
from gitstate.store.edit import NewObjects, Read, edit_tree

_VERSION: Final = 1


def read_records(record_type: RecordType[Record], read: Read, root: bytes | None, caches: Path) -> dict[str, Record]:
    """Return all records of one type in a root tree by name, sorted. Raises ConfigError with file and line."""
    tree = records_tree(read, root, record_type.folder)
    if tree is None:
        return {}
    known = _load(record_type, caches, tree)
    if known is None:
        from gitstate.directory.model.ldif import parse_record  # python-ldap takes longer to load than all channels

        files = record_files(read, tree, record_type.folder)
        records = (
            parse_record(record_type, read(blob), name, _where(record_type, name))[0] for name, blob in files.items()
        )
        known = record_type.by_name(records)
        _save(record_type, caches, tree, known.values())
    return known


def replace_records(
    record_type: RecordType[Record],
    read: Read,
    root: bytes | None,
    put: Iterable[Record],
    remove: Iterable[str],
    objects: NewObjects,
) -> bytes | None:
    """Return the root tree with records of one type changed, new objects in ``objects``; None if nothing changes.

    Raises UsageError, NotFoundError, ConfigError.
    """
    from gitstate.directory.model.ldif import format_record, parse_record

    current = record_files(read, records_tree(read, root, record_type.folder), record_type.folder)
    files = dict(current)
    for name in remove:
        if name not in files:
            raise record_type.missing(name, files)
        del files[name]
    for record in put:
        record_type.refuse_case_variant(record.name, files)
        had = current.get(record.name)
        entry = parse_record(record_type, read(had), record.name, _where(record_type, record.name))[1] if had else None
        files[record.name] = objects.add(Type.BLOB, format_record(record_type, record, entry))
    names = current.keys() | files.keys()
    changes = {name: files.get(name) for name in names if files.get(name) != current.get(name)}
    return edit_tree(read, root, edits_of_records(record_type.folder, changes), objects) if changes else None


def _where(record_type: RecordType[Any], name: str) -> str:
    return f"directory.git: {record_type.folder}/{name}.ldif"


# --- the cache --------------------------------------------------------------------------------------------------------


def _load(record_type: RecordType[Record], caches: Path, tree: bytes) -> dict[str, Record] | None:
    rows = _format(record_type).read_json(caches / record_type.folder, tree)
    return None if rows is None else {one.name: one for one in (record_type.make(*map(_hashable, row)) for row in rows)}


def _hashable(value: Any) -> Any:
    """A value read from JSON, with lists as tuples again."""
    return tuple(value) if isinstance(value, list) else value


def _save(record_type: RecordType[Any], caches: Path, tree: bytes, records: Iterable[Any]) -> None:
    with suppress(OSError):
        _format(record_type).write_json(caches / record_type.folder, [astuple(one) for one in records], tree)


def _format(record_type: RecordType[Any]) -> StateFormat:
    return StateFormat(record_type.folder, _VERSION)
