"""The steps that change a live tree, as values: a plan can be printed before it is applied."""

from __future__ import annotations

import stat
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from gitstate.core.errors import HostError
from gitstate.core.fs import DescriptorTree
from gitstate.core.names import display


class Concern(StrEnum):
    """What a step is for, in the order of the result."""

    LEFTOVERS = "leftovers"
    HOST_KEYS = "host keys"
    SECRETS = "per-machine secrets"
    MACHINE_ID = "machine-id"
    FSTAB = "fstab"
    INTERFACE = "boot interface"
    JOURNAL = "journal"
    SSHD = "sshd"
    UPDATED = "no update at boot"
    HOOK = "boot hook"
    TREE = "chroot"
    CLIENT = "client program"
    INITRD = "initrd"


@dataclass(frozen=True, slots=True)
class Step(ABC):
    """One step. ``reason`` says more than the concern where that helps."""

    action: ClassVar[str]
    path: bytes
    concern: Concern
    reason: str

    @abstractmethod
    def apply(self, tree: DescriptorTree) -> None: ...


@dataclass(frozen=True, slots=True)
class Remove(Step):
    """Remove a file, or a directory with everything below it."""

    action: ClassVar[str] = "remove"

    def apply(self, tree: DescriptorTree) -> None:
        tree.remove(self.path)


@dataclass(frozen=True, slots=True)
class Clear(Step):
    """Remove everything in a directory, or only its files."""

    action: ClassVar[str] = "clear"
    files_only: bool = False

    def apply(self, tree: DescriptorTree) -> None:
        for path in list(self.contents(tree)):
            tree.remove(path)

    def contents(self, tree: DescriptorTree) -> Iterator[bytes]:
        """The paths to remove."""
        if self.files_only:
            yield from (path for path, found in tree.walk(self.path) if not stat.S_ISDIR(found.st_mode))
        else:
            yield from (self.path + b"/" + name for name, _ in tree.names(self.path))


@dataclass(frozen=True, slots=True)
class Empty(Step):
    """Truncate a file."""

    action: ClassVar[str] = "empty"

    def apply(self, tree: DescriptorTree) -> None:
        tree.truncate(self.path)


@dataclass(frozen=True, slots=True)
class Write(Step):
    """Write a file owned by root; ``time`` in nanoseconds."""

    action: ClassVar[str] = "write"
    data: bytes
    mode: int = 0o644
    time: int | None = None

    def apply(self, tree: DescriptorTree) -> None:
        tree.write(self.path, self.data, self.mode, self.time)


@dataclass(frozen=True, slots=True)
class Link(Step):
    """Make a symlink."""

    action: ClassVar[str] = "link"
    target: bytes

    def apply(self, tree: DescriptorTree) -> None:
        tree.link(self.path, self.target)


@dataclass(frozen=True, slots=True)
class Touch(Step):
    """Set the time of modification, in nanoseconds."""

    action: ClassVar[str] = "touch"
    time: int

    def apply(self, tree: DescriptorTree) -> None:
        tree.touch(self.path, self.time)


@dataclass(frozen=True, slots=True)
class MakeDirectory(Step):
    """Make an empty directory."""

    action: ClassVar[str] = "make"
    mode: int = 0o755

    def apply(self, tree: DescriptorTree) -> None:
        tree.make_directory(self.path, self.mode)


def write_if_changed(tree: DescriptorTree, step: Write) -> list[Step]:
    """``step``, unless the file is up to date. Raises HostError if it can't be written."""
    check_parents(tree, step.path)
    found = tree.lstat(step.path)
    if found is not None and stat.S_ISREG(found.st_mode):
        same = (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (step.mode, 0, 0)
        if same and found.st_size == len(step.data) and tree.read(step.path) == step.data:
            return []
    elif found is not None and stat.S_ISDIR(found.st_mode):
        hint = "remove it: gitstate writes a file there"
        raise HostError(f"/{display(step.path)} of the live tree is a directory", hint)
    return [step]


def check_parents(tree: DescriptorTree, path: bytes) -> None:
    """Raise HostError if a parent of ``path`` is a symlink, a mount point or no directory."""
    parent = b""
    for part in path.split(b"/")[:-1]:
        parent = parent + b"/" + part if parent else part
        found = tree.lstat(parent)
        if found is None:
            return
        if not tree.is_directory(parent):
            what = "a symlink" if stat.S_ISLNK(found.st_mode) else "a mount point, or no directory"
            hint = f"gitstate has to write /{display(path)}, and follows no link"
            raise HostError(f"/{display(parent)} of the live tree is {what}", hint)
