"""Unpack a layer's tar file as the upper directory that it was made from, writing nowhere else.

Removals stand in it as OCI has them (``.wh.NAME``, ``.wh..wh..opq``; image-spec, layer.md) or as overlayfs has them (a
device 0:0, attributes), as ``tar --xattrs`` packs an upper directory. A directory that it has no member for keeps the
metadata of the snapshot below.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from lzma import LZMAError
from tarfile import EOFHeaderError  # type: ignore[attr-defined]  # a block of zeros
from typing import BinaryIO, Final, Self

from gitstate.core import fs, tar
from gitstate.core.entry import Entry, Kind, Meta, Xattrs
from gitstate.core.errors import DamagedError, HostError, RefusedError
from gitstate.core.names import OPAQUE, WHITEOUT, display, join
from gitstate.tree.limits import require_possible_target
from gitstate.tree.overlay.lower import Lower
from gitstate.tree.overlay.marks import (
    NO_MARKS,
    TRUSTED,
    ListedNotes,
    Marks,
    UnknownMarkError,
    is_whiteout,
    parse_marks,
)
from gitstate.tree.policy import parse, policy_path
from gitstate.tree.snapshot import PLAIN_DIRECTORY
from gitstate.tree.upper.record import Edits

_XATTR: Final = "SCHILY.xattr."
_ACL: Final = "SCHILY.acl."
_PIECE: Final = 1 << 20
_HINT: Final = "nothing is recorded; look at it with tar -tvf"
_FILES: Final = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE)


class _Member(tarfile.TarInfo):
    """A member of a tar file; notes whether the file ended as tar files do, not where a connection broke."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tarfile)
        except EOFHeaderError:
            vars(tarfile)["ended"] = True
            raise


@contextmanager
def unpacked(edits: Edits, stream: BinaryIO) -> Iterator[Edits]:
    """``edits`` with the upper directory of the layer in ``stream``, which is gone at the end.

    Raises DamagedError, RefusedError, HostError, OSError.
    """
    repository = edits.repository
    lower = Lower(repository.read, repository.snapshot(edits.base).tree)
    own = policy_path(is_layer=repository.is_layer)
    blob = lower.look_up.regular_file(own)
    policy = parse(None if blob is None else repository.read(blob), display(own), own)
    with repository.scratch() as scratch:
        place = scratch / "upper"
        place.mkdir(mode=0o700)
        root = fs.open_tree(place)
        try:
            unpacker = _Unpacker(root, lower, selinux=policy.selinux)
            unpacker.unpack(stream)
            yield replace(edits, upper=place, notes=ListedNotes(unpacker.marks))
        finally:
            os.close(root)
            fs.remove_tree(place)


