"""A revision that isn't a plain name, in git's own syntax; and why git finds none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from gitstate.core.errors import DamagedError, NotFoundError
from gitstate.core.process import ProgramError
from gitstate.store.refs import plain_name, read_ref, read_refs

if TYPE_CHECKING:
    from gitstate.store.repository import Repository

_ID: Final = re.compile("[0-9a-f]{40}")


def asked_of_git(repository: Repository, revision: str, damage: DamagedError | None) -> bytes:
    """The commit that git finds. Raises NotFoundError with the nearest names.

    Raises DamagedError for a ref that stands, and ``damage``, what was wrong with the commit, if a branch names that.
    """
    asked = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    found = ""
    try:
        found = repository.git(*asked).decode().strip()
    except ProgramError as error:
        if error.tells_of_damage:
            raise
    if not _ID.fullmatch(found):  # `a..b` is two ids, and `^a` is one in front of which a sign stands
        first = re.split("[~^:@]", revision, maxsplit=1)[0] or "HEAD"
        _check_reference(repository, first)
        if damage is not None and (first == "HEAD" or read_ref(repository.path, f"refs/heads/{first}")):
            raise damage
        raise _not_found(repository, revision)
    return bytes.fromhex(found)


def _check_reference(repository: Repository, name: str) -> None:
    """Raise DamagedError if ``name`` is a ref after all, which can't be read or whose object can't.

    So does the id at which a ref stands.
    """
    target = plain_name(repository.path, name)
    if target is None and _ID.fullmatch(name):
        target = next((oid for oid in read_refs(repository.path, "refs/").values() if oid.hex() == name), None)
    if target is not None:
        repository.peeled(target)


def _not_found(repository: Repository, revision: str) -> NotFoundError:
    import difflib  # only who errs waits for it

    names = repository.names()
    near = difflib.get_close_matches(revision, names, n=3, cutoff=0.5) or sorted(names)[:3]
    hint = f"did you mean {', '.join(near)}?" if near else "nothing is checked in yet: gitstate checkin"
    return NotFoundError(f"{repository.name} has no revision {revision!r}", hint)
