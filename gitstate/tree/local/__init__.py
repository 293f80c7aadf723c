"""Files of a prototype that machines may write: links into a directory ``local`` beside them, and their originals.

The original of each stands in the base layer, at its natural path, from where it reaches the machines; what the link
leads to in the prototype is the file that was there before, for who works in the tree, and for machines without layers.

`add`, `remove` and `fix` only look, and refuse everything or nothing; `apply` does what they list. Copies come first
and links last, each in one step, so a run that was killed has lost nothing, and the next one finishes.
"""

from gitstate.tree.local.listing import LIST, writable_path
from gitstate.tree.local.look import File, Original, State, Trees
from gitstate.tree.local.plan import ConflictPolicy, Plan, add, apply, files, fix, open_trees, remove
from gitstate.tree.local.steps import Link, Restore, Step

__all__ = [
    "LIST",
    "ConflictPolicy",
    "File",
    "Link",
    "Original",
    "Plan",
    "Restore",
    "State",
    "Step",
    "Trees",
    "add",
    "apply",
    "files",
    "fix",
    "open_trees",
    "remove",
    "writable_path",
]
