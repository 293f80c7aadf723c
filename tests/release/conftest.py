"""The ground to stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.damage.ground import environment
from tests.damage.zygote import Zygote
from tests.release.ground import Ground, begin


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """A process that forks gitstate commands."""
    process = Zygote(environment())
    yield process
    process.close()


@pytest.fixture
def bare(tmp_path: Path, zygote: Zygote) -> Ground:
    """A site without anything."""
    return begin(tmp_path, zygote)


@pytest.fixture
def ground(bare: Ground) -> Ground:
    """A site with a prototype and a channel of it, nothing released yet."""
    bare.prototype("desktop")
    bare("channel", "create", "lab3", "--prototype", "desktop")
    return bare
