"""Scan an upper directory over a commit, under the policy that the overlay of both shows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.monitor import Observer
from gitstate.store import Repository
from gitstate.tree.overlay.lower import Lower
from gitstate.tree.overlay.marks import TRUSTED, USER, AttributeNotes, Notes, UnknownMarkError
from gitstate.tree.overlay.scan import UpperScanner, unreadable
from gitstate.tree.policy import Policy, parse, policy_path
from gitstate.tree.scan.content import Sink
from gitstate.tree.scan.models import BaseSnapshot, Scan

_POLICY_LIMIT: Final = 1 << 20


def scan_upper(
    repository: Repository,
    upper: Path,
    base: bytes,
    allow: Iterable[tuple[bytes, str]],
    sink: Sink,
    observer: Observer,
    notes: Notes | None = None,
) -> tuple[Scan, Policy]:
    """Scan ``upper`` over the commit ``base``; ``allow`` are paths that policy would refuse, with reasons.

    ``notes`` None: its marks are attributes, as a mounted overlay with that upper directory has them, else as root's.
    Raises HostError, ConfigError, UsageError, StorageError, DamagedError.
    """
    tree = repository.snapshot(base).tree
    root = fs.open_tree(upper)
    try:
        notes = notes or AttributeNotes(_prefix(upper))
        own = policy_path(is_layer=repository.is_layer)
        where = str(upper / own.decode())
        try:
            text = Lower(repository.read, tree).shown(root, own, notes, _POLICY_LIMIT, where)
        except UnknownMarkError as error:
            raise unreadable(str(error)) from None
        policy = parse(text, where, own)
        observer.phase("scan")
        below = BaseSnapshot(repository.read, repository.has_packed, tree)
        scanner = UpperScanner(root, below, repository.size_of, policy.allowing(allow), notes, sink, observer)
        return scanner.run(), policy
    finally:
        os.close(root)


def _prefix(upper: Path) -> bytes:
    """What the names of the marks of this upper directory begin with."""
    options = None
    with suppress(OSError):
        options = fs.overlay_options(upper)
    return USER if options and "userxattr" in options else TRUSTED
