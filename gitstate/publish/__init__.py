"""Boot files on disk: what the directory asks for is exported, copied and written, and servers are told of it."""

from gitstate.publish.asked import machines_that_asked
from gitstate.publish.planning import Plan, plan, plan_release
from gitstate.publish.services import Outcome, Told, servers
from gitstate.publish.texts import File
from gitstate.publish.write import apply, lock, tell

__all__ = [
    "File",
    "Outcome",
    "Plan",
    "Told",
    "apply",
    "lock",
    "machines_that_asked",
    "plan",
    "plan_release",
    "servers",
    "tell",
]
