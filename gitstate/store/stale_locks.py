"""What a killed git left behind: lock files, ``NAME.lock``, and temporary files. No git ever removes them.

A lock file is stale when it is from before the machine was started, or from the time when a gitstate was killed with
its git, which left a record; and no process can be its owner any more. The owner made the file, so it existed before we
look, and if it lives, it is seen in /proc:

- It has the file open, whatever program it is.
- It is git, which closes a lock file of a ref before it renames it. Then it works in the repository: its current
  directory is in there, an argument or a variable (``GIT_DIR``) names it, or it has a file of it open.

A file that is still the same one after the look had no owner while we looked, so nobody but us will remove it; and
only holders of our own lock on the repository's directory do. Whatever can't be read in /proc counts as an owner.
A temporary file is in nobody's way but for the room that it takes, so nobody waits for its owner.

Processes that /proc doesn't show, those of another machine or outside of our container, mustn't write to a site's
repositories (docs/decisions/0010-stale-lock-files.md).
"""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import LockedError
from gitstate.core.wording import some_of
from gitstate.store.lock import exclusive

_PROC: Final = Path("/proc")
_INIT: Final = 1
"""Some containers and virtual machines let nobody look into it; it moves no refs."""
_TIMEOUT: Final = 5.0
"""Seconds: to move a ref takes milliseconds, and the git of a killed gitstate may outlive it for a moment."""
_PAUSE: Final = 0.05
_COMPLAINT: Final = re.compile(r"(?:\.lock'?|packed-refs\.new|could not lock .*): File exists")
_QUARANTINES: Final = ("tmp_objdir-", "incoming-")
_BESIDE_A_PACK: Final = frozenset((".idx", ".rev", ".bitmap", ".mtimes", ".promisor"))
"""A pack comes before these and goes after its index: without it they are what a killed repack hadn't removed yet."""
_KEPT_HERE: Final = re.compile(rf"receive-pack [0-9]+ on {re.escape(os.uname().nodename)}\n?")


def wait(repository: Path, message: str) -> None:
    """Wait until git's lock files are gone. Raises LockedError with ``message``, which names the one in the way."""
    until = time.monotonic() + _TIMEOUT
    while any(lock_files(repository)):
        if time.monotonic() > until:
            owners = _owners(repository, {one[:2] for path in lock_files(repository) if (one := _identity(path))})
            busy = f"try again when this is done: {some_of(owners, 1)}"
            raise LockedError(message, busy if owners else "no process has it any more: gitstate gc removes it")
        time.sleep(_PAUSE)


def is_in_the_way(said: str) -> bool:
    """Whether git complains of a lock file that is there already."""
    return _COMPLAINT.search(said) is not None


def lock_files(repository: Path) -> Iterator[Path]:
    """The lock files in a repository, and the file beside the lock of packed refs that is in the way as well."""
    yield from repository.glob("*.lock")
    yield from repository.glob("packed-refs.new")
    for folder in ("refs", "objects/info"):
        yield from (repository / folder).rglob("*.lock")


def clear_temporary(repository: Path, *, everywhere: bool = False) -> list[str]:
    """Remove git's temporary files with a warning, unless a process may own one; the processes that may.

    ``everywhere``: also those that take some time to find, and lock files that are in nobody's way. The caller holds
    the repository's own lock.
    """
    return _clear(repository, lambda: _temporary_files(repository, everywhere=everywhere))


def clear_idle(repository: Path) -> list[str]:
    """Remove lock files with a warning, unless a process may own one; those processes."""
    return _clear(repository, lambda: lock_files(repository))


def clear_older_than_boot(repository: Path) -> None:
    """Remove lock files from before the machine was started, with a warning."""
    if any(lock_files(repository)):
        started = _boot_time()
        _clear(repository, lambda: (path for path in lock_files(repository) if _is_older(path, started)))


def _boot_time() -> int:
    """Seconds since the epoch."""
    words = (_PROC / "stat").read_text().split()
    return int(words[words.index("btime") + 1])


