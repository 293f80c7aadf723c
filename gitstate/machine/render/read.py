"""A layer's snapshot taken apart: whiteouts, templates, merge files, variables."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gitstate.core.entry import Directory, Entry, Kind, Meta
from gitstate.core.errors import RefusedError
from gitstate.core.names import OPAQUE, WHITEOUT, display, join
from gitstate.machine.render import layer_toml
from gitstate.machine.render.models import (
    ACCOUNTS,
    MERGE,
    NEVER_LAID,
    SNIPPETS,
    TEMPLATE,
    Action,
    Folder,
    Layer,
    LayerEntry,
    LayerError,
    LayerSettings,
)
from gitstate.tree.change.content import check_depth
from gitstate.tree.snapshot import PLAIN_DIRECTORY, ReadObject, join_tree, read_records, split_tree

_LARGEST_VARS: Final = 1 << 20
_VARS: Final = b"vars.toml"
_SETTINGS: Final = b"layer.toml"


def read_layer(read: ReadObject, name: str, commit: bytes, tree: bytes) -> Layer:
    """The layer ``name`` at ``commit``, whose root tree is ``tree``. Raises DamagedError, RefusedError, LayerError."""
    where = f"{name} {commit.hex()[:7]}"
    folders: list[Folder] = []
    files: dict[bytes, bytes] = {}
    for folder, entries in _folders(read, tree, where):
        folders.append(folder)
        files |= entries
    kept = [one for one in folders if one.path != SNIPPETS and not one.path.startswith(SNIPPETS + b"/")]
    variables, text = files.get(_VARS), files.get(_SETTINGS)
    settings = layer_toml.parse_layer(read(text), where) if text else LayerSettings()
    return Layer(
        name,
        commit,
        tuple(_meant(kept, settings.directories, where)),
        files,
        _vars(read(variables), where) if variables else {},
        settings,
    )


def _meant(folders: list[Folder], named: frozenset[bytes], where: str) -> Iterator[Folder]:
    """``folders``, told which of them set owner and mode of a directory that is there already. Raises LayerError."""
    if unknown := sorted(named - {one.path for one in folders}):
        what = f"{where}: layer.toml: directories names {display(unknown[0])}, which is no directory of the layer"
        raise LayerError(what, "make it and check it in, or take it off the list")
    for one in folders:
        own = PLAIN_DIRECTORY if one.own is None and one.path in named else one.own
        yield one._replace(own=own, sets_metadata=own is not None and (one.path in named or not is_made_by_mkdir(own)))


def is_made_by_mkdir(own: Meta) -> bool:
    """Whether a directory is as root's ``mkdir`` makes it, under any umask: its mode tells nothing of what is meant."""
    return own[1:4] == (own.mode & 0o777, 0, 0) and not (own.xattrs or own.uname or own.gname)


def _folders(read: ReadObject, root: bytes, where: str) -> Iterator[tuple[Folder, dict[bytes, bytes]]]:
    stack = [(b"", root)]
    while stack:
        path, tree = stack.pop()
        parts = split_tree(read(tree), path)
        own = read_records(read, parts.records, path).own
        directory = join_tree(read, parts, path)
        if not path:
            _require_files(directory, where)
        files = [one for name, one in directory.files.items() if path or name not in NEVER_LAID]
        yield (
            _folder(path, own if path else None, files, where),
            {join(path, one.name): one.oid for one in directory.files.values() if one.meta.kind is Kind.FILE},
        )
        stack.extend(reversed([(join(path, name), oid) for name, oid in directory.subdirectories.items()]))


def _require_files(root: Directory, where: str) -> None:
    """Raise LayerError if what has the name of a layer's own file is something else: it would count as absent."""
    for name in (_VARS, _SETTINGS):
        entry = root.files.get(name)
        if name in root.subdirectories or (entry is not None and entry.meta.kind is not Kind.FILE):
            raise LayerError(f"{where}: {name.decode()} is no regular file", "make it one, or remove it")


def _folder(path: bytes, own: Meta | None, files: list[Entry], where: str) -> Folder:
    whiteouts: list[bytes] = []
    entries: dict[bytes, LayerEntry] = {}
    for file in files:
        if file.name == OPAQUE:
            continue
        if file.name.startswith(WHITEOUT):
            whiteouts.append(_whiteout(path, file.name, where))
            continue
        entry = _layer_entry(path, file)
        other = entries.setdefault(entry.name, entry)
        if other is not entry:
            first, second = (display(join(path, one.source)) for one in (other, entry))
            raise LayerError(f"{where}: {first} and {second} make one file", "remove one of them from the layer")
    is_opaque = any(file.name == OPAQUE for file in files)
    return Folder(path, own, is_opaque, tuple(whiteouts), tuple(entries.values()))


def _whiteout(path: bytes, whiteout: bytes, where: str) -> bytes:
    name = whiteout.removeprefix(WHITEOUT)
    if name in (b"", b".", b"..") or name.startswith(WHITEOUT):
        raise LayerError(f"{where}: {display(join(path, whiteout))} hides nothing", "a whiteout is .wh.NAME")
    if join(path, name) in ACCOUNTS:
        raise RefusedError(
            f"{where}: no layer may remove /{display(join(path, name))}", "accounts are merged: NAME.merge"
        )
    return name


def _layer_entry(path: bytes, entry: Entry) -> LayerEntry:
    """What an entry does. Only regular files are templates, and only the account files are merged."""
    source = name = entry.name
    is_template = entry.meta.kind is Kind.FILE and name.endswith(TEMPLATE) and name != TEMPLATE
    if is_template:
        name = name.removesuffix(TEMPLATE)
    target = name.removesuffix(MERGE)
    if entry.meta.kind is Kind.FILE and target != name and join(path, target) in ACCOUNTS:
        return LayerEntry(target, Action.MERGE, entry, source, is_template)
    return LayerEntry(name, Action.RENDER if is_template else Action.LAY, entry, source, is_template)


def _vars(text: bytes, where: str) -> Mapping[str, Any]:
    try:
        if len(text) > _LARGEST_VARS:
            raise ValueError(f"it is larger than {_LARGEST_VARS >> 20} MiB")
        found = tomllib.loads(text.decode())
        check_depth(found)
        return found
    except (ValueError, RecursionError) as error:
        raise LayerError(f"{where}: vars.toml: {error}", "fix it, check it in, and push it") from None


def merged_vars(low: Mapping[str, Any], high: Mapping[str, Any]) -> Mapping[str, Any]:
    """Variables of two layers: a later one wins key by key, in tables of tables, too."""
    if not low or not high:
        return low or high
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = merged_vars(below, value) if both else value  # type: ignore[arg-type]
    return merged
