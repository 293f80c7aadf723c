"""What each way to record edits needs: a branch to record on, a message, and nothing that policy refuses."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from gitstate.core.errors import ConflictError, NotFoundError, RefusedError, UsageError
from gitstate.core.names import octal
from gitstate.core.wording import some_of
from gitstate.store import Repository
from gitstate.store.repository import Snapshot
from gitstate.tree.policy import refused, remedies
from gitstate.tree.scan.models import Findings

_BRANCH: Final = re.compile(r"(?!.*\.lock$)[A-Za-z0-9]([A-Za-z0-9._+-]*[A-Za-z0-9_+-])?")
_LONGEST_BRANCH: Final = 200
_ALLOWED: Final = "Gitstate-Allow:"


@dataclass(frozen=True, slots=True)
class Allowance:
    """A path that policy would refuse, and the reason to record it nevertheless."""

    path: bytes
    because: str


def branch_name(text: str) -> str:
    """A branch's name. Raises UsageError for what git doesn't take."""
    parts = text.split("/")
    if len(text) > _LONGEST_BRANCH or text == "HEAD" or ".." in text or not all(map(_BRANCH.fullmatch, parts)):
        raise UsageError(f"{text!r} is not a branch's name", "letters, digits and . _ + - /, but not HEAD")
    return text


def require_free(repository: Repository, branch: str) -> None:
    """Raise ConflictError if git can't have a branch of that name beside those that there are."""
    ref = f"refs/heads/{branch}"
    for other in repository.refs("refs/heads/"):
        if f"{other}/".startswith(f"{ref}/") or ref.startswith(f"{other}/"):
            name = other.removeprefix("refs/heads/")
            hint = "choose another name: --branch NAME"
            raise ConflictError(f"there is a branch {name}, so git can't have a branch {branch}", hint)


def refuse(findings: Findings) -> None:
    """Raise RefusedError for what policy refuses."""
    if refusals := findings.refusals:
        raise RefusedError(f"nothing recorded, {refused(refusals)}", remedies(refusals))


def amendable(repository: Repository, ref: str, own: Collection[str], seen: bytes | None) -> Snapshot:
    """The commit at the end of a branch, to be replaced while nothing else has it; ``own`` are refs that go along.

    Raises NotFoundError, and ConflictError for a merge, for what a release, a tag or another branch has, and for
    another commit than ``seen``, if that is known.
    """
    tip = repository.ref(ref)
    if tip is None:
        raise NotFoundError(f"{repository.name} has no check-in to amend", "check in without --amend")
    if seen not in (None, tip):
        raise ConflictError(f"there is another check-in meanwhile, {tip.hex()[:7]}", "look at it, and amend that")
    found = repository.snapshot(tip)
    if len(found.parents) > 1:
        raise ConflictError(f"{tip.hex()[:7]} is a merge", "check in a new commit instead")
    listed = repository.git("for-each-ref", "--format=%(refname)", "--contains", tip.hex()).decode().split()
    if others := [name.removeprefix("refs/").removeprefix("heads/") for name in listed if name not in own]:
        hint = "it stays as it is: check in a new commit, without --amend"
        raise ConflictError(f"{tip.hex()[:7]} is part of {some_of(others)}", hint)
    return found


def amended_message(text: str, before: str) -> str:
    """A new message, with the allowances that the old one has: what they let in is still there."""
    kept = [line for line in before.splitlines() if line.startswith(_ALLOWED) and line not in text.splitlines()]
    return "\n".join([text, "", *kept]) if kept else text


def message_of(text: str, allow: Iterable[Allowance]) -> str:
    """A commit's message, with a trailer for every allowance. Raises UsageError."""
    message = text.strip()
    if not message:
        raise UsageError("a check-in needs a message", "-m TEXT")
    trailers = [f"{_ALLOWED} {octal(item.path)} because {item.because}" for item in allow]
    return "\n".join([message, "", *trailers]) if trailers else message
