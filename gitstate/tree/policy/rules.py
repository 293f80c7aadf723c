"""A policy in force: how a path is treated, and whether content may be recorded."""

from __future__ import annotations

import enum
import hashlib
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from gitstate.core.entry import Kind
from gitstate.core.errors import UsageError
from gitstate.core.names import display, tree_path
from gitstate.core.wording import some_of
from gitstate.tree.policy import keys
from gitstate.tree.policy.globs import union
from gitstate.tree.policy.known import SECRETS


class Treatment(enum.Enum):
    """What a check-in does with an entry."""

    RECORD = "record"
    SKIP = "skip"
    """Never recorded."""
    METADATA_ONLY = "metadata_only"
    """A directory of which mode and owner are recorded, without time and content."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What may not be recorded: the path, the rule, why, and what to do."""

    path: bytes
    rule: str
    why: str
    hint: str


def refused(refusals: Sequence[Refusal]) -> str:
    """``policy refuses``, and what, with reasons."""
    return f"policy refuses {some_of([f'/{display(one.path)} ({one.why})' for one in refusals])}"


def remedies(refusals: Sequence[Refusal]) -> str:
    """What to do; a line for each if there are several."""
    if len(refusals) == 1:
        return refusals[0].hint
    return some_of([f"/{display(one.path)}: {one.hint}" for one in refusals], separator="\n")


@dataclass(frozen=True, slots=True)
class Rules:
    """The content of a policy file; patterns as written there."""

    skip: tuple[bytes, ...] = ()
    metadata_only: tuple[bytes, ...] = ()
    keep: tuple[bytes, ...] = ()
    refuse: tuple[bytes, ...] = ()
    allow: tuple[tuple[bytes, str], ...] = ()
    selinux: bool = False


METADATA_ONLY_DIRECTORIES: Final = tuple(
    b"""
    proc sys run tmp var/tmp dev/shm dev/pts dev/mqueue dev/hugepages
    var/cache/apt/archives var/lib/apt/lists var/cache/dnf var/cache/libdnf5 var/cache/yum var/cache/PackageKit
    var/cache/zypp var/cache/pacman/pkg var/lib/pacman/sync var/cache/apk
    var/lib/docker var/lib/containers
    """.split()
)
SKIPPED_FILES: Final = (
    b"var/cache/apt/*.bin",
    b"var/lib/dpkg/status-old",
    b"var/cache/ldconfig/aux-cache",
    b"var/**/*.pid",
)
"""Regular files only: a directory or link of such a name is recorded."""

LARGEST: Final = 1 << 20
"""Larger files (bytes) are not searched for private keys."""

_RULES_VERSION: Final = 1
"""To be raised with every change of what ``inspect`` finds, so that older caches are not used."""

# Trees of packaged content, where keys are samples: /usr but what an administrator puts there, and app stores.
_PACKAGED: Final = (
    rb"(?:usr/(?!local/|etc/)|lib(?:32|64|x32)?/|s?bin/|var/lib/flatpak/|nix/store/|gnu/store/|ostree/).*"
)

_RECORD, _SKIP, _METADATA_ONLY = Treatment
_DIRECTORY, _FILE = Kind.DIRECTORY, Kind.FILE
_BY_GROUP: Final = (_RECORD, _RECORD, _SKIP, _METADATA_ONLY)
_KEY_RULE: Final = "private-key"
_KEY_HINT: Final = "move it out of the prototype"


def _compile(*groups: bytes) -> re.Pattern[bytes]:
    """One expression; ``lastindex`` of a match is the number of the first of ``groups`` that matches."""
    return re.compile(b"|".join(b"(" + group + b")" for group in groups), re.DOTALL)


_known_secret = _compile(*(union(secret.paths) for secret in SECRETS)).fullmatch


