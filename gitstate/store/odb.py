"""A repository's objects, read by ourselves; what stands in other repositories (alternates) by libgit2."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitstate.core.errors import DamagedError
from gitstate.store.deltas import Bases, read_delta
from gitstate.store.loose import read_loose
from gitstate.store.objects import TreeItem, Type, parse_tree, tagged
from gitstate.store.reader import Pack, Whole

if TYPE_CHECKING:
    import pygit2


class Objects:
    """The objects below one repository's ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._packs: list[Pack] = []
        self._packs_lock = threading.Lock()
        self._packs_seen = -1
        self._bases = Bases()

    @cached_property
    def _git(self) -> pygit2.Repository:
        import pygit2
        from pygit2.enums import ConfigLevel

        for level in (ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
            pygit2.settings.search_path[level] = ""  # nobody's ~/.gitconfig has a say
        pygit2.settings.owner_validation = False  # `Repository.open` has looked
        with as_ours(self.path.name):
            return pygit2.Repository(str(self.path))

    def borrow(self, objects: Path) -> None:
        """Read from a further directory of objects, too: where git keeps a push until a hook has said yes."""
        with as_ours(str(objects)):
            self._git.odb.add_disk_alternate(str(objects))

    def size_of(self, oid: bytes) -> int:
        """The size of an object in bytes. Raises DamagedError if it is missing."""
        entry = self.whole(oid)
        if entry is not None:
            return entry.size
        with as_ours(oid.hex()):
            return int(self._git.odb.read_header(oid.hex())[1])

    def read(self, oid: bytes) -> bytes:
        """The content of any object. Raises DamagedError if it is missing or corrupt."""
        return self.typed(oid)[1]

    def typed(self, oid: bytes) -> tuple[Type, bytes]:
        """Type and content of any object. Raises DamagedError if it is missing or corrupt."""
        found = self.find(oid)
        if found is not None:
            entry = found[0].whole(found[1])
            return (entry.kind, entry.read()) if entry else read_delta(*found, oid, self._bases)
        loose = read_loose(self.path / "objects", oid)
        if loose is not None:
            return loose
        with as_ours(oid.hex()):
            kind, data = self._git.odb.read(oid.hex())
        return Type(kind), bytes(data)

    def peeled(self, oid: bytes) -> tuple[bytes, Type, bytes]:
        """Id, type and content of the object that ``oid`` is, or that a tag leads to. Raises DamagedError."""
        kind, data = self.typed(oid)
        while kind is Type.TAG:
            oid = tagged(data)
            kind, data = self.typed(oid)
        return oid, kind, data

    def commit(self, oid: bytes) -> tuple[bytes, bytes]:
        """Id and content of the commit that ``oid`` is, or that a tag leads to. Raises DamagedError."""
        oid, kind, data = self.peeled(oid)
        if kind is not Type.COMMIT:
            raise DamagedError(f"{oid.hex()} is no commit", "run: gitstate fsck")
        return oid, data

    def tree(self, oid: bytes) -> list[TreeItem]:
        """The items of a tree object. Raises DamagedError."""
        return parse_tree(self.read(oid))

    def whole(self, oid: bytes) -> Whole | None:
        """The whole pack entry that holds ``oid``; None if it is a delta, loose or missing."""
        found = self.find(oid)
        return found[0].whole(found[1]) if found else None

    def find(self, oid: bytes) -> tuple[Pack, int] | None:
        """The pack and offset of ``oid``; None if no pack has it."""
        for pack in self._packs:
            offset = pack.find(oid)
            if offset is not None:
                return pack, offset
        return self.find(oid) if self._refresh_packs() else None

    def has_packed(self, oid: bytes) -> bool:
        """Whether some pack holds ``oid``, reachable or not."""
        return self.find(oid) is not None

    def _refresh_packs(self) -> bool:
        """Look for packs anew; whether there are new ones. Old ones stay open, so a repack takes nothing from us."""
        directory = self.path / "objects" / "pack"
        with self._packs_lock:
            changed_at = directory.stat().st_mtime_ns if directory.is_dir() else -1
            if changed_at == self._packs_seen:
                return False
            self._packs_seen = changed_at
            known = {pack.path for pack in self._packs}
            fresh = []
            for index in directory.glob("*.idx"):
                if index.with_suffix(".pack") in known:
                    continue
                try:
                    fresh.append(Pack(index))
                except FileNotFoundError:  # repacked this moment
                    self._packs_seen = -1
                except ValueError as error:
                    raise DamagedError(f"{index.name}: {error}", "run: gitstate fsck") from None
            self._packs = [*fresh, *self._packs]
            return bool(fresh)


@contextmanager
def as_ours(what: str) -> Iterator[None]:
    """libgit2's errors as ours."""
    import pygit2

    try:
        yield
    except KeyError:
        raise DamagedError(
            f"object {what} is missing", "run: gitstate fsck, then fetch it from a clone or a backup"
        ) from None
    except (pygit2.GitError, ValueError) as error:  # pygit2 has either for what can't be read
        raise DamagedError(f"{what}: {error}", "run: gitstate fsck") from None
