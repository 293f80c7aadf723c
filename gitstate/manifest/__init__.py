"""Entries <-> records: the mtree(5) text of ``.gitstate``, ``.gitstate-links`` and full manifests.

Pure functions over bytes; docs/format.md (sections 2, 3, 5 and 9) is their specification.
"""

from gitstate.manifest.full import Content, format_full
from gitstate.manifest.precedence import resolve
from gitstate.manifest.read import MAX_ID, NO_RECORDS, Records, Unreadable, is_account, parse_directory, parse_links
from gitstate.manifest.write import FORMAT, format_directory, format_links, format_time, format_xattrs

__all__ = [
    "FORMAT",
    "MAX_ID",
    "NO_RECORDS",
    "Content",
    "Records",
    "Unreadable",
    "format_directory",
    "format_full",
    "format_links",
    "format_time",
    "format_xattrs",
    "is_account",
    "parse_directory",
    "parse_links",
    "resolve",
]
