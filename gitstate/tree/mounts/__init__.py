"""What is mounted in a live tree so that programs work in it: for processes of our own, or in view of all."""

from gitstate.tree.mounts.inside import before, in_chroot, in_container
from gitstate.tree.mounts.make import apply, furnish
from gitstate.tree.mounts.plan import Mount, Plan, Scope, plan
from gitstate.tree.mounts.view import plan_view, points_in_view, unview, view

__all__ = [
    "Mount",
    "Plan",
    "Scope",
    "apply",
    "before",
    "furnish",
    "in_chroot",
    "in_container",
    "plan",
    "plan_view",
    "points_in_view",
    "unview",
    "view",
]
