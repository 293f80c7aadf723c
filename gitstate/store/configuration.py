"""The configuration of our repositories, and which configurations we can't read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from gitstate.core import git
from gitstate.core.entry import FORMAT
from gitstate.core.errors import ConfigError

_FOR_CLONES: Final = {
    "merge.directoryRenames": "false",
    "diff.gitstate.textconv": r"sed -E 's/ time=-?[0-9.]+| oid=[0-9a-f]+//g'",
    "merge.gitstate.name": "records, entry by entry",
    "merge.gitstate.driver": "gitstate merge-driver %O %A %B",
}
FOR_CLONES: Final = {**_FOR_CLONES, "core.autocrlf": "false"}
_VALUES: Final = {
    "gc.auto": "0",
    "receive.autogc": "false",
    "maintenance.auto": "false",
    "core.bigFileThreshold": "32m",
    "core.logAllRefUpdates": "true",
    "core.sharedRepository": "false",
    "pack.indexVersion": "2",
    "transfer.fsckObjects": "true",
    "receive.fsckObjects": "true",
    "transfer.unpackLimit": "1",  # a push as one pack, which git syncs, not as loose objects, which it doesn't
    "receive.unpackLimit": "1",
    **_FOR_CLONES,
    "mailmap.blob": "",  # else a .mailmap in the tree decides whose names git shows
    "gitstate.format": str(FORMAT),
}
_VERSION = re.compile("[0-9]{1,9}")
_SECTION = re.compile(r'[ \t]*\[([A-Za-z0-9-]+)(?:[ \t]+"([^"\\]*)")?\][ \t]*')
_VALUE = re.compile(r'[ \t]*([A-Za-z][A-Za-z0-9-]*)[ \t]*= *((?:[^"\\#;\s]+(?: +[^"\\#;\s]+)*)?) *')
_UNUSUAL = re.compile(r"[\0-\x08\x0b-\x1f\x7f]")
_EXTENSIONS: Final = frozenset(
    f"extensions.{name}"
    for name in ("noop", "objectformat", "partialclone", "preciousobjects", "refstorage", "worktreeconfig")
)
_PARTIAL = re.compile(r"extensions\.partialclone|remote\..*\.(promisor|partialclonefilter)", re.DOTALL)
ATTRIBUTES: Final = ".gitstate diff=gitstate merge=gitstate\n"
CLONE_ATTRIBUTES: Final = "* -text -ident -filter -working-tree-encoding !eol diff\n" + ATTRIBUTES


def values(repository: Path) -> Mapping[str, str]:
    """What the repository's configuration says. A plain push obeys it rather than the pusher's own."""
    return {**_VALUES, **git.hooks_of(repository)}


def missing(repository: Path, settings: Mapping[str, str]) -> Mapping[str, str]:
    """What ``settings`` lack of that. An admin's own values stand, except for the hooks' path: a site may be moved."""
    hooks = git.hooks_of(repository)
    return {
        name: value
        for name, value in values(repository).items()
        if name.lower() not in settings or (name in hooks and settings[name.lower()] != value)
    }


def read_plain(text: str) -> dict[str, str] | None:
    """The values of a configuration file, keys in lower case; None if only git can parse it.

    To ask git takes as long as many a command does for its own work.
    """
    first, *parts = f"\n{text}".split("\n[")
    values: dict[str, str] = {}
    for part in (first, *(f"[{part}" for part in parts)):
        found = _parse_part(part)
        if found is None:
            return None
        values |= found
    return values


@lru_cache(maxsize=256)  # most parts of hundreds of repositories' configurations are the same
def _parse_part(part: str) -> Mapping[str, str] | None:
    """The values of a part that begins with [, or that stands before the first one which does."""
    values: dict[str, str] = {}
    section = ""
    if _UNUSUAL.search(part):
        return None
    for line in part.split("\n"):
        if not line.strip(" \t"):
            continue
        if found := _SECTION.fullmatch(line):
            section = found[1] + ("" if found[2] is None else f".{found[2]}")
        elif section and (found := _VALUE.fullmatch(line)):
            values[f"{section}.{found[1]}".lower()] = found[2]
        else:
            return None
    return values


def refuse_foreign(settings: Mapping[str, str], name: str) -> None:
    """Raise ConfigError if the repository ``name`` with these ``settings`` is of a kind that we can't read."""
    if settings.get("extensions.objectformat", "sha1") != "sha1":
        raise ConfigError(f"{name} is a SHA-256 repository", "gitstate reads SHA-1 repositories for now")
    if settings.get("extensions.refstorage", "files") != "files":
        raise ConfigError(f"{name} uses git's refstorage extension", "clone it without, and put the clone here")
    version = settings.get("core.repositoryformatversion", "0")
    unknown = sorted(key for key in settings if key.startswith("extensions.") and key not in _EXTENSIONS)
    if version not in ("0", "1") or (version == "1" and unknown):
        what = unknown[0] if version == "1" else f"repository format {version}"
        raise ConfigError(f"{name} uses git's {what}", "this gitstate doesn't know it: clone the repository without")
    if any(_PARTIAL.fullmatch(key) for key in settings if key.startswith(("extensions.", "remote."))):
        raise ConfigError(f"{name} is a partial clone", "clone it without --filter, and put the clone here")
    declared = settings.get("gitstate.format", str(FORMAT))
    if not _VERSION.fullmatch(declared) or int(declared) > FORMAT:
        hint = "install a newer gitstate"
        raise ConfigError(f"{name} is of format {declared}; this gitstate reads format {FORMAT}", hint)
