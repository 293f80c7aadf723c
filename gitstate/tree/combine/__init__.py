"""Merge two snapshots that began as a third one, entry by entry: what update, revert and review do.

Pure but for ``git merge-file``, which merges texts and leaves nothing behind.
"""

from gitstate.tree.combine.branch import Joined, join_branch
from gitstate.tree.combine.models import Conflict, MergedTree, MergeText, Reason, TextMerge
from gitstate.tree.combine.text import merge_text
from gitstate.tree.combine.trees import merge_trees
