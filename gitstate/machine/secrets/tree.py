"""One machine's secrets, read: a plain directory tree, owners and modes as the files have them."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.entry import KIND_BY_FORMAT, Kind, Meta
from gitstate.core.errors import ConfigError, HostError
from gitstate.core.fs.descriptor_tree import PARTIAL
from gitstate.core.names import display, host_name, join
from gitstate.machine.render.models import LONGEST_PATH, ArchiveEntry
from gitstate.machine.secrets.options import Options
from gitstate.store.site import Site

LARGEST: Final = 1 << 20
LARGEST_IN_ALL: Final = 4 << 20
LARGEST_COUNT: Final = 1000
_DEEPEST: Final = 64
_READ_BY_ALL: Final = 0o004
_WRITTEN_BY_ALL: Final = 0o002
_PRIVILEGED: Final = 0o6000
_PLAIN: Final = Meta(Kind.DIRECTORY, 0o755)
_PRIVATE: Final = Meta(Kind.DIRECTORY, 0o700)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What is laid over a machine's root after all layers, by paths as they stand in its directory, sorted.

    ``digest`` changes with content and metadata, and is empty where there is nothing; it belongs into files that
    root alone reads, as content of few possible values could be guessed from it. Directories as ``mkdir`` makes them,
    under whichever umask, aren't in ``laid``: they leave the machine's as they are. ``private`` are those of them that
    are root's alone, and stay so where the machine has none.
    """

    entries: tuple[ArchiveEntry, ...] = ()
    digest: str = ""
    private: tuple[bytes, ...] = ()


NONE: Final = Secrets()


def folder(site: Site) -> Path:
    """Where all machines' secrets are."""
    return site.path / "secrets"


def machine_secrets(site: Site, host: str, options: Options) -> Secrets:
    """The secrets of ``host``; nothing where it has none. Raises ConfigError, HostError."""
    name = host_name(host)
    if not fs.has_directory(folder(site)):
        return NONE
    above = fs.open_tree(folder(site))
    try:
        check_private(above, folder(site))
        root = fs.open_directory(name.encode(), above)
    except FileNotFoundError:
        return NONE
    except NotADirectoryError:
        raise ConfigError(f"{folder(site) / name} is no directory", "secrets of a machine are files in one") from None
    except PermissionError:
        raise HostError(f"{folder(site)}: permission denied", "run it as root") from None
    finally:
        os.close(above)
    try:
        reader = _Reader(folder(site) / name)
        reader.read(root, b"", 0)
    finally:
        os.close(root)
    laid, private = tuple(sorted(reader.entries, key=lambda one: one.path)), tuple(sorted(reader.private))
    return Secrets(laid, _digest(laid, private, options.uuid), private) if laid else NONE


def stamps(site: Site, hosts: Iterable[str]) -> str:
    """A digest of what ``lstat`` says of all that some machines' directories hold: equal, and no secret has changed."""
    total = hashlib.sha256()
    for host in sorted(hosts):
        for path, status in _walk(str(folder(site) / host)):
            fields = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
            total.update(b"%d:%s %s" % (len(path), path, repr(fields).encode()))
    return total.hexdigest()


def _walk(top: str) -> Iterator[tuple[bytes, os.stat_result]]:
    """Everything below a directory, symlinks not followed; what can't be read is left to the reader that needs it."""
    stack = [top]
    while stack:
        with suppress(OSError), os.scandir(stack.pop()) as entries:
            for one in sorted(entries, key=lambda one: one.name):
                yield os.fsencode(one.path), one.stat(follow_symlinks=False)
                if one.is_dir(follow_symlinks=False):
                    stack.append(one.path)


def check_private(descriptor: int, where: Path) -> None:
    """Raise ConfigError where others than root can look at secrets."""
    status = os.fstat(descriptor)
    if status.st_mode & 0o077:
        raise ConfigError(f"{where} has mode {stat.S_IMODE(status.st_mode):04o}", f"chmod 0700 {where}")


def _digest(laid: tuple[ArchiveEntry, ...], private: tuple[bytes, ...], uuid: str) -> str:
    """Every part with its length, so that no two trees make the same text."""
    total = hashlib.sha256(uuid.encode())
    for one in (*laid, *(ArchiveEntry(path, _PRIVATE) for path in private)):
        for part in (one.path, repr(one.meta).encode(), one.content):
            total.update(b"%d:" % len(part))
            total.update(part)
    return total.hexdigest()


