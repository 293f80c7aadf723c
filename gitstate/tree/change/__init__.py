"""Compare two snapshots, and describe the changes. Pure."""

from gitstate.tree.change.describe import as_json, details, meta_json, metadata
from gitstate.tree.change.walk import Added, Change, LinksChanged, Modified, Removed, compare, compare_links
