"""Channels in the embedded backend: ``channels/NAME.ldif``, read once for each state of that folder."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path
from typing import Final

from gitstate import fs
from gitstate.directory.channels import Channel, no_such_channel
from gitstate.directory.tree import Objects, Read, channel_files, channels_tree, replant_channels
from gitstate.errors import UsageFault
from gitstate.store import Type

_MAGIC: Final = b"gitstate channels 1"


def read_all(read: Read, root: bytes | None, cache: Path) -> dict[str, Channel]:
    """The channels of a root tree, by name. Raises ConfigFault with file and line."""
    tree = channels_tree(read, root)
    if tree is None:
        return {}
    known = _load(cache, tree)
    if known is None:
        from gitstate.directory.text import read_channel  # python-ldap takes longer to load than all channels

        files = channel_files(read, tree)
        known = {name: read_channel(read(blob), name, _where(name))[0] for name, blob in files.items()}
        _save(cache, tree, known)
    return known


def replace(
    read: Read, root: bytes | None, put: Iterable[Channel], remove: Iterable[str], objects: Objects
) -> bytes | None:
    """The root tree with channels changed, new objects in ``objects``; None if all is so already.

    Raises UsageFault, NotFound, ConfigFault.
    """
    from gitstate.directory.text import read_channel, write_channel

    standing = channel_files(read, channels_tree(read, root))
    files = dict(standing)
    for name in remove:
        if name not in files:
            raise no_such_channel(name, files)
        del files[name]
    for channel in put:
        _refuse_twin(channel.name, files)
        had = standing.get(channel.name)
        entry = read_channel(read(had), channel.name, _where(channel.name))[1] if had else None
        files[channel.name] = objects.enter(Type.BLOB, write_channel(channel, entry))
    if files == standing:
        return None
    return replant_channels(read, root, files, objects)


def _refuse_twin(name: str, files: Iterable[str]) -> None:
    """To LDAP names that differ in case are one."""
    twin = next((one for one in files if one != name and one.lower() == name.lower()), None)
    if twin is not None:
        raise UsageFault(f"there is a channel {twin} already", "names that differ in case are one to LDAP")


def _where(name: str) -> str:
    return f"directory.git: channels/{name}.ldif"


# --- what was read, kept: private, and never the truth ----------------------------------------------------------------


def _load(path: Path, tree: bytes) -> dict[str, Channel] | None:
    with suppress(OSError, ValueError, TypeError):
        head, _, body = path.read_bytes().partition(b"\n")
        if head == _head(tree, body):
            return {one.name: one for one in (Channel(*row) for row in json.loads(body))}
    return None


def _save(path: Path, tree: bytes, channels: Mapping[str, Channel]) -> None:
    body = json.dumps([astuple(one) for one in channels.values()], separators=(",", ":")).encode()
    with suppress(OSError):
        fs.write_file(path, _head(tree, body) + b"\n" + body, 0o600)


def _head(tree: bytes, body: bytes) -> bytes:
    return b"%s %s %08x" % (_MAGIC, tree.hex().encode(), zlib.crc32(body))
