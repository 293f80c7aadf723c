"""The ground to stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.files.harness import Ground, forget, make
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
def ground(original: Path, tmp_path: Path) -> Iterator[Ground]:
    """A site of one's own, three clients in its directory."""
    ground = Ground(tmp_path).begin(original)
    ground.add("one", 1)
    ground.add("two", 2)
    ground.add("other", 3, "desktop@two")
    yield ground
    forget(tmp_path)
