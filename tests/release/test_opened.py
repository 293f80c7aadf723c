"""The opened site: a use case reads each part of a site once."""

from __future__ import annotations

from collections import Counter

import pytest

import gitstate.directory
from gitstate.core.monitor import SILENT
from gitstate.release import boot_files
from gitstate.release.log import ReleaseLog
from gitstate.release.opened import OpenedSite
from tests.release.harness import Harness
from tests.support import root_only


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often directories and release logs are opened."""
    counts: Counter[str] = Counter()
    open_directory, init = gitstate.directory.open_directory, ReleaseLog.__init__

    def counted_open(*arguments: object) -> object:
        counts["directory"] += 1
        return open_directory(*arguments)  # type: ignore[arg-type]

    def counted_init(self: ReleaseLog, *arguments: object) -> None:
        counts["releases"] += 1
        init(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(gitstate.directory, "open_directory", counted_open)
    monkeypatch.setattr(ReleaseLog, "__init__", counted_init)
    return counts


@root_only
def test_boot_write_opens_directory_and_releases_once(boots: Harness, opened: Counter[str]) -> None:
    boots("push", "desktop", "lab3", "--yes")
    assert not opened
    written = boot_files.write(OpenedSite.open(boots.site), SILENT, reload=False)
    assert written.plan.clients == 1
    assert opened == {"directory": 1, "releases": 1}


@root_only
def test_a_reopened_site_has_read_nothing(boots: Harness, opened: Counter[str]) -> None:
    site = OpenedSite.open(boots.site)
    assert site.directory is site.directory
    assert site.reopened().directory is not site.directory
    assert opened["directory"] == 2
