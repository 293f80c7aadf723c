"""Fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitstate.store.repository import Repository


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "desktop.git")
