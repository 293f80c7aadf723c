"""``[shell]`` of site.toml; schemas/site.schema.json and docs/live-edits.md come from here."""

from __future__ import annotations

from typing import Annotated

from gitstate.core.documents import Document, about, parse
from gitstate.store.site import Site


class ShellTable(Document, frozen=True):
    """Shells in live trees."""

    packages: Annotated[
        bool, about("Whether runs of apt and dnf in `gitstate shell` are checked in, before and after each.")
    ] = True
    nspawn: Annotated[
        bool, about("Whether `gitstate shell` uses systemd-nspawn where that runs; else namespaces alone.")
    ] = True


def load(site: Site) -> ShellTable:
    """What ``site.toml`` says. Raises NotFoundError, ConfigError."""
    return parse(ShellTable, site.source(), "shell")
