"""Files for admins who work in the live tree: its name, the prompt, hooks that restore links after an upgrade."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gitstate.core.data import data_file
from gitstate.core.fs import DescriptorTree
from gitstate.tree.prepare.steps import Concern, Step, Write, check_parents, write_if_changed

ABOUT: Final = b"etc/gitstate/about"
_PROFILE: Final = b"etc/profile.d/gitstate.sh"
_AUTOFIX: Final = b"usr/lib/gitstate/autofix"
_APT: Final = b"etc/apt/apt.conf.d/90gitstate"


def plan(tree: DescriptorTree, name: str) -> Iterator[Step]:
    """The steps that write them, without a name if it is empty. Raises HostError if they can't be written."""
    if name:
        yield from _about(tree, name)
    yield from _file(tree, _PROFILE, "shows the name in a chroot's prompt", "profile", "gitstate.sh")
    reason = "restores links that a package replaces"
    yield from _file(tree, _AUTOFIX, reason, "packages", "autofix", mode=0o755)
    if tree.is_directory(b"etc/apt"):
        yield from _file(tree, _APT, reason, "packages", "apt.conf")


def _file(tree: DescriptorTree, path: bytes, reason: str, *source: str, mode: int = 0o644) -> list[Step]:
    return write_if_changed(tree, Write(path, Concern.TREE, reason, data_file("hooks", *source).read_bytes(), mode))


def _about(tree: DescriptorTree, name: str) -> Iterator[Step]:
    """Line 1 is ours; the rest belongs to the admins."""
    check_parents(tree, ABOUT)
    text = tree.configuration(ABOUT) or b""
    _, _, rest = text.partition(b"\n")
    yield from write_if_changed(tree, Write(ABOUT, Concern.TREE, "the name of the tree", name.encode() + b"\n" + rest))
