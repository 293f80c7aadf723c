"""What can be done to a live tree, each as one value that can be shown before it is done."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

from gitstate.core.errors import HostError
from gitstate.core.fs import DescriptorTree
from gitstate.core.names import display


class Concern(StrEnum):
    """What a step is for, in the order in which the result tells of it."""

    LEFTOVERS = "leftovers"
    HOST_KEYS = "host keys"
    SECRETS = "machine's secrets"
    MACHINE_ID = "machine-id"
    FSTAB = "fstab"
    INTERFACE = "boot interface"
    JOURNAL = "journal"
    SSHD = "sshd"
    UPDATED = "no update at boot"
    HOOK = "boot hook"
    TREE = "work in the tree"
    CLIENT = "client program"
    INITRD = "initrd"


class Step(Protocol):
    """One thing to do. ``do`` is its verb, ``why`` says more than the concern where that helps."""

    do: ClassVar[str]

    @property
    def path(self) -> bytes: ...

    @property
    def concern(self) -> Concern: ...

    @property
    def why(self) -> str: ...

    def apply(self, tree: DescriptorTree) -> None: ...


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove what stands there, a directory with all below it."""

    do: ClassVar[str] = "remove"
    path: bytes
    concern: Concern
    why: str

    def apply(self, tree: DescriptorTree) -> None:
        tree.remove(self.path)


@dataclass(frozen=True, slots=True)
class Clear:
    """Remove all that is in a directory, or its files alone."""

    do: ClassVar[str] = "clear"
    path: bytes
    concern: Concern
    why: str
    files_alone: bool = False

    def apply(self, tree: DescriptorTree) -> None:
        for path in list(self.doomed(tree)):
            tree.remove(path)

    def doomed(self, tree: DescriptorTree) -> Iterator[bytes]:
        """What goes."""
        if self.files_alone:
            yield from (path for path, found in tree.walk(self.path) if not stat.S_ISDIR(found.st_mode))
        else:
            yield from (self.path + b"/" + name for name, _ in tree.names(self.path))


@dataclass(frozen=True, slots=True)
class Empty:
    """Leave nothing in a file."""

    do: ClassVar[str] = "empty"
    path: bytes
    concern: Concern
    why: str

    def apply(self, tree: DescriptorTree) -> None:
        tree.truncate(self.path)


@dataclass(frozen=True, slots=True)
class Write:
    """Write a whole file of root's; with a time, in nanoseconds, if that matters."""

    do: ClassVar[str] = "write"
    path: bytes
    concern: Concern
    why: str
    data: bytes
    mode: int = 0o644
    time: int | None = None

    def apply(self, tree: DescriptorTree) -> None:
        tree.write(self.path, self.data, self.mode, self.time)


@dataclass(frozen=True, slots=True)
class Link:
    """Put a symlink there."""

    do: ClassVar[str] = "link"
    path: bytes
    concern: Concern
    why: str
    target: bytes

    def apply(self, tree: DescriptorTree) -> None:
        tree.link(self.path, self.target)


@dataclass(frozen=True, slots=True)
class Touch:
    """Set a time, in nanoseconds."""

    do: ClassVar[str] = "touch"
    path: bytes
    concern: Concern
    why: str
    time: int

    def apply(self, tree: DescriptorTree) -> None:
        tree.touch(self.path, self.time)


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Make an empty directory."""

    do: ClassVar[str] = "make"
    path: bytes
    concern: Concern
    why: str
    mode: int = 0o755

    def apply(self, tree: DescriptorTree) -> None:
        tree.make_directory(self.path, self.mode)


def unless_written(tree: DescriptorTree, step: Write) -> list[Step]:
    """``step``, unless the file is like that already. Raises HostError where it can't be written."""
    check_way(tree, step.path)
    found = tree.lstat(step.path)
    if found is not None and stat.S_ISREG(found.st_mode):
        same = (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (step.mode, 0, 0)
        if same and found.st_size == len(step.data) and tree.read(step.path) == step.data:
            return []
    elif found is not None and stat.S_ISDIR(found.st_mode):
        raise HostError(f"/{display(step.path)} of the live tree is a directory", "gitstate writes a file there")
    return [step]


def check_way(tree: DescriptorTree, path: bytes) -> None:
    """Raise HostError if a symlink, a mount or no directory is on the way to ``path``."""
    above = b""
    for part in path.split(b"/")[:-1]:
        above = above + b"/" + part if above else part
        found = tree.lstat(above)
        if found is None:
            return
        if not tree.is_directory(above):
            what = "a symlink" if stat.S_ISLNK(found.st_mode) else "a mount point, or no directory"
            raise HostError(
                f"/{display(above)} of the live tree is {what}", f"gitstate writes /{display(path)} to no other place"
            )
