"""Whether what a site keeps is still what was written: its own two repositories, and ``verify --all``."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from gitstate.boot.files import damaged as damaged_boot_files
from gitstate.boot.group import inspect_output
from gitstate.core import fs
from gitstate.core.errors import DamagedError, GitstateError, NotFoundError
from gitstate.core.failures import of_system
from gitstate.core.monitor import Observer
from gitstate.core.names import display
from gitstate.core.wording import some_of
from gitstate.machine import secrets
from gitstate.machine.archives import files as archives
from gitstate.release.models import Release
from gitstate.release.opened import OpenedSite
from gitstate.store import Repository
from gitstate.store.site import Site
from gitstate.tree import verify

_ID: Final = 40
_RECONCILE: Final = "gitstate reconcile"


class Finding(NamedTuple):
    """What was looked at, as a path below the site or a repository's name; what is wrong with it, and the cure."""

    what: str
    problems: tuple[str, ...]
    cure: str = ""
    fault: GitstateError | None = None
    """What kept us from looking, if that is no damage: no rights, or a disk that fails."""


def own_repositories(site: Site) -> Mapping[str, Path]:
    """``site.git`` and ``directory.git``, those of them that there are, by name."""
    return {path.name: path for path in (site.releases_path, site.directory_path) if not fs.is_free(path)}


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
        if fs.has_directory(site.repository_path(name)):
            try:
                site.repository(name).commit(commit)
            except GitstateError as error:
                yield f"{release.name} needs {commit.hex()[:7]} of {name}: {error.message}"


# --- everything -------------------------------------------------------------------------------------------------------


def verify_all(opened: OpenedSite, observer: Observer) -> Iterator[Finding]:
    """Read all that machines boot from or that it is made of, and compare it with what was written.

    One part that can't be read is a finding, and keeps no other from its turn.
    """
    site = opened.site
    cure = "fetch what is missing from a clone or a backup"
    for name in site.repositories():
        yield _finding(name, partial(_fsck, opened, name, observer), cure)
    for name in own_repositories(site):
        yield _finding(name, partial(fsck_own, opened, name, observer), "restore it from a backup")
    yield from _exports(opened, observer)
    if opened.boots:
        yield from _boot_files(opened, observer)
    observer.phase("secrets")
    cure = "restore it from a backup, or gitstate secret renew HOST"
    yield _finding("secrets", partial(secrets.damaged, site), cure)


def _fsck(opened: OpenedSite, name: str, observer: Observer) -> list[str]:
    return verify.fsck(opened.repository(name), observer)


def _finding(what: str, look: Callable[[], Iterable[str]], cure: str) -> Finding:
    try:
        return Finding(what, tuple(look()), cure)
    except DamagedError as error:
        return Finding(what, (error.message,), error.hint)
    except GitstateError as error:
        return Finding(what, (error.message,), error.hint, error)
    except OSError as error:
        fault = of_system(error)
        return Finding(what, (fault.message,), fault.hint, fault)


def _exports(opened: OpenedSite, observer: Observer) -> Iterator[Finding]:
    released = {(one.prototype, one.commit.hex()) for one in _current(opened)}
    for name, commit in sorted(released):
        path = opened.site.exports_path(name) / commit
        if fs.is_free(path):
            yield Finding(str(path.relative_to(opened.site.path)), ("is missing",), _RECONCILE)
    for name in opened.site.prototypes():
        exports = opened.site.exports_path(name)
        for path in map(exports.joinpath, fs.list_names(exports)):
            if len(path.name) == _ID and not path.name.startswith("."):
                observer.phase(f"export {name} {path.name[:7]}")
                is_released = (name, path.name) in released
                cure = _RECONCILE if is_released else f"gitstate export {name} {path.name[:7]}"
                where = str(path.relative_to(opened.site.path))
                yield _finding(where, partial(_differences, opened, name, path, observer), cure)


def _current(opened: OpenedSite) -> Iterator[Release]:
    """What channels run, as far as it can be read."""
    with suppress(GitstateError):
        for channel in opened.directory.channels():
            with suppress(GitstateError):
                if release := opened.releases.current(channel):
                    yield release


def _differences(opened: OpenedSite, name: str, path: Path, observer: Observer) -> Iterator[str]:
    repository = opened.repository(name)
    try:
        commit = repository.resolve(path.name)
    except NotFoundError:
        yield f"its snapshot is gone, and nothing says what it should be: when nothing uses it, rm -r {path}"
        return
    if not stat.S_ISDIR(path.lstat().st_mode):
        yield "is no directory"
        return
    found = verify.verify_export(repository, commit, path.parent, observer)
    if found.changes:
        yield f"differs from its snapshot: {some_of([f'/{display(one.path)}' for one in found.changes], 3)}"
    yield from (str(one) for one in found.links)
    yield from (f"/{display(where)}: {why}" for where, why in found.unread)


def _boot_files(opened: OpenedSite, observer: Observer) -> Iterator[Finding]:
    observer.phase("boot files")
    cure = "gitstate boot write"
    with inspect_output(opened.site, opened.options, reads_content=True) as output:
        yield _finding("boot files", partial(damaged_boot_files, opened.site, output), cure)
        yield _finding(archives.FOLDER, partial(archives.damaged, output), cure)