class Policy:
    """What is never recorded and what is refused. Immutable: threads may share it.

    ``digest`` changes whenever a rule does, so that a cache made under other rules is recognised.
    """

    def __init__(self, rules: Rules, *, defaults: bool = True, once: tuple[bytes, ...] = ()) -> None:
        keep, skip = union(rules.keep), union(rules.skip)
        directories = METADATA_ONLY_DIRECTORIES if defaults else ()
        files = SKIPPED_FILES if defaults else ()
        self._rules, self._once = rules, once
        self._directory = _compile(keep, skip, union((*directories, *rules.metadata_only))).fullmatch
        self._file = _compile(keep, union((*files, *rules.skip))).fullmatch
        self._other = _compile(keep, skip).fullmatch
        self._allowed = _compile(union((*(pattern for pattern, _ in rules.allow), *once))).fullmatch
        self._refused = _compile(union(rules.refuse)).fullmatch if rules.refuse else None
        self._packaged = _compile(_PACKAGED if defaults else b".*").fullmatch
        self.selinux = rules.selinux
        self.digest = _digest(rules, directories, files)

    def treatment(self, path: bytes, kind: Kind) -> Treatment:
        """How to treat the entry at ``path``, relative to the root and never the root itself."""
        if kind is _FILE:
            match = self._file(path)
        elif kind is _DIRECTORY:
            match = self._directory(path)
        else:
            match = self._other(path)
        return _RECORD if match is None else _BY_GROUP[match.lastindex or 0]

    def inspects(self, path: bytes, size: int) -> bool:
        """Whether the content of a new or changed file of ``size`` bytes must be inspected.

        Of a file too large for memory, ``inspect`` needs the beginning only.
        """
        if not size:
            return False
        if self._refused is not None and self._refused(path):
            return not self._allowed(path)
        if self._packaged(path) or (size > LARGEST and not _known_secret(path)):
            return False
        return not self._allowed(path)

    def allows(self, path: bytes) -> bool:
        """Whether somebody gave a reason to record ``path`` whatever it is."""
        return self._allowed(path) is not None

    def inspect(self, path: bytes, data: bytes) -> Refusal | None:
        """Why ``data`` may not be recorded at ``path``; None if it may. Pure."""
        if not self.inspects(path, len(data)):
            return None
        if self._refused is not None and self._refused(path):
            return _refusal(path, "policy", "the policy file refuses this path", "remove it")
        known = _known_secret(path)
        if known:
            secret = SECRETS[(known.lastindex or 0) - 1]
            if why := secret.find(data):
                return _refusal(path, secret.rule, why, secret.hint)
        why = keys.find(data[:LARGEST])
        return _refusal(path, _KEY_RULE, why, _KEY_HINT) if why else None

    def allowing(self, paths: Iterable[tuple[bytes, str]]) -> Policy:
        """This policy with nothing refused at ``paths``, pairs of a pattern and the reason. Raises UsageError.

        The digest stays the same: a cache made with an allowance is valid without it.
        """
        patterns = [*self._once]
        for path, because in paths:
            if not because.strip():
                raise UsageError(f"--allow {display(path)} has no reason", "add --because TEXT, which history keeps")
            pattern = tree_path(path)
            try:
                union((pattern,))
            except ValueError as error:
                raise UsageError(f"--allow {display(path)} {error}", "see docs/policy.md for patterns") from None
            patterns.append(pattern)
        return Policy(self._rules, once=tuple(patterns))

    def recording_everything(self) -> Policy:
        """A policy that records everything and refuses nothing: for a tree that has been a snapshot."""
        return Policy(Rules(selinux=self.selinux, allow=((b"**", "it has been recorded"),)), defaults=False)


def _digest(rules: Rules, directories: Iterable[bytes], files: Iterable[bytes]) -> bytes:
    known = [(secret.rule, secret.paths) for secret in SECRETS]
    directories, allowed = (*directories, *rules.metadata_only), [pattern for pattern, _ in rules.allow]
    lists = [rules.skip, rules.keep, rules.refuse, directories, files, allowed]
    text = repr((_RULES_VERSION, rules.selinux, known, [sorted(set(patterns)) for patterns in lists]))
    return hashlib.sha1(text.encode("ascii"), usedforsecurity=False).digest()


def _refusal(path: bytes, rule: str, why: str, hint: str) -> Refusal:
    pattern = display(path).replace("*", r"\052").replace("?", r"\077")
    return Refusal(path, rule, why, f"{hint}; or check in with --allow {shlex.quote(pattern)} --because TEXT")
