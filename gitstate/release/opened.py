"""A site and what is read of it, for one command or request: each part is opened once, when it is first needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitstate.core.errors import GitstateError, NotFoundError
from gitstate.core.wording import did_you_mean, nearest
from gitstate.store import Repository
from gitstate.store.site import Site

if TYPE_CHECKING:
    from gitstate.boot.options import Options
    from gitstate.directory import Directory
    from gitstate.release.log import ReleaseLog


@dataclass(frozen=True)
class OpenedSite:
    """What every use case takes first."""

    site: Site

    @classmethod
    def open(cls, path: Path, credentials: Path | None = None) -> OpenedSite:
        """The site at ``path``. Raises NotFoundError, HostError, ConfigError."""
        return cls(replace(Site.open(path), credentials=credentials))

    def repository(self, name: str) -> Repository:
        """The repository ``name``. Raises NotFoundError with the nearest name, HostError, ConfigError."""
        try:
            return self.site.repository(name)
        except NotFoundError as error:
            hint = did_you_mean(nearest(name, self.site.repositories()), error.hint)
            raise NotFoundError(error.message, hint) from None

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """All of ``site.toml`` as plain values. Raises NotFoundError, ConfigError."""
        return self.site.settings()

    @property
    def boots(self) -> bool:
        """Whether machines boot from this site."""
        return "boot" in self.settings

    @cached_property
    def options(self) -> Options:
        """The boot options. Raises ConfigError."""
        from gitstate.boot.options import load

        return load(self.site)

    @cached_property
    def directory(self) -> Directory:
        """Who runs what. Raises ConfigError."""
        from gitstate.directory import open_directory  # imported late: many commands need only some of the parts

        return open_directory(self.site)

    @cached_property
    def releases(self) -> ReleaseLog:
        """What channels run and ran."""
        from gitstate.release.log import ReleaseLog

        return ReleaseLog(self.site)

    @cached_property
    def repositories(self) -> tuple[Mapping[str, Repository], Mapping[str, GitstateError]]:
        """Every repository that can be opened, and the errors of the others, by name."""
        repositories, faults = {}, {}
        for name in self.site.repositories():
            try:
                repositories[name] = self.site.repository(name)
            except GitstateError as error:
                faults[name] = error
        return repositories, faults

    def reopened(self) -> OpenedSite:
        """The same site with nothing read yet.

        A directory refuses a change if somebody else changed it since it was read. Between a plan and its change use
        this for other reads: they would count as reads of the plan.
        """
        return OpenedSite(self.site)