def _is_older(path: Path, moment: int) -> bool:
    status = _identity(path)
    return status is not None and status[2] < moment * 10**9


def _clear(repository: Path, find: Callable[[], Iterator[Path]]) -> list[str]:
    if not any(find()):
        return []
    with exclusive(repository):
        found = {path: one for path in find() if (one := _identity(path))}
        if owners := _owners(repository, {one[:2] for one in found.values()}):
            return owners
        stale = [path for path, one in found.items() if _identity(path) == one]
        for path in stale:
            fs.remove_tree(path) if path.is_dir() else path.unlink()
    if stale:
        _tell(repository, stale)
    return []


def _temporary_files(repository: Path, *, everywhere: bool) -> Iterator[Path]:
    """Temporary files, quarantines of pushes, and packs' keep files of the time before refs name what was pushed."""
    objects = repository / "objects"
    yield from repository.glob("*.lock")
    for pattern in ("tmp_*", ".tmp-*-pack-*"):
        yield from (objects / "pack").glob(pattern)
    yield from (one for one in objects.iterdir() if one.name.startswith(_QUARANTINES))
    for keep in (objects / "pack").glob("pack-*.keep"):
        with suppress(FileNotFoundError):
            if _KEPT_HERE.fullmatch(keep.read_text(errors="replace")):
                yield keep
    if everywhere:
        yield from objects.glob("[0-9a-f][0-9a-f]/tmp_obj_*")
        yield from lock_files(repository)
        for path in (objects / "pack").glob("pack-*"):
            if path.suffix in _BESIDE_A_PACK and not path.with_suffix(".pack").exists():
                yield path


def _tell(repository: Path, removed: Sequence[Path]) -> None:
    names = some_of([str(path.relative_to(repository)) for path in removed])
    warnings.warn(f"{repository.name}: removed what a killed git had left: {names}", stacklevel=4)


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Device, inode and ctime: an inode's number may be used again."""
    with suppress(FileNotFoundError):
        status = path.lstat()
        return status.st_dev, status.st_ino, status.st_ctime_ns
    return None


def _owners(repository: Path, locks: set[tuple[int, int]]) -> list[str]:
    """The live processes that may own one of ``locks``, for people to read."""
    place = Path(os.path.realpath(repository))
    pids = [name for name in os.listdir(_PROC) if name.isdigit() and int(name) not in (_INIT, os.getpid())]
    return [_described(pid) for pid in pids if _may_own(_PROC / pid, place, locks)]


def _may_own(process: Path, repository: Path, locks: set[tuple[int, int]]) -> bool:
    try:
        is_git = _is_git(process)
        for descriptor in os.listdir(process / "fd"):
            with suppress(FileNotFoundError):
                status = os.stat(process / "fd" / descriptor)
                if (status.st_dev, status.st_ino) in locks:
                    return True
                if is_git and _is_within(os.readlink(process / "fd" / descriptor), repository):
                    return True
        return is_git and _works_in(process, repository)
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return False
    except OSError:
        return True


def _is_git(process: Path) -> bool:
    name = (process / "comm").read_text(errors="replace").strip()
    return name.startswith("git") and not name.startswith("gitstate")


def _works_in(process: Path, repository: Path) -> bool:
    """Whether a git's current directory is in the repository, or one of its words or variables names that."""
    current = os.readlink(process / "cwd")
    words = b"\0".join(((process / "cmdline").read_bytes(), (process / "environ").read_bytes())).split(b"\0")
    named = {part for word in words for part in (word, word.partition(b"=")[2]) if part}
    places = (os.path.realpath(os.path.join(current, os.fsdecode(part))) for part in named)
    return _is_within(current, repository) or any(_is_within(place, repository) for place in places)


def _is_within(path: str, repository: Path) -> bool:
    return path == str(repository) or path.startswith(f"{repository}/")


def _described(pid: str) -> str:
    try:
        words = (_PROC / pid / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        words = []
    return f"{b' '.join(words).decode(errors='replace')[:80]} (pid {pid})"