class _Unpacker:
    def __init__(self, root: int, lower: Lower, *, selinux: bool) -> None:
        self._root = root
        self._lower = lower
        self._selinux = selinux
        self._home = fs.mount_id(root)
        self._directories: dict[bytes, Meta] = {}
        self.marks: dict[bytes, Marks] = {}

    def unpack(self, stream: BinaryIO) -> None:
        self._make_above(b"")
        try:
            with tarfile.open(
                fileobj=stream, mode="r|*", tarinfo=_Member, encoding="utf-8", errors="surrogateescape"
            ) as archive:
                for member in archive:
                    self._take(archive, member)
                    archive.members = []  # type: ignore[attr-defined]
                if not vars(archive).get("ended"):
                    raise DamagedError("the tar file ends too early", _HINT)
        except (tarfile.TarError, EOFError, zlib.error, LZMAError) as error:
            raise DamagedError(f"no tar file, or a damaged one: {error}", _HINT) from None
        except UnicodeError as error:
            raise DamagedError(f"a name in the tar file can't be read: {error}", _HINT) from None
        for path, meta in sorted(self._directories.items(), reverse=True):
            descriptor = self._directory(path)
            try:
                fs.apply_metadata(descriptor, meta)
            finally:
                os.close(descriptor)

    def _take(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = _path(member.name)
        above, _, name = path.rpartition(b"/")
        if path and name == OPAQUE:
            self._make_above(above)
            self._mark(above, Marks(opaque=True))
        elif path and name.startswith(WHITEOUT):
            self._whiteout(path, above, name.removeprefix(WHITEOUT))
        elif member.ischr() and (member.devmajor, member.devminor) == (0, 0) and path:
            self._whiteout(path, above, name)
        elif member.isdir():
            self._make_above(path)
            self._directories[path] = _meta(member, Kind.DIRECTORY, self._xattrs(member, path))
        elif not path:
            raise DamagedError("the tar file's own directory is no directory", _HINT)
        else:
            self._add(archive, member, path, above, name)

    def _mark(self, path: bytes, marks: Marks) -> None:
        """Note marks; that a directory is opaque may be said apart from the rest."""
        opaque = marks.opaque or self.marks.get(path, NO_MARKS).opaque
        self.marks[path] = replace(marks, opaque=opaque)

    def _add(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: bytes, above: bytes, name: bytes) -> None:
        parent = self._make_above(above, keep=True)
        try:
            _clear(name, parent, path)
            if member.islnk():
                self._link(member, path, parent, name)
            elif member.issym():
                target = _raw(member.linkname)
                require_possible_target(path, target)
                os.symlink(target, name, dir_fd=parent)
                fs.apply_metadata_by_name(name, parent, _meta(member, Kind.SYMLINK, self._xattrs(member, path)))
            elif member.isfifo():
                fs.make_special(Entry(name, _meta(member, Kind.FIFO, self._xattrs(member, path))), parent)
            elif member.type in _FILES:
                self._file(archive, member, parent, name, path)
            else:
                what = "a device" if member.isdev() else f"of type {member.type!r}"
                raise RefusedError(f"/{display(path)} is {what}: no tar file may bring one", _HINT)
        finally:
            os.close(parent)

    def _file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: bytes, path: bytes) -> None:
        descriptor = fs.create_file(name, parent)
        try:
            source = archive.extractfile(member)
            assert isinstance(source, io.BufferedReader)
            for start, size in getattr(member, "sparse", None) or [(0, member.size)]:
                source.raw.seek(start)  # the reader itself asks the stream whether it can seek
                _copy(source.raw, descriptor, start, size)
            os.ftruncate(descriptor, member.size)
            fs.apply_metadata(descriptor, _meta(member, Kind.FILE, self._xattrs(member, path)))
        finally:
            os.close(descriptor)

    def _link(self, member: tarfile.TarInfo, path: bytes, parent: int, name: bytes) -> None:
        target = _path(member.linkname)
        above, _, last = target.rpartition(b"/")
        try:
            source = self._directory(above)
            try:
                found = os.stat(last, dir_fd=source, follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode) or is_whiteout(found):
                    raise DamagedError(f"/{display(path)} is a hard link to no file, /{display(target)}", _HINT)
                os.link(last, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(source)
        except FileNotFoundError:
            raise DamagedError(
                f"/{display(path)} is a hard link to /{display(target)}, which is missing", _HINT
            ) from None
        if target in self.marks:
            self._mark(path, self.marks[target])

    def _whiteout(self, path: bytes, above: bytes, name: bytes) -> None:
        if name in (b"", b".", b".."):
            raise DamagedError(f"/{display(path)} removes nothing", _HINT)
        parent = self._make_above(above, keep=True)
        try:
            with suppress(FileExistsError):  # what the same file brings isn't removed by it
                os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self._mark(join(above, name), Marks(opaque=True))
        finally:
            os.close(parent)

    # --- directories ---

    def _directory(self, path: bytes) -> int:
        """A descriptor of a directory that is there. Raises FileNotFoundError, DamagedError."""
        try:
            return fs.open_path(path, self._root)
        except NotADirectoryError:
            raise DamagedError(f"/{display(path)} leads through a file or symlink of the tar file", _HINT) from None

    def _make_above(self, path: bytes, *, keep: bool = False) -> int:
        """Make a directory and those above it, as the snapshot below has them; its descriptor if ``keep``, else 0."""
        current, here = os.dup(self._root), b""
        self._directories.setdefault(b"", self._below(b""))
        for name in path.split(b"/") if path else []:
            here = join(here, name)
            try:
                below = self._step(name, current, here)
            finally:
                os.close(current)
            current = below
        if keep:
            return current
        os.close(current)
        return 0

    def _step(self, name: bytes, parent: int, path: bytes) -> int:
        try:
            descriptor = fs.open_directory(name, parent)
        except FileNotFoundError:
            self._directories[path] = self._below(path)
            return fs.make_directory(name, parent)
        except NotADirectoryError:
            found = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not is_whiteout(found):
                raise DamagedError(f"/{display(path)} leads through a file or symlink of the tar file", _HINT) from None
            os.unlink(name, dir_fd=parent)  # removed, then made again: nothing of the one below shows
            self._directories[path] = PLAIN_DIRECTORY
            self._mark(path, Marks(opaque=True))
            return fs.make_directory(name, parent)
        return descriptor

    def _below(self, path: bytes) -> Meta:
        directory = self._lower.look_up.directory(path)
        return directory.own if directory else PLAIN_DIRECTORY

    # --- attributes ---

    def _xattrs(self, member: tarfile.TarInfo, path: bytes) -> Xattrs:
        """The attributes to record; marks of an overlay are noted. Raises HostError for what isn't understood."""
        found: dict[bytes, bytes] = {}
        marks: dict[bytes, bytes] = {}
        for key, text in member.pax_headers.items():
            if key.startswith(_ACL):
                raise HostError(
                    f"/{display(path)} has an ACL as text", "pack it with tar --xattrs --xattrs-include='*'"
                )
            if not key.startswith(_XATTR):
                continue
            name, value = _attribute(key), _raw(text)
            if name.startswith(TRUSTED):
                marks[name.removeprefix(TRUSTED)] = value
            elif fs.is_recorded(name, selinux=self._selinux):
                found[name] = value
        if marks:
            try:
                self._mark(path, parse_marks(marks, is_directory=member.isdir()))
            except UnknownMarkError as error:
                raise HostError(f"/{display(path)}: {error}", _HINT) from None
        return tuple(sorted(found.items()))


def _raw(text: str) -> bytes:
    """The bytes that the tar file has."""
    return text.encode("utf-8", "surrogateescape")


def _attribute(key: str) -> bytes:
    """The attribute that a keyword names: one with ``=`` is written as GNU tar does."""
    return _raw(key.removeprefix(_XATTR)).replace(b"%3D", b"=").replace(b"%25", b"%")


def _path(name: str) -> bytes:
    """A member's path from the root. Raises DamagedError for one that leads out."""
    raw = _raw(name)
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if raw.startswith(b"/") or b".." in parts or b"\0" in raw:
        raise DamagedError(f"the tar file has a name that leads out of it: {display(raw)}", _HINT)
    return b"/".join(parts)


def _clear(name: bytes, parent: int, path: bytes) -> None:
    """Make room for a later member of the same name."""
    try:
        found = os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISDIR(found.st_mode):
        raise DamagedError(f"/{display(path)} is a directory and something else in the tar file", _HINT)
    os.unlink(name, dir_fd=parent)


def _copy(source: io.RawIOBase, descriptor: int, start: int, size: int) -> None:
    while size:
        data = source.read(min(size, _PIECE))
        if not data:
            raise EOFError("a file is cut")
        fs.write_sparse(descriptor, data, start)
        start, size = start + len(data), size - len(data)


def _meta(member: tarfile.TarInfo, kind: Kind, xattrs: Xattrs) -> Meta:
    owner = tar.owner_of(member, _damaged)
    return Meta(kind, member.mode & 0o7777, *owner, tar.time_of(member, _damaged), None, xattrs)


def _damaged(why: str) -> DamagedError:
    return DamagedError(why, _HINT)
