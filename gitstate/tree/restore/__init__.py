"""Make a live tree, or paths of it, as they are in a snapshot: only what differs is written.

Nothing is written but by descriptors below the live tree's root, no symlink is followed, no mount entered. What
replaces an entry is made elsewhere in the tree and renamed, so at any moment the old or the new one stands.
"""

from gitstate.tree.restore.databases import torn
from gitstate.tree.restore.models import Counts, Plan, Request
from gitstate.tree.restore.planning import changes, plan, plan_after
from gitstate.tree.restore.run import directory, run
from gitstate.tree.restore.standing import moment
from gitstate.tree.restore.write import apply
