"""Chains of directories that only programs that walk by directory descriptors can reach."""

import os
from collections.abc import Sequence

from tests.testing.tree import LAST_ID, SECOND, Tree, time_drawn_from

TOO_DEEP = (b"deep-long", b"deep-chain")
"""The top directories: paths beyond PATH_MAX, and 1,100 levels."""


def plant(tree: Tree) -> None:
    """40 levels of 120-byte names, 4,840 bytes in all, and 1,100 levels, where recursion ends."""
    _chain(tree, b"deep-long", [b"%03d-" % level + b"n" * 116 for level in range(40)])
    _chain(tree, b"deep-chain", [b"d"] * 1100)


def _chain(tree: Tree, top: bytes, names: Sequence[bytes]) -> None:
    """A chain of directories made by descriptors, with all that an entry can have at its end.

    A directory's time is set when its only child stands; nothing is made in it any more after that.
    """
    tree.directory(top)
    tree.file(top + b"/linked", b"from the top to the end\n")
    outermost = here = os.open(os.path.join(tree.root, top), os.O_RDONLY | os.O_DIRECTORY)
    for level, name in enumerate(names):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
        os.fchmod(below, 0o755 if level % 3 else 0o2750)
        if here != outermost:
            _set_time(here, level)
            os.close(here)
        here = below
    _end_of_chain(here, outermost)
    _set_time(here, len(names))
    os.close(here)
    os.close(outermost)


def _end_of_chain(here: int, outermost: int) -> None:
    """A file with metadata, a link, a fifo, an empty directory and a second name of a file at the top."""
    file = os.open(b"file", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=here)
    os.write(file, b"at the end\n")
    os.fchown(file, 42, LAST_ID)
    os.fchmod(file, 0o4751)
    os.setxattr(file, b"user.deep", b"\0\xff")
    _set_time(file, -1)
    os.close(file)
    os.symlink(b"../../../../etc", b"link", dir_fd=here)
    os.mkfifo(b"fifo", 0o600, dir_fd=here)
    os.mkdir(b"empty", 0o700, dir_fd=here)
    for name in (b"link", b"fifo", b"empty"):
        os.utime(name, ns=(SECOND, SECOND), dir_fd=here, follow_symlinks=False)
    os.link(b"linked", b"linked", src_dir_fd=outermost, dst_dir_fd=here)


def _set_time(descriptor: int, number: int) -> None:
    when = time_drawn_from(b"level %d" % number)
    os.utime(descriptor, ns=(when, when))
