"""A tree that holds every oddity a root filesystem may hold, made of system calls and outside programs alone.

`build` gives the same tree every time, times included, so that two builds are equal to every judge: that is
how trees are compared that no copying program can copy. It knows nothing of gitstate's code.

What it leaves out on purpose: `trusted.*` and `security.ima` attributes (never recorded), private keys and
password hashes (refused), top directories whose contents are not recorded (`run`, `tmp`, …), and a link
`etc -> /etc` in the top directory, because a test that writes `etc/fstab` would write the machine's own; it
stands in `symlinks`.
"""

import os
import stat
import subprocess
from pathlib import Path

from tests.testing import deep as depths
from tests.testing import oddities, words
from tests.testing.deep import TOO_DEEP
from tests.testing.mutation import mutate
from tests.testing.tree import Tree
from tests.testing.words import CANARY

__all__ = ["CANARY", "TOO_DEEP", "build", "mutate", "remove"]


def build(root: Path, *, sockets: bool = True, wide: int = 500, deep: bool = False) -> None:
    """Fill the empty directory `root`; needs root, git, setfacl, setcap and a file system that can hold it.

    `sockets=False` leaves the sockets out, as check-in does. `deep=True` adds what only programs that walk by
    directory descriptors can reach; such a tree is deleted with `remove` and not with shutil.
    """
    if os.listdir(root):
        raise ValueError(f"{root} is not empty")
    tree = Tree(os.fsencode(root))
    for chapter in (*oddities.CHAPTERS, *words.CHAPTERS):
        chapter(tree)
    oddities.wide(tree, wide)
    if sockets:
        tree.node(b"nodes/socket", stat.S_IFSOCK)
        tree.node(b"only-a-socket/socket", stat.S_IFSOCK)
    if deep:
        depths.plant(tree)
    tree.settle()


def remove(root: Path) -> None:
    """Delete a tree of any depth: shutil.rmtree ends at the recursion limit, rm doesn't."""
    subprocess.run(["rm", "-rf", "--one-file-system", "--", root], check=True)
