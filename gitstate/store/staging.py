"""The packs of one check-in, hidden from git until they are published together with one update of refs."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from gitstate.store.objects import Type, object_id
from gitstate.store.packs import StagedPack, deflate

Move = tuple[str, bytes, bytes | None]
"""A full ref name, its new commit, its old commit."""


class Staging:
    """Packs written in ``directory`` for a repository with the object directory ``objects``.

    ``move_refs`` moves refs all or none, see ``Repository.move_refs``.
    """

    def __init__(self, directory: Path, objects: Path, move_refs: Callable[[Sequence[Move], str], None]) -> None:
        self.directory = directory
        self._objects = objects
        self._move_refs = move_refs
        self.main = StagedPack(directory, "main")
        self._large: list[StagedPack] = []
        self._made = 0
        self._lock = threading.RLock()
        self.blobs = 0
        self.objects = 0

    def holds(self, oid: bytes) -> bool:
        """Whether a staged pack has ``oid``."""
        return oid in self.main or any(oid in pack for pack in self._large)

    def blob(self, oid: bytes, data: bytes) -> None:
        """Stage one blob; from any thread."""
        if self.main.add(Type.BLOB, oid, len(data), deflate(data)):
            with self._lock:
                self.blobs += 1

    def stream(self, size: int, chunks: Callable[[], bytes], known: Callable[[bytes], bool]) -> bytes:
        """Stage a blob too big for memory in a pack of its own; dropped where ``known`` or staged already."""
        with self._lock:
            self._made += 1
            pack = StagedPack(self.directory, f"large-{self._made}")
        try:
            oid = pack.stream(Type.BLOB, size, chunks)
            with self._lock:
                if not self.holds(oid) and not known(oid):
                    self._large.append(pack)
                    self.blobs += 1
        finally:
            if pack not in self._large:
                pack.drop()
        return oid

    def add(self, kind: Type, data: bytes) -> bytes:
        """Stage one small object; its id."""
        oid = object_id(kind, data)
        if oid not in self.main:
            self.main.add(kind, oid, len(data), deflate(data))
        return oid

    def reader(self, read: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
        """A reader of what is staged besides what ``read`` has."""

        def read_either(oid: bytes) -> bytes:
            for pack in (self.main, *self._large):
                if (data := pack.read(oid)) is not None:
                    return data
            return read(oid)

        return read_either

    def publish(self, moves: Sequence[Move], reason: str, step: Callable[[str], None] = lambda name: None) -> None:
        """Make the packs visible, then move the refs. Raises LockedError, StorageError."""
        self.objects = len(self.main) + len(self._large)
        keep = f"gitstate {os.getpid()}\n".encode()
        kept: list[Path] = []
        try:
            for pack in [*self._large, self.main]:
                pack.publish(self._objects, keep, kept, step)
            self._move_refs(moves, reason)
            step("ref")
        finally:
            for path in kept:
                path.unlink(missing_ok=True)

    def publish_to(self, objects: Path) -> None:
        """Write the packs to another object directory, for git to look at; no ref moves."""
        (objects / "pack").mkdir()
        for pack in [*self._large, self.main]:
            pack.publish(objects, b"", [], lambda name: None)

    def close(self) -> None:
        """Close all files."""
        for pack in [self.main, *self._large]:
            pack.close()
