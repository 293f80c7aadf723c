"""The message of a release's commit: where it comes from, and what changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from gitstate.release.log import ROLLBACK, TAG, subject_of
from gitstate.release.models import Release, ReleaseRequest
from gitstate.store import Repository

_MOST: Final = 20
"""Commits that are named."""


def of_tag(
    request: ReleaseRequest, commits: Mapping[str, bytes], current: Release | None, repository: Repository
) -> str:
    """The message of the release that ``request`` makes, without its name in front."""
    body = _own_words(request.tag.message)
    lines = [*_changes(commits, current), *_subjects(repository, request, current)]
    trailer = f"{TAG}: {request.repository} {request.name} {request.pending.oid.hex()}"
    parts = [f"{request.repository} {request.commit.hex()[:7]}", body, "\n".join(lines), trailer]
    return "\n\n".join(part for part in parts if part)


def of_rollback(target: Release, current: Release) -> str:
    """The message of a release that goes back to ``target``."""
    lines = list(_changes(target.commits, current))
    parts = [f"rollback to {target.name}", "\n".join(lines), f"{ROLLBACK}: {target.name}"]
    return "\n\n".join(part for part in parts if part)


def _own_words(message: str) -> str:
    """What the tagger wrote, trailers of any kind left out: the last paragraph is ours."""
    paragraphs = [part.strip() for part in message.strip().split("\n\n")]
    if paragraphs and all(_is_trailer(line) for line in paragraphs[-1].splitlines()):
        paragraphs.pop()
    return "\n\n".join(part for part in paragraphs if part)


def _is_trailer(line: str) -> bool:
    key, colon, value = line.partition(": ")
    return bool(colon and value) and "-" in key and " " not in key


def _changes(commits: Mapping[str, bytes], current: Release | None) -> Iterator[str]:
    """What becomes of each repository, a line each."""
    before = current.commits if current else {}
    for name in sorted(commits.keys() | before.keys()):
        old, new = before.get(name), commits.get(name)
        if new is None:
            yield f"{name} leaves"
        elif old is None:
            yield f"{name} enters at {new.hex()[:7]}"
        elif old != new:
            yield f"{name} {old.hex()[:7]} -> {new.hex()[:7]}"


def _subjects(repository: Repository, request: ReleaseRequest, current: Release | None) -> Iterator[str]:
    """The commits that a release brings, newest first; none for the first one, which brings all."""
    old = current.commits.get(request.repository) if current else None
    if old is None or old == request.commit:
        return
    words = ["log", f"--max-count={_MOST + 1}", "--format=%H", f"{old.hex()}..{request.commit.hex()}"]
    ids = repository.git(*words).decode().split()
    for oid in ids[:_MOST]:
        yield f"- {subject_of(repository.snapshot(bytes.fromhex(oid)))}"
    if len(ids) > _MOST:
        yield "- …"
