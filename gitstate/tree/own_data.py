"""gitstate's own data, and live trees, that lie in one another, through whatever symlinks and bind mounts.

A site may lie in a live tree (``--live /``): no scan enters it. A live tree may lie in a site only below ``live`` or,
to be compared, ``exports``: anywhere else are secrets and repositories.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from gitstate.core import fs
from gitstate.core.errors import GitstateError, UsageError
from gitstate.store import Repository
from gitstate.store.site import Site, site_of

_SHARED: Final = ("live", "exports")
_DEPTH: Final = 2
"""A live tree is no directory of them, but one in them."""


@dataclass(frozen=True)
class OwnData:
    """The directory of a site, or of a repository that is in none."""

    path: Path

    @cached_property
    def root(self) -> fs.Identity:
        """The directory that no scan enters."""
        return fs.identity(self.path)

    def check(self, live: Path) -> None:
        """Raise UsageError if the live tree is, or lies in, what no live tree may be."""
        for inner, outer in ((_real(live), _real(self.path)), (fs.place(live), fs.place(self.path))):
            if inner.is_relative_to(outer):
                parts = inner.relative_to(outer).parts
                if len(parts) < _DEPTH or parts[0] not in _SHARED:
                    hint = "a live tree is a directory of its own, outside the site or below its live/"
                    raise UsageError(f"{live} is part of gitstate's own data in {self.path}", hint)

    def lies_in(self, live: Path) -> bool:
        """Whether a scan of this live tree would come to it."""
        return fs.place(self.path).is_relative_to(fs.place(live))


def own_data(repository: Repository) -> OwnData:
    """What belongs to the repository's site."""
    site = site_of(repository.path)
    return OwnData(repository.path if site is None else site.path)


def check_overlap(site: Site, live: Path) -> None:
    """Raise UsageError if a directory to be adopted is, holds or lies in the live tree of a repository of the site.

    Trees in the site don't count if the whole site lies in the directory: no scan comes to them.
    """
    here, own = fs.place(live), fs.place(site.path)
    for name, other in _live_trees(site):
        there = fs.place(other)
        if own.is_relative_to(here) and there.is_relative_to(own):
            continue
        if there.is_relative_to(here) or here.is_relative_to(there):
            hint = f"each has a live tree of its own: copy it (--from {live}), or fork it (--from {name})"
            raise UsageError(f"{live} and {other}, the live tree of {name}, are or hold one another", hint)


def _live_trees(site: Site) -> Iterator[tuple[str, Path]]:
    """The live trees that are there, each with its repository's name."""
    for name in site.repositories():
        with suppress(GitstateError):
            live = site.repository(name).live
            if live is not None and live.is_dir():
                yield name, live


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
