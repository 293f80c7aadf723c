"""Paths on the command line: relative to the current directory inside a live tree, as git's are; else from the root."""

from __future__ import annotations

import os
from pathlib import Path

import click

from gitstate.cli.base.help import Command
from gitstate.core.names import Locate, tree_path

DASHES = "--"


class PathsCommand(Command):
    """A command whose words may be divided by ``--``, which click alone would drop."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if DASHES in args:
            place = args.index(DASHES)
            args = [*args[:place], DASHES, *args[place:]]
        return super().parse_args(ctx, args)


def locate(live: Path | None) -> Locate:
    """How paths of the command line become paths in the live tree, which may be absent.

    An absolute one is from its root, or leads into it from the machine's root.
    """
    root = None if live is None else os.fsencode(os.path.realpath(live))
    here = os.fsencode(os.path.realpath(Path.cwd()))
    below = _below(here, root) if root else None

    def find(text: bytes) -> bytes:
        inside = _below(text, root) if root and root != b"/" and text.startswith(b"/") else None
        return tree_path(text, below) if inside is None else tree_path(inside)

    return find


def is_inside(live: Path | None) -> bool:
    """Whether the current directory is in the live tree."""
    return live is not None and Path(os.path.realpath(Path.cwd())).is_relative_to(os.path.realpath(live))


def _below(path: bytes, root: bytes) -> bytes | None:
    """A path from ``root`` on; None if it isn't in there."""
    if path == root or root == b"/":
        return path[len(root) :]
    return path[len(root) + 1 :] if path.startswith(root + b"/") else None
