"""A site, and a directory of it by each backend."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitstate.site import Site
from tests.directory.ground import Place


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site without prototypes."""
    return Site.create(tmp_path / "site")


@pytest.fixture(params=["ldif"])
def place(request: pytest.FixtureRequest, site: Site) -> Place:
    """A site whose directory is empty, by each backend in turn."""
    assert request.param == "ldif"
    return Place(site)
