"""Releases and who gets them, as lines and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gitstate.cli.base.output import moment
from gitstate.core.wording import counted
from gitstate.directory import Kind
from gitstate.release.models import MadeRelease, Release

_AT_BOOT = (Kind.DISKLESS, Kind.LIVE)


def sorted_commits(commits: Mapping[str, bytes], prototype: str) -> list[tuple[str, bytes]]:
    return sorted(commits.items(), key=lambda item: (item[0] != prototype, item[0] != "base", item[0]))


def client_lines(clients: Mapping[Kind, int]) -> Iterator[str]:
    total = sum(clients.values())
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(clients.items()) if count)
    if not total:
        yield "no clients follow it"
    elif all(kind in _AT_BOOT for kind in clients):
        yield f"{counted(total, 'client')} ({kinds}), at next boot"
    else:
        yield f"{counted(total, 'client')} ({kinds})"


def released_line(made: MadeRelease) -> str:
    release = made.release
    before = f" (before: {made.before.name})" if made.before else ""
    parts = [f"{name} {oid.hex()[:7]}" for name, oid in sorted_commits(release.commits, release.prototype)]
    return f"{release.name} = {' + '.join(parts)}{before}"


def step_lines(made: MadeRelease) -> Iterator[str]:
    yield from (f"  {step}" for step in made.steps)


def commits_json(commits: Mapping[str, bytes]) -> dict[str, str]:
    return {name: oid.hex() for name, oid in sorted(commits.items())}


def release_json(release: Release) -> dict[str, Any]:
    """A release for JSON."""
    return {
        "release": str(release.name),
        "id": release.oid.hex(),
        "prototype": release.prototype,
        "commits": commits_json(release.commits),
        "author": release.author,
        "when": moment(release.when),
        "rollback": str(release.rollback) if release.rollback else None,
    }
