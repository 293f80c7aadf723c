"""Remove what an image must not contain: leftovers of its installation, and what belongs to one machine."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from typing import Final

from gitstate.core.fs import DescriptorTree
from gitstate.tree.policy.globs import literal_parents, union
from gitstate.tree.policy.known import SECRETS
from gitstate.tree.prepare.steps import Clear, Concern, Empty, Link, Remove, Step, Write

POLICY_RC: Final = b"usr/sbin/policy-rc.d"
POLICY_RC_TEXT: Final = (
    b"#!/bin/sh\n# Written by `gitstate prepare` while it installs packages: no daemon starts.\nexit 101\n"
)

_CLEARED: Final = (
    Clear(b"tmp", Concern.LEFTOVERS, "temporary files"),
    Clear(b"var/tmp", Concern.LEFTOVERS, "temporary files"),
    Clear(b"var/log/journal", Concern.LEFTOVERS, "logs"),
    Clear(b"var/cache/apt/archives", Concern.LEFTOVERS, "packages cached by apt", files_only=True),
    Clear(b"var/lib/apt/lists", Concern.LEFTOVERS, "lists of packages", files_only=True),
)
_REMOVED: Final = (
    (b"var/cache/apt/*.bin", "apt's cache"),
    (b"var/cache/debconf/*-old", "backup copy"),
    (b"var/cache/ldconfig/aux-cache", "cache"),
    (b"var/lib/dpkg/*-old", "backup copy"),
    (b"var/lib/dhcp/*.leases", "lease of one machine"),
    (b"var/lib/dhcpcd/*.lease", "lease of one machine"),
    (b"var/lib/NetworkManager/*.lease", "lease of one machine"),
    (b"var/lib/NetworkManager/timestamps", "history of one machine"),
    (b"var/lib/NetworkManager/seen-bssids", "history of one machine"),
    (b"boot/.initrd.img-*.gitstate", "unfinished initrd"),
)
_ROTATED: Final = re.compile(rb".*(?:\.(?:gz|xz|bz2|zst|old|\d+)|-\d{8}(?:\.\w+)?)", re.DOTALL)
_SPARSE_LOGS: Final = (b"var/log/lastlog", b"var/log/faillog")
"""Sparse files whose length depends on the largest user id."""

_MACHINE_ID: Final = b"etc/machine-id"
_DBUS_ID: Final = b"var/lib/dbus/machine-id"
_CONCERNS: Final = {"host-key": Concern.HOST_KEYS, "random-seed": Concern.SECRETS, "machine-secret": Concern.SECRETS}
"""Rules of the policy for secrets that a machine makes again."""


def plan(tree: DescriptorTree) -> Iterator[Step]:
    """The steps that remove all of it."""
    for clear in _CLEARED:
        if any(True for _ in clear.contents(tree)):
            yield clear
    yield from _logs(tree)
    for pattern, why in _REMOVED:
        yield from (Remove(path, Concern.LEFTOVERS, why) for path in _matches(tree, pattern))
    if tree.read(POLICY_RC) == POLICY_RC_TEXT:
        yield Remove(POLICY_RC, Concern.LEFTOVERS, "left by a killed prepare")
    yield from _secrets(tree)
    yield from _machine_id(tree)


def _logs(tree: DescriptorTree) -> Iterator[Step]:
    """Remove rotated logs, truncate the current ones."""
    for path, found in tree.walk(b"var/log"):
        if not stat.S_ISREG(found.st_mode) or path in _SPARSE_LOGS or path.startswith(b"var/log/journal/"):
            continue
        if _ROTATED.fullmatch(path):
            yield Remove(path, Concern.LEFTOVERS, "rotated log")
        elif found.st_size and found.st_nlink == 1:
            yield Empty(path, Concern.LEFTOVERS, "log")


def _secrets(tree: DescriptorTree) -> Iterator[Step]:
    for secret in SECRETS:
        if concern := _CONCERNS.get(secret.rule):
            for pattern in secret.paths:
                yield from (Remove(path, concern, secret.rule.replace("-", " ")) for path in _matches(tree, pattern))
    for path in _matches(tree, b"etc/ssh/ssh_host_*_key.pub"):
        yield Remove(path, Concern.HOST_KEYS, "public host key")


def _machine_id(tree: DescriptorTree) -> Iterator[Step]:
    """Empty, not absent: without the file systemd assumes a first boot."""
    found = tree.lstat(_MACHINE_ID)
    if found is None:
        yield Write(_MACHINE_ID, Concern.MACHINE_ID, "each machine gets its own at boot", b"")
    elif stat.S_ISREG(found.st_mode) and found.st_size:
        yield Empty(_MACHINE_ID, Concern.MACHINE_ID, "each machine gets its own at boot")
    if tree.is_file(_DBUS_ID):
        yield Link(_DBUS_ID, Concern.MACHINE_ID, "D-Bus uses the system's", b"/etc/machine-id")


def _matches(tree: DescriptorTree, pattern: bytes) -> list[bytes]:
    """The regular files that a pattern of the policy matches; none if it begins with a wildcard."""
    parents = literal_parents(pattern)
    if not parents:
        return []
    matches = re.compile(union([pattern]), re.DOTALL).fullmatch
    found = tree.walk(parents[-1]) if b"**" in pattern else _listed(tree, parents[-1])
    return [path for path, about in found if stat.S_ISREG(about.st_mode) and matches(path)]


def _listed(tree: DescriptorTree, directory: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    return ((directory + b"/" + name, found) for name, found in tree.names(directory))
