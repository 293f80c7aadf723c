"""The prototypes of a site, as lists show them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitstate.core import fs
from gitstate.core.errors import GitstateError
from gitstate.store import MAIN, Repository, Snapshot
from gitstate.store.site import Site


@dataclass(frozen=True, slots=True)
class Summary:
    """A prototype: its live tree, its latest snapshot, or why it can't be read."""

    name: str
    live: Path | None = None
    snapshot: Snapshot | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """A prototype with the size of its repository in bytes, its tags, and the commits of its exports."""

    summary: Summary
    path: Path
    size: int
    tags: list[str]
    exports: list[str]


def summaries(site: Site) -> list[Summary]:
    """All prototypes, sorted; one that can't be read doesn't hide the others."""
    return [_summary_or_problem(site, name) for name in site.prototypes()]


def details(site: Site, name: str, repository: Repository) -> Details:
    """All about one prototype. Raises DamagedError."""
    exports = site.exports_path(name)
    commits = [name for name in fs.list_names(exports) if name[0] in "0123456789abcdef"]
    return Details(_summary(name, repository), repository.path, repository.size(), repository.tags(), commits)


def _summary_or_problem(site: Site, name: str) -> Summary:
    try:
        return _summary(name, site.repository(name))
    except GitstateError as error:
        return Summary(name, problem=error.message)


def _summary(name: str, repository: Repository) -> Summary:
    commit = repository.ref(MAIN)
    return Summary(name, repository.live, repository.snapshot(commit) if commit else None)
