"""What a live tree carries for those who work in it: its name, the prompt, and what mends links after an upgrade."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gitstate.core.data import data_file
from gitstate.core.fs import DescriptorTree
from gitstate.tree.prepare.steps import Concern, Step, Write, check_way, unless_written

ABOUT: Final = b"etc/gitstate/about"
_PROFILE: Final = b"etc/profile.d/gitstate.sh"
_AUTOFIX: Final = b"usr/lib/gitstate/autofix"
_APT: Final = b"etc/apt/apt.conf.d/90gitstate"


def plan(tree: DescriptorTree, name: str) -> Iterator[Step]:
    """All of it; the name only if there is one. Raises HostError where it can't be written."""
    if name:
        yield from _about(tree, name)
    yield from _file(tree, _PROFILE, "the prompt names the tree in a chroot", "profile", "gitstate.sh")
    why = "mends links that a package replaces"
    yield from _file(tree, _AUTOFIX, why, "packages", "autofix", mode=0o755)
    if tree.is_directory(b"etc/apt"):
        yield from _file(tree, _APT, why, "packages", "apt.conf")


def _file(tree: DescriptorTree, path: bytes, why: str, *source: str, mode: int = 0o644) -> list[Step]:
    return unless_written(tree, Write(path, Concern.TREE, why, data_file("hooks", *source).read_bytes(), mode))


def _about(tree: DescriptorTree, name: str) -> Iterator[Step]:
    """Line 1 is ours; whatever stands below it is the admins'."""
    check_way(tree, ABOUT)
    text = tree.read(ABOUT) or b""
    _, _, rest = text.partition(b"\n")
    yield from unless_written(
        tree, Write(ABOUT, Concern.TREE, "line 1 is the tree's name", name.encode() + b"\n" + rest)
    )