class _Reader:
    """One walk over one machine's directory."""

    def __init__(self, where: Path) -> None:
        self.entries: list[ArchiveEntry] = []
        self.private: list[bytes] = []
        self._where = where
        self._left = LARGEST_IN_ALL
        self._count = 0

    def read(self, descriptor: int, path: bytes, depth: int) -> None:
        """Everything in an open directory."""
        for name, status in fs.list_directory(descriptor):
            if name.startswith(PARTIAL):  # what a killed `secret add` left
                continue
            whole = join(path, name)
            self._count += 1
            if self._count > LARGEST_COUNT or depth > _DEEPEST or len(whole) > LONGEST_PATH:
                raise self._fault(
                    whole, f"is more than {LARGEST_COUNT} entries, or lies too deep", "keep secrets few and small"
                )
            kind = KIND_BY_FORMAT.get(stat.S_IFMT(status.st_mode))
            if kind is Kind.DIRECTORY:
                self._directory(descriptor, name, whole, depth)
            elif kind is Kind.FILE:
                self._file(descriptor, name, whole)
            elif kind is Kind.SYMLINK:
                self._add(whole, _meta(kind, status), fs.read_link(name, descriptor))
            else:
                raise self._fault(whole, "is no file, directory or symlink", "remove it")

    def _directory(self, parent: int, name: bytes, path: bytes, depth: int) -> None:
        descriptor = fs.open_directory(name, parent)
        try:
            meta = _meta(Kind.DIRECTORY, os.fstat(descriptor), descriptor)
            if meta._replace(time=None) == _PRIVATE:
                self.private.append(path)
            elif meta._replace(time=None) != _PLAIN:
                self._add(path, meta._replace(time=None))
            self.read(descriptor, path, depth + 1)
        finally:
            os.close(descriptor)

    def _file(self, parent: int, name: bytes, path: bytes) -> None:
        descriptor = fs.open_file(name, parent)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise self._fault(path, "became something else meanwhile", "try again")
            content = os.read(descriptor, LARGEST + 1)
            meta = _meta(Kind.FILE, status, descriptor)
        finally:
            os.close(descriptor)
        check_secret(self._where, path, meta, content)
        self._add(path, meta, content)

    def _add(self, path: bytes, meta: Meta, content: bytes = b"") -> None:
        self._left -= len(content)
        if self._left < 0:
            hint = "secrets are small; layers hold more"
            raise ConfigError(f"{self._where} holds more than {LARGEST_IN_ALL >> 20} MiB", hint)
        self.entries.append(ArchiveEntry(path, meta, content))

    def _fault(self, path: bytes, what: str, hint: str) -> ConfigError:
        return ConfigError(f"{self._where}/{display(path[:200])} {what}", hint)


def check_secret(where: Path, path: bytes, meta: Meta, content: bytes) -> None:
    """Raise ConfigError for a file that nobody means to be a secret of the machine whose directory is ``where``."""
    if len(content) > LARGEST:
        what, hint = f"is larger than {LARGEST >> 20} MiB", "secrets are small; layers hold more"
    elif meta.mode & (_PRIVILEGED | _WRITTEN_BY_ALL):
        what, hint = f"has mode {meta.mode:04o}", "neither setuid nor world-writable: chmod it"
    elif meta.mode & _READ_BY_ALL and (why := _secret_in(path, content)):
        what, hint = f"has mode {meta.mode:04o}, and holds {why}", "chmod 0600"
    else:
        return
    raise ConfigError(f"{where}/{display(path[:200])} {what}", hint)


def _secret_in(path: bytes, content: bytes) -> str | None:
    from gitstate.tree.policy import parse  # takes long to load, and hardly a secret is readable by all

    refusal = parse(None, "").inspect(path, content)
    return refusal.why if refusal else None


def _meta(kind: Kind, status: os.stat_result, descriptor: int | None = None) -> Meta:
    xattrs = fs.descriptor_xattrs(descriptor) if descriptor is not None else ()
    mode = stat.S_IMODE(status.st_mode)
    return Meta(kind, mode, status.st_uid, status.st_gid, status.st_mtime_ns, xattrs=xattrs)
