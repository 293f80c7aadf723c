"""A snapshot as an image of one layer: the same snapshot makes the same bytes."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from gitstate.core import fs, tar
from gitstate.core.compression import Compression, packed
from gitstate.core.entry import Directory, Entry, Kind
from gitstate.core.errors import HostError
from gitstate.core.failures import of_system
from gitstate.core.monitor import Observer
from gitstate.core.names import display, join
from gitstate.core.signature import iso_time
from gitstate.store import Repository
from gitstate.tree.export import temporary_directory
from gitstate.tree.oci.declaration import CONFIG, LAYER, MANIFEST, REF_NAME
from gitstate.tree.snapshot import Lookup, effective_links, read_directory, walk

_BLOCK: Final = 256 << 10
_LARGE: Final = 8 << 20
_ELF: Final = struct.Struct("<4sBB10xHH")
_MACHINES: Final = {3: "386", 40: "arm", 62: "amd64", 183: "arm64", 21: "ppc64le", 22: "s390x", 243: "riscv64"}
_PROGRAMS: Final = (b"usr/bin/env", b"bin/busybox", b"usr/bin/bash", b"bin/bash", b"usr/bin/dash", b"bin/dash")
"""Programs whose header tells for which processor a root is: one of them is in nearly every root, as a file."""
_OTHERWISE: Final = "amd64"
NAME: Final = "latest"
"""What the image is called in its layout."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A layout to be made at ``target``, which is new or empty."""

    repository: Repository
    commit: bytes
    target: Path
    compression: Compression


@dataclass(frozen=True, slots=True)
class Written:
    """The digests of the manifest, the layer and its tar file; the packed layer's size in bytes; entries in it."""

    manifest: str
    layer: str
    diff_id: str
    size: int
    entries: int


def plan_image(repository: Repository, commit: bytes, target: Path, compression: Compression) -> Plan:
    """Plan the image of a snapshot. Raises UsageError unless ``target`` is new or empty."""
    fs.require_empty(target, "--oci makes a new image layout")
    return Plan(repository, commit, target.absolute(), compression)


def write_image(plan: Plan, observer: Observer) -> Written:
    """Make the layout. Raises StorageError, DamagedError, HostError, leaving nothing under its name."""
    try:
        with temporary_directory(plan.target) as place:
            written = _Layout(plan, place, observer).write()
            descriptor = fs.open_tree(place)
            try:
                fs.sync_file_system(descriptor)
            finally:
                os.close(descriptor)
            os.rename(place, plan.target)
            fs.sync_directory(plan.target.parent)
    except OSError as error:
        raise of_system(error, plan.target) from None
    return written


