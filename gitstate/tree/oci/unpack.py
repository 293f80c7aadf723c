"""Unpacking an image's layers one over the other into a directory, as container engines do.

Names resolve inside the directory: a symlink of a lower layer leads nowhere else. Removals (``.wh.NAME``,
``.wh..wh..opq``) concern lower layers only.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.compression import Damaged, Pieces, unpacked
from gitstate.core.entry import ACL_ACCESS, ACL_DEFAULT, CAPABILITY, Entry, Kind, Meta
from gitstate.core.errors import DamagedError
from gitstate.core.failures import of_system
from gitstate.core.fs.remove import remove_entry
from gitstate.core.monitor import Observer
from gitstate.core.names import OPAQUE, WHITEOUT, display, join
from gitstate.core.tar import Archive, Member
from gitstate.tree.oci.images import Image, Layer
from gitstate.tree.oci.store import Files, complains_of, open_files

_AUFS: Final = b".wh..wh."
"""What AUFS kept for itself begins so, besides opaque directories."""
_MOST_LINKS: Final = 40
_LARGEST_LAYER: Final = 1 << 44
_DEVICES: Final = frozenset(((1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)))
"""null, zero, full, random, urandom, tty, console, ptmx: what a root needs before devtmpfs, and no image abuses."""
_KEPT: Final = frozenset((CAPABILITY, ACL_ACCESS, ACL_DEFAULT))


def unpack(image: Image, tree: Path, observer: Observer) -> None:
    """Unpack all layers of ``image`` into the empty directory ``tree``.

    Raises DamagedError for what no image should hold or what its digest doesn't fit, StorageError, HostError.
    """
    with ExitStack() as stack:
        files = open_files(image.where, stack)
        if files is None:
            raise complains_of(image.where)("it is gone")
        root = fs.open_tree(tree)
        stack.callback(os.close, root)
        unpacker = _Unpacker(root, complains_of(image.where))
        for number, layer in enumerate(image.layers, 1):
            observer.phase(f"layer {number} of {len(image.layers)}")
            try:
                unpacker.layer(_Tar(files, layer, image.where), observer)
            except OSError as error:
                raise of_system(error, f"{tree}/{display(unpacker.at)}") from None
        unpacker.finish()


class _Tar:
    """A layer's tar file, hashed as it is read."""

    def __init__(self, files: Files, layer: Layer, where: Path) -> None:
        self._layer = layer
        self._digest = hashlib.sha256()
        self._damaged: Damaged = lambda why: complains_of(where)(f"{layer.path}: {why}")
        packed = Pieces(files.pieces(layer.path), _LARGEST_LAYER, self._damaged)
        self.source = Pieces(self._hashed(packed), _LARGEST_LAYER, self._damaged)

    def _hashed(self, packed: Pieces) -> Iterator[bytes]:
        for piece in self._plain(packed):
            self._digest.update(piece)
            yield piece

    def _plain(self, packed: Pieces) -> Iterator[bytes]:
        """Its bytes: those of the file, or what is packed in it, in one part or in many."""
        pieces = unpacked(packed)
        if pieces is None:
            while piece := packed.some(1 << 20):
                yield piece
        while pieces is not None:
            yield from pieces
            pieces = unpacked(packed)
        if packed.peek(1):
            raise self._damaged("something follows the compressed part")

    def finish(self) -> None:
        """Raise DamagedError unless it is what its digest says."""
        while self.source.some(1 << 20):
            pass
        if f"sha256:{self._digest.hexdigest()}" != self._layer.diff_id:
            raise self._damaged("unpacked, it isn't what the configuration says")


