"""Revisions: plain names are resolved by ourselves, everything else by git."""

from __future__ import annotations

import re
from typing import Final

from gitstate.core import git, process
from gitstate.core.errors import DamagedError, NotFoundError
from gitstate.core.failures import ProgramError
from gitstate.core.wording import did_you_mean, nearest, some_of
from gitstate.store.objects import parse_commit
from gitstate.store.odb import Objects
from gitstate.store.refs import plain_name, read_ref, read_refs, short_names

_ID: Final = re.compile("[0-9a-f]{40}")
_PLAIN: Final = re.compile("([^~^]+)((?:~[0-9]{0,4}|\\^[0-9]{0,2})*)")
_STEP: Final = re.compile("([~^])([0-9]*)")


def resolve(objects: Objects, revision: str, name: str) -> bytes:
    """The commit that ``revision`` names in the repository ``name``. Raises NotFoundError, DamagedError."""
    damage = None
    try:
        oid = identify(objects, revision)
        if oid is not None:
            return objects.commit(oid)[0]
    except DamagedError as error:  # of an id git may say that there is no such object
        damage = error
    found = _ask_git(objects, revision)
    if not _ID.fullmatch(found):  # `a..b` is two ids, and `^a` is an id with a sign in front
        raise _not_found(objects, revision, name, damage)
    return bytes.fromhex(found)


def identify(objects: Objects, revision: str) -> bytes | None:
    """The object of an id or a plain name, with ``~2`` or ``^`` behind it; None: ask git. Raises DamagedError."""
    found = _PLAIN.fullmatch(revision)
    oid = None
    if found:
        oid = bytes.fromhex(found[1]) if _ID.fullmatch(found[1]) else plain_name(objects.path, found[1])
    for sign, count in _STEP.findall(found[2]) if found else ():
        for parent in [1] * int(count or 1) if sign == "~" else [int(count or 1)]:
            oid = _parent(objects, oid, parent) if oid else None
    return oid


def _parent(objects: Objects, oid: bytes, number: int) -> bytes | None:
    """The parent ``number``, from 1; 0 is the commit itself."""
    oid, data = objects.commit(oid)
    commits = (oid, *parse_commit(data).parents)
    return commits[number] if number < len(commits) else None


def _ask_git(objects: Objects, revision: str) -> str:
    """What ``git rev-parse`` prints; empty if it finds no such revision. Raises its error if it tells of damage."""
    words = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    try:
        return process.run(git.on(objects.path, *words)).decode().strip()
    except ProgramError as error:
        if isinstance(error, DamagedError):
            raise
    return ""


def _not_found(objects: Objects, revision: str, name: str, damage: DamagedError | None) -> DamagedError | NotFoundError:
    """The error for a revision that git doesn't find: ``damage`` if a branch is at a damaged commit."""
    first = re.split("[~^:@]", revision, maxsplit=1)[0] or "HEAD"
    _check_ref(objects, first)
    if damage is not None and (first == "HEAD" or read_ref(objects.path, f"refs/heads/{first}")):
        return damage
    names = short_names(objects.path)
    there_are = (
        f"its branches and tags: {some_of(sorted(names))}" if names else "nothing is checked in yet: gitstate checkin"
    )
    hint = did_you_mean(nearest(revision, names), there_are)
    return NotFoundError(f"{name} has no revision {revision!r}", hint)


def _check_ref(objects: Objects, name: str) -> None:
    """Raise DamagedError if ``name`` is a ref, or the id of one, that can't be read."""
    target = plain_name(objects.path, name)
    if target is None and _ID.fullmatch(name):
        target = next((oid for oid in read_refs(objects.path, "refs/").values() if oid.hex() == name), None)
    if target is not None:
        objects.peeled(target)
