"""What stands at a path of a site: nothing, what should be there, or an error. Only ENOENT means nothing.

pathlib's ``exists``, ``is_dir`` and ``glob`` take what can't be read, and a link that leads nowhere, for absent.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from gitstate.core.errors import ConfigError, GitstateError, HostError, UsageError
from gitstate.core.failures import of_system

StrPath = str | Path

_READ: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def is_free(path: StrPath) -> bool:
    """Whether nothing is at ``path``, not even a symlink that leads nowhere. Raises StorageError, HostError."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise of_system(error) from None
    return False


def has_directory(path: StrPath) -> bool:
    """Whether a directory is at ``path``, symlinks followed; False if nothing is. Raises StorageError, HostError."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        _refuse_dangling(path, HostError)
        return False
    except OSError as error:
        raise of_system(error) from None
    if not stat.S_ISDIR(status.st_mode):
        raise HostError(f"{path} is no directory", "move it away, then run it again")
    return True


def list_names(path: Path) -> list[str]:
    """The names in the directory at ``path``, sorted; none if nothing is there. Raises StorageError, HostError."""
    if not has_directory(path):
        return []
    try:
        return sorted(os.listdir(path))
    except OSError as error:
        raise of_system(error) from None


def require_empty(path: Path, hint: str) -> None:
    """Raise UsageError unless ``path`` is free or an empty directory, no symlink. Raises StorageError, HostError."""
    if is_free(path):
        return
    if path.is_symlink() or not path.is_dir() or list_names(path):
        raise UsageError(f"{path} is not an empty directory", hint)


def read_file(path: StrPath, most: int = -1) -> bytes | None:
    """The content, or the first ``most`` bytes, of the file at ``path``, symlinks followed; None if nothing is there.

    Never blocks. Raises ConfigError for anything but a file, StorageError, HostError.
    """
    try:
        descriptor = os.open(path, _READ)
    except FileNotFoundError:
        _refuse_dangling(path, ConfigError)
        return None
    except OSError as error:
        raise of_system(error) from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError(f"{path} is no regular file", "make it one, or remove it")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(most)
    except OSError as error:
        raise of_system(error, path) from None
    finally:
        os.close(descriptor)


def _refuse_dangling(path: StrPath, kind: type[GitstateError]) -> None:
    """Raise ``kind`` if what is absent is so because of a symlink, at ``path`` or above it, that leads nowhere."""
    place = os.fspath(path)  # pathlib takes ten times as long, and most of what is looked for is absent
    while place:
        with suppress(FileNotFoundError):
            if stat.S_ISLNK(os.lstat(place).st_mode) and not os.path.exists(place):
                raise kind(f"{place} is a symlink that leads nowhere", "mend it, or remove it")
            return
        place = os.path.dirname(place)
