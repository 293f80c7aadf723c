"""A root shell in a live tree, whose package managers' runs are checked in one by one.

Nothing of it is in the tree: mounts, scripts and hooks are in a namespace of the shell alone, and end with it.
"""

from gitstate.tree.shell.enter import Plan, Way, plan, run
from gitstate.tree.shell.options import ShellTable, load
from gitstate.tree.shell.record import Recorder

__all__ = ["Plan", "Recorder", "ShellTable", "Way", "load", "plan", "run"]
