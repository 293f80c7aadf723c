"""What each way to record edits needs: a branch to record on, a message, and nothing that policy refuses."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gitstate.core.errors import ConflictError, RefusedError, UsageError
from gitstate.core.names import octal
from gitstate.store import Repository
from gitstate.tree.policy import refused, remedies
from gitstate.tree.scan.models import Findings

_BRANCH: Final = re.compile(r"(?!.*\.lock$)[A-Za-z0-9]([A-Za-z0-9._+-]*[A-Za-z0-9_+-])?")
_LONGEST_BRANCH: Final = 200


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


def message_of(text: str, allow: Iterable[Allowance]) -> str:
    """A commit's message, with a trailer for every allowance. Raises UsageError."""
    message = text.strip()
    if not message:
        raise UsageError("a check-in needs a message", "-m TEXT")
    trailers = [f"Gitstate-Allow: {octal(item.path)} because {item.because}" for item in allow]
    return "\n".join([message, "", *trailers]) if trailers else message