class _Layout:
    def __init__(self, plan: Plan, place: Path, observer: Observer) -> None:
        self._plan = plan
        self._place = place
        self._blobs = place / "blobs" / "sha256"
        self._observer = observer
        self._entries = 0

    def write(self) -> Written:
        """Layer, configuration, manifest, index."""
        repository, commit = self._plan.repository, self._plan.commit
        snapshot = repository.snapshot(commit)
        self._blobs.mkdir(parents=True)
        self._observer.phase("layer")
        content = hashlib.sha256()
        layer, size = self._blob(packed(self._hashed(snapshot.tree, content), self._plan.compression))
        diff_id = f"sha256:{content.hexdigest()}"
        created = iso_time(snapshot.when)
        history = [{"created": created, "created_by": f"gitstate {repository.name} {commit.hex()}"}]
        config, config_size = self._json_blob(
            {
                "architecture": _architecture(repository, snapshot.tree),
                "config": {
                    "Cmd": ["/bin/sh"],
                    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
                },
                "created": created,
                "history": history,
                "os": "linux",
                "rootfs": {"diff_ids": [diff_id], "type": "layers"},
            }
        )
        annotations = {
            "org.opencontainers.image.created": created,
            "org.opencontainers.image.revision": commit.hex(),
            "org.opencontainers.image.title": repository.name,
        }
        manifest, manifest_size = self._json_blob(
            {
                "annotations": annotations,
                "config": {"digest": config, "mediaType": CONFIG, "size": config_size},
                "layers": [{"digest": layer, "mediaType": f"{LAYER}+{self._plan.compression.value}", "size": size}],
                "mediaType": MANIFEST,
                "schemaVersion": 2,
            }
        )
        named = {"annotations": {REF_NAME: NAME}, "digest": manifest, "mediaType": MANIFEST, "size": manifest_size}
        (self._place / "index.json").write_bytes(_json({"manifests": [named], "schemaVersion": 2}))
        (self._place / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
        return Written(manifest, layer, diff_id, size, self._entries)

    def _blob(self, pieces: Iterable[bytes]) -> tuple[str, int]:
        """Write a blob; its digest and size."""
        digest, size, unnamed = hashlib.sha256(), 0, self._blobs / "partial"
        with open(unnamed, "xb") as file:
            for piece in pieces:
                digest.update(piece)
                size += len(piece)
                file.write(piece)
        unnamed.rename(self._blobs / digest.hexdigest())
        return f"sha256:{digest.hexdigest()}", size

    def _json_blob(self, value: Any) -> tuple[str, int]:
        return self._blob([_json(value)])

    def _hashed(self, tree: bytes, digest: Any) -> Iterator[bytes]:
        """The tar file in blocks, each hashed."""
        parts: list[bytes] = []
        length = 0
        for piece in self._tar(tree):
            parts.append(piece)
            length += len(piece)
            if length >= _BLOCK:
                block = b"".join(parts)
                digest.update(block)
                yield block
                parts, length = [], 0
        block = b"".join(parts)
        digest.update(block)
        yield block

    # --- the tar file ---

    def _tar(self, tree: bytes) -> Iterator[bytes]:
        read = self._plan.repository.read
        group_of = {path: group for group in effective_links(read, tree) for path in group}
        first: dict[tuple[bytes, ...], bytes] = {}
        for path, directory in walk(partial(read_directory, read), tree):
            self._count(path)
            yield tar.header(path, directory.own)
            yield from self._files(path, directory, group_of, first)
        yield tar.END

    def _files(
        self,
        path: bytes,
        directory: Directory,
        group_of: dict[bytes, tuple[bytes, ...]],
        first: dict[tuple[bytes, ...], bytes],
    ) -> Iterator[bytes]:
        """The members for the files of a directory; of a hard-link group, those after the first are links to it."""
        for name, entry in directory.files.items():
            below = join(path, name)
            self._count(below)
            group = group_of.get(below)
            link = first.setdefault(group, below) if group else below
            if link != below:
                yield tar.header(below, entry.meta._replace(xattrs=()), link=link)
            else:
                yield from self._file(below, entry)

    def _file(self, path: bytes, entry: Entry) -> Iterator[bytes]:
        repository = self._plan.repository
        if entry.meta.kind is Kind.SYMLINK:
            yield tar.header(path, entry.meta, target=repository.read(entry.oid))
        elif entry.meta.kind is not Kind.FILE:
            yield tar.header(path, entry.meta)
        else:
            size = repository.size_of(entry.oid)
            yield tar.header(path, entry.meta, size=size)
            whole = repository.whole(entry.oid) if size >= _LARGE else None
            yield from whole.chunks() if whole is not None else (repository.read(entry.oid),)
            yield tar.padding(size)

    def _count(self, path: bytes) -> None:
        """Raise HostError for a name that means something else in an image."""
        if path.rpartition(b"/")[2].startswith(b".wh."):
            raise HostError(f"/{display(path)}: in an image, such a name removes another", "remove it, and check in")
        self._entries += 1
        self._observer.advance()


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _architecture(repository: Repository, tree: bytes) -> str:
    """For which processor the root is, by one of its programs, in Go's words."""
    look_up = Lookup(repository.read, tree)
    for path in _PROGRAMS:
        entry = look_up(path)
        if entry is not None and entry.meta.kind is Kind.FILE:
            head = repository.read(entry.oid)[: _ELF.size]
            if len(head) == _ELF.size:
                magic, bits, order, _, machine = _ELF.unpack(head)
                if magic == b"\x7fELF" and bits in (1, 2) and order == 1:
                    return _MACHINES.get(machine, _OTHERWISE)
    return _OTHERWISE
