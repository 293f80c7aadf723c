"""Boot files on disk: snapshots are exported, kernels copied, texts written, and servers reloaded."""

from gitstate.boot.files.damage import damaged
from gitstate.boot.files.planning import Plan, plan, plan_release
from gitstate.boot.files.services import Outcome, ReloadResult, servers
from gitstate.boot.files.texts import File
from gitstate.boot.files.write import apply, reload
from gitstate.boot.request import machines_that_asked
