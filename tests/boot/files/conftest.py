"""Fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.files.harness import Harness, forget, make
from tests.support import require, require_root


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The site that tests copy."""
    require_root()
    require("git", "gzip", "setcap", "setfacl")
    path = tmp_path_factory.mktemp("publish") / "site"
    make(path)
    yield path
    forget(path.parent)


@pytest.fixture
def harness(original: Path, tmp_path: Path) -> Iterator[Harness]:
    """A site of one's own, three clients in its directory."""
    harness = Harness(tmp_path).begin(original)
    harness.add("one", 1)
    harness.add("two", 2)
    harness.add("other", 3, "desktop@two")
    yield harness
    forget(tmp_path)
