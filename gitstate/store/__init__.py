"""Objects, packs, refs and locks of repositories, and where the repositories of a site are."""

from gitstate.store.objects import Commit, TreeItem, Type, object_id
from gitstate.store.repository import MAIN, Repository, Snapshot
from gitstate.store.small import write_objects
from gitstate.store.staging import Staging
