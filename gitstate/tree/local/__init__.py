"""Writable files of a prototype: links into a directory ``local`` beside them.

The original of each is in the base layer, at its own path, from where machines get it. In the prototype the link leads
to the file that was there before, for admins who work in the tree and for machines without layers.

`add`, `remove` and `fix` only plan, for all files or none; `apply` carries the plan out. It copies first and links
last, each step atomic, so a killed run loses nothing and the next one finishes.
"""

from gitstate.tree.local.listing import parse_path
from gitstate.tree.local.plan import (
    BASE,
    ConflictPolicy,
    Plan,
    add,
    apply,
    files,
    fix,
    open_prototype,
    open_trees,
    remove,
)
from gitstate.tree.local.state import Original, State, Trees
from gitstate.tree.local.steps import Link, Restore
