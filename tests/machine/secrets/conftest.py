"""A new site for each test."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitstate.store.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.create(tmp_path / "site")
