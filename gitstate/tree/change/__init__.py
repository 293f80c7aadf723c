"""What differs between two snapshots: pure, from trees and records to words."""

from gitstate.tree.change.describe import as_json, details, meta_json, metadata
from gitstate.tree.change.walk import (
    Added,
    Change,
    LinksChanged,
    Modified,
    ReadDirectory,
    Removed,
    compare,
    compare_links,
)

__all__ = [
    "Added",
    "Change",
    "LinksChanged",
    "Modified",
    "ReadDirectory",
    "Removed",
    "as_json",
    "compare",
    "compare_links",
    "details",
    "meta_json",
    "metadata",
]
