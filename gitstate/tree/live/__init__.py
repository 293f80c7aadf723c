"""Live trees that are overlays: mounted, made of a directory and back, their edits folded into a new layer below.

Each step leaves a state in which every edit is there and the same command, run again, finishes.
"""

from gitstate.tree.live.plan import Action, Plan, is_empty, plan
from gitstate.tree.live.run import apply
