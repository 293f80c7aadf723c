"""Entries to records and back: the mtree(5) text of ``.gitstate``, ``.gitstate-links`` and full manifests.

Pure functions over bytes; docs/format.md (sections 2, 3, 5 and 9) is their specification.
"""

from gitstate.tree.manifest.full import Content, format_full
from gitstate.tree.manifest.read import (
    MAX_ID,
    NO_RECORDS,
    Records,
    UnreadableError,
    is_account,
    parse_directory,
    parse_links,
    resolve,
)
from gitstate.tree.manifest.write import canonical_head, format_directory, format_links, format_time, format_xattrs
