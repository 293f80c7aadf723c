"""Fixtures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.harness import edit, plant
from tests.gitstate_command import Site, make_site


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A site with a prototype of two snapshots, an edited live tree and an export. Nobody changes it."""
    place = tmp_path_factory.mktemp("commands")
    site = make_site(place / "site")
    plant(place / "root")
    (place / "another").mkdir()
    site.run("prototype", "create", "desktop", "--live", str(place / "root"))
    site.run("checkin", "desktop", "-m", "first")
    site.run("checkin", "desktop", "-m", "second", "--replace")
    (place / "root" / "etc" / "hosts").write_text("10.0.0.1 proxy\n")
    site.run("checkin", "desktop", "-m", "second")
    site.run("export", "desktop", "HEAD~1")
    edit(place / "root")
    yield place
    shutil.rmtree(place)


@pytest.fixture
def site(place: Path) -> Site:
    return Site(place / "site")
