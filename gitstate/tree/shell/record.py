"""Check-ins before and after runs of package managers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from gitstate.core import failures
from gitstate.core.errors import GitstateError
from gitstate.core.monitor import SILENT
from gitstate.store import Repository
from gitstate.store.site import Site
from gitstate.tree import checkin, local
from gitstate.tree.shell import packages
from gitstate.tree.shell.packages import Installed
from gitstate.tree.shell.requests import Request

_OWN: Final = (b"var/log/", b"var/cache/", b"var/lib/apt/", b"var/lib/dnf/", b"var/lib/rpm/", b"root/.rpmdb/")
"""What package managers write before their hooks run, or after: it is recorded with their next run."""


class Recorder:
    """Answers the hooks of one shell.

    ``request`` makes what is asked of a check-in, without its message; links of writable files of the prototype
    ``name``, None for a layer, are restored first.
    """

    def __init__(self, site: Site, name: str | None, request: Callable[[], checkin.Request]) -> None:
        self._site, self._name = site, name
        self._request = request
        self._installed: Installed | None = None
        self.commits: list[bytes] = []
        """What was recorded, in order."""

    def answer(self, asked: Request) -> str:
        """Check in; what to tell. Nothing stops a package manager: what goes wrong is told, too."""
        installed, before = packages.parse(asked.installed), self._installed
        self._installed = installed
        if asked.before or before is None:
            message = f"{'before' if asked.before else 'after'} {asked.program}"
        else:
            message = packages.message(asked.program, packages.compare(before, installed))
        try:
            request = replace(self._request(), message=message)
            if asked.before and not _is_edited(request):
                return ""
            if not asked.before and self._name is not None:
                self._restore_links(self._site.repository(self._name))
            result = checkin.record(request, SILENT)
        except (GitstateError, OSError, MemoryError) as error:
            why = failures.of_exception(error) or error
            return f"not checked in {'before' if asked.before else 'after'} {asked.program}: {why}"
        if result.commit is None:
            return ""
        self.commits.append(result.commit)
        left = len(result.status.findings.unrecorded)
        return f"{result.commit.hex()[:7]}  {message.partition(chr(10))[0]}" + f"; {left} not recorded" * bool(left)

    def _restore_links(self, repository: Repository) -> None:
        """As ``gitstate local autofix``, which hooks in the tree can't call in here."""
        with local.open_prototype(self._site, repository, lock=True) as (trees, _, _):
            local.apply(local.fix(trees, (), local.ConflictPolicy.KEEP), trees)


def _is_edited(request: checkin.Request) -> bool:
    """Whether anything but times and what package managers write has changed."""
    found = checkin.status(request.repository, request.live, SILENT)
    changed = [one.path for one in found.changes if not one.is_time_only]
    return found.base is None or bool(found.links) or any(not path.startswith(_OWN) for path in changed)
