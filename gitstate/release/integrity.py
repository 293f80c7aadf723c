"""Whether what a site keeps is still what was written: its own two repositories."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gitstate.core.errors import DamagedError, GitstateError
from gitstate.core.monitor import Observer
from gitstate.release.models import Release
from gitstate.release.opened import OpenedSite
from gitstate.store import Repository
from gitstate.store.site import Site


def own_repositories(site: Site) -> Mapping[str, Path]:
    """``site.git`` and ``directory.git``, those of them that there are, by name."""
    return {path.name: path for path in (site.releases_path, site.directory_path) if path.exists()}


def open_repository(opened: OpenedSite, name: str) -> Repository:
    """A repository of the site, or one of its own. Raises NotFoundError, HostError, ConfigError."""
    own = own_repositories(opened.site)
    return Repository.open(own[name], name) if name in own else opened.repository(name)


def fsck_own(opened: OpenedSite, name: str, observer: Observer) -> list[str]:
    """The problems of ``site.git`` or ``directory.git``, a line each. Raises HostError if it can't be read."""
    observer.phase(f"git fsck {name}")
    path = own_repositories(opened.site)[name]
    problems = Repository.open(path, name).fsck()
    if not problems and path == opened.site.releases_path:
        return list(_unreadable_releases(opened))
    return problems


def _unreadable_releases(opened: OpenedSite) -> Iterator[str]:
    """What channels run must be readable, and what it names there, in the repositories that there are."""
    for channel in sorted(opened.releases.open().refs("refs/heads/")):
        try:
            release = opened.releases.current(channel.removeprefix("refs/heads/"))
            if release is not None:
                yield from _missing_commits(opened.site, release)
        except DamagedError as error:
            yield error.message


def _missing_commits(site: Site, release: Release) -> Iterator[str]:
    for name, commit in release.commits.items():
        if site.repository_path(name).exists():
            try:
                site.repository(name).commit(commit)
            except GitstateError as error:
                yield f"{release.name} needs {commit.hex()[:7]} of {name}: {error.message}"