class _Unpacker:
    def __init__(self, root: int, damaged: Damaged) -> None:
        self._root = root
        self._damaged = damaged
        self._directories: dict[bytes, Meta] = {}
        self._fresh: set[bytes] = set()
        """What this layer has brought: its own removals don't concern that."""
        self._resolved: dict[bytes, bytes] = {}
        self.at = b""

    def layer(self, packed: _Tar, observer: Observer) -> None:
        """Lay one layer over what is there."""
        self._fresh.clear()
        archive = Archive(packed.source)
        for member in archive.members():
            self.at = member.path
            above, _, name = member.path.rpartition(b"/")
            if name == OPAQUE:
                self._empty(self._resolve(above))
            elif name.startswith(_AUFS):
                pass
            elif name.startswith(WHITEOUT):
                self._whiteout(above, name.removeprefix(WHITEOUT))
            else:
                self._lay(archive, member, above, name)
            observer.advance()
        packed.finish()

    def finish(self) -> None:
        """Give directories their metadata, now that nothing more is made in them."""
        for path, meta in sorted(self._directories.items(), reverse=True):
            try:
                descriptor = fs.open_path(path, self._root)
            except (FileNotFoundError, NotADirectoryError):
                continue
            try:
                fs.apply_metadata(descriptor, meta)
            finally:
                os.close(descriptor)

    # --- one member ---

    def _lay(self, archive: Archive, member: Member, above: bytes, name: bytes) -> None:
        meta = member.meta._replace(xattrs=self._xattrs(member))
        parent_path = self._resolve(above) if name else b""
        path = join(parent_path, name)
        if meta.kind is Kind.DIRECTORY:
            self._directory(path, parent_path, name)
            self._directories[path] = meta
        elif not name:
            raise self._damaged("its root is no directory")
        else:
            parent = self._parent(parent_path)
            try:
                self._clear(path, name, parent)
                self._make(archive, member, meta, name, parent)
            finally:
                os.close(parent)
        self._fresh.add(path)

    def _make(self, archive: Archive, member: Member, meta: Meta, name: bytes, parent: int) -> None:
        if member.link is not None:
            self._link(member.path, member.link, name, parent)
        elif meta.kind is Kind.FILE:
            descriptor = fs.create_file(name, parent)
            try:
                position = 0
                for piece in archive.pieces():
                    fs.write_sparse(descriptor, piece, position)
                    position += len(piece)
                os.ftruncate(descriptor, position)
                fs.apply_metadata(descriptor, meta)
            finally:
                os.close(descriptor)
        elif meta.kind is Kind.SYMLINK:
            if not 0 < len(member.target) < 4096:
                raise self._damaged(f"/{display(member.path)} is a symlink that there can't be")
            os.symlink(member.target, name, dir_fd=parent)
            fs.apply_metadata_by_name(name, parent, meta)
        else:
            if meta.kind is not Kind.FIFO and (meta.kind is Kind.BLOCK or meta.device not in _DEVICES):
                major, minor = meta.device or (0, 0)
                hint = "make the image without it; static ones such as /dev/null are taken"
                raise DamagedError(f"/{display(member.path)} is the device {major}:{minor}: refused", hint)
            fs.make_special(Entry(name, meta), parent)

    def _link(self, path: bytes, target: bytes, name: bytes, parent: int) -> None:
        above, _, last = target.rpartition(b"/")
        missing = self._damaged(f"/{display(path)} is a hard link to /{display(target)}, which is no file")
        try:
            source = fs.open_path(self._resolve(above, make=False), self._root)
        except (FileNotFoundError, NotADirectoryError):
            raise missing from None
        try:
            if stat.S_ISDIR(os.stat(last or b".", dir_fd=source, follow_symlinks=False).st_mode):
                raise missing
            os.link(last, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise missing from None
        finally:
            os.close(source)

    def _xattrs(self, member: Member) -> tuple[tuple[bytes, bytes], ...]:
        """The attributes that a snapshot records, of what can have some."""
        if member.meta.kind not in (Kind.FILE, Kind.DIRECTORY):
            return ()
        return tuple(one for one in member.meta.xattrs if one[0] in _KEPT or one[0].startswith(b"user."))

    # --- removing ---

    def _whiteout(self, above: bytes, name: bytes) -> None:
        if name in (b"", b".", b".."):
            raise self._damaged(f"/{display(self.at)} removes nothing")
        try:
            parent = fs.open_path(self._resolve(above, make=False), self._root)
        except (FileNotFoundError, NotADirectoryError):
            return  # as engines do: it is gone already
        try:
            path = join(self._resolve(above, make=False), name)
            if path not in self._fresh:
                self._remove(path, name, parent)
        finally:
            os.close(parent)

    def _empty(self, path: bytes) -> None:
        """Remove what lower layers have in a directory."""
        todo = [path]
        while todo:
            here = todo.pop()
            directory = fs.open_path(here, self._root)
            try:
                for name, found in fs.list_directory(directory):
                    below = join(here, name)
                    if below not in self._fresh:
                        self._remove(below, name, directory)
                    elif stat.S_ISDIR(found.st_mode):
                        todo.append(below)
            finally:
                os.close(directory)

    def _clear(self, path: bytes, name: bytes, parent: int) -> None:
        self._remove(path, name, parent)
        self._fresh.discard(path)

    def _remove(self, path: bytes, name: bytes, parent: int) -> None:
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(found.st_mode):
            for gone in [one for one in self._directories if one == path or one.startswith(path + b"/")]:
                del self._directories[gone]
        if not stat.S_ISREG(found.st_mode):
            self._resolved.clear()
        remove_entry(name, parent)

    # --- directories ---

    def _directory(self, path: bytes, above: bytes, name: bytes) -> None:
        """Make a directory unless there is one; a symlink makes room for it, as in engines."""
        if not name:
            return
        parent = self._parent(above)
        try:
            try:
                found = os.stat(name, dir_fd=parent, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode):
                    return
                self._clear(path, name, parent)
            except FileNotFoundError:
                pass
            os.mkdir(name, 0o700, dir_fd=parent)
        finally:
            os.close(parent)

    def _parent(self, path: bytes) -> int:
        return fs.open_path(path, self._root)

    def _resolve(self, path: bytes, *, make: bool = True) -> bytes:
        """The directory ``path`` without symlinks, made if ``make`` where nothing is."""
        if path in self._resolved:
            return self._resolved[path]
        todo, here, links = path.split(b"/")[::-1] if path else [], b"", 0
        while todo:
            name = todo.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                here = here.rpartition(b"/")[0]
                continue
            below = join(here, name)
            target = self._step(here, name, below, make)
            if target is None:
                here = below
                continue
            links += 1
            if links > _MOST_LINKS:
                raise self._damaged(f"/{display(path)} leads in circles")
            if target.startswith(b"/"):
                here = b""
            todo += target.split(b"/")[::-1]
        if make:
            self._resolved[path] = here
        return here

    def _step(self, here: bytes, name: bytes, below: bytes, make: bool) -> bytes | None:
        """What the symlink ``name`` leads to; None for anything else, and for a directory that is made."""
        parent = self._parent(here)
        try:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                return fs.read_link(name, parent)
            if not stat.S_ISDIR(found.st_mode) and make:
                raise self._damaged(f"/{display(self.at)} leads through /{display(below)}, which is no directory")
        except FileNotFoundError:
            if make:
                os.mkdir(name, 0o755, dir_fd=parent)
                os.chmod(name, 0o755, dir_fd=parent)
        finally:
            os.close(parent)
        return None
