"""Where an image's files are: a directory, or a tar file that isn't compressed."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from gitstate.core import fs, tar
from gitstate.core.compression import Damaged
from gitstate.core.errors import DamagedError
from gitstate.core.failures import of_system
from gitstate.core.names import display, visible

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PIECE: Final = 1 << 20
_LARGEST_DOCUMENT: Final = 4 << 20
"""Of JSON, as OCI wants it of a registry."""
_HINT: Final = "make the image again; skopeo inspect looks at it"


def complains_of(where: Path) -> Damaged:
    """The error for what is wrong at ``where``."""
    return lambda why: DamagedError(f"{where}: {why}", _HINT)


class Files(Protocol):
    """An image's files by path."""

    where: Path

    def size(self, path: str) -> int | None:
        """The size of a file; None if there is none."""

    def pieces(self, path: str) -> Iterator[bytes]:
        """The content of a file that is there."""


class DirectoryFiles:
    """The files below a directory; no symlink is followed."""

    def __init__(self, where: Path) -> None:
        self.where = where

    def size(self, path: str) -> int | None:
        """The size of a regular file. Raises StorageError, HostError."""
        with ExitStack() as stack:
            try:
                return os.fstat(self._open(path, stack)).st_size
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                raise of_system(error, self.where / path) from None

    def pieces(self, path: str) -> Iterator[bytes]:
        """The content of a regular file. Raises StorageError, HostError."""
        with ExitStack() as stack:
            try:
                descriptor = self._open(path, stack)
                while piece := os.read(descriptor, _PIECE):
                    yield piece
            except OSError as error:
                raise of_system(error, self.where / path) from None

    def _open(self, path: str, stack: ExitStack) -> int:
        above, _, name = os.fsencode(path).rpartition(b"/")
        root = fs.open_tree(self.where)
        stack.callback(os.close, root)
        parent = fs.open_path(above, root)
        stack.callback(os.close, parent)
        descriptor = fs.open_file(name, parent)
        stack.callback(os.close, descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise complains_of(self.where)(f"{path} is no regular file")
        return descriptor


class ArchiveFiles:
    """The files in a tar file."""

    def __init__(self, where: Path, file: BinaryIO, places: dict[bytes, tuple[int, int]]) -> None:
        self.where = where
        self._file = file
        self._places = places

    def size(self, path: str) -> int | None:
        """The size of a file in it."""
        place = self._places.get(os.fsencode(path))
        return place[1] if place else None

    def pieces(self, path: str) -> Iterator[bytes]:
        """The content of a file in it. Raises DamagedError, StorageError."""
        offset, left = self._places[os.fsencode(path)]
        while left:
            try:
                piece = os.pread(self._file.fileno(), min(_PIECE, left), offset)
            except OSError as error:
                raise of_system(error, self.where) from None
            if not piece:
                raise complains_of(self.where)("it ends too early")
            yield piece
            offset, left = offset + len(piece), left - len(piece)


def open_files(where: Path, stack: ExitStack) -> Files | None:
    """The files of the directory or the uncompressed tar file at ``where``; None for what is neither.

    Raises DamagedError, StorageError, HostError.
    """
    if where.is_dir():
        return DirectoryFiles(where)
    if not where.is_file():  # to open a pipe would take what is in it
        return None
    try:
        file = open(where, "rb")  # noqa: SIM115  # it stays open
        stack.callback(file.close)
    except OSError as error:
        raise of_system(error, where) from None
    places = tar.index(file, complains_of(where))
    return ArchiveFiles(where, file, places) if places else None


def document(files: Files, path: str) -> bytes:
    """A file of JSON. Raises DamagedError if it is missing or too large."""
    size = files.size(path)
    if size is None:
        raise complains_of(files.where)(f"{path} is missing")
    if size > _LARGEST_DOCUMENT:
        raise complains_of(files.where)(f"{path} is larger than {_LARGEST_DOCUMENT >> 20} MiB")
    return b"".join(files.pieces(path))


def blob_path(files: Files, digest: str) -> str:
    """Where the blob of a digest is. Raises DamagedError for a digest that isn't SHA-256."""
    if not _DIGEST.fullmatch(digest):
        raise complains_of(files.where)(f"{display(digest.encode())[:100]} is no SHA-256 digest")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def saved_path(files: Files, path: str) -> str:
    """A path of ``docker save``. Raises DamagedError for one that leads out, or that no file can have."""
    parts = path.split("/")
    if {"", ".", ".."} & set(parts) or "\0" in path or any("\ud800" <= one <= "\udfff" for one in path):
        raise complains_of(files.where)(f"{visible(path)!r} is no path in it")
    return path


def verify(files: Files, path: str, digest: str, size: int | None) -> None:
    """Raise DamagedError unless the file is there and is what its digest says."""
    there = files.size(path)
    problem: str | None = None
    if there is None:
        problem = f"{path} is missing"
    elif size is not None and there != size:
        problem = f"{path} has {there} bytes, not {size}"
    if problem is None:
        found = hashlib.sha256()
        for piece in files.pieces(path):
            found.update(piece)
        if f"sha256:{found.hexdigest()}" != digest:
            problem = f"{path} isn't what its digest says"
    if problem is not None:
        raise complains_of(files.where)(problem)
