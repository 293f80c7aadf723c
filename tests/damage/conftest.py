"""The ground to stand on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.damage.ground import ENVIRONMENT, Ground, forced_removal, is_tmpfs
from tests.damage.zygote import Zygote
from tests.support import PROJECT, unavailable


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """A process that forks gitstate commands."""
    process = Zygote(ENVIRONMENT)
    yield process
    process.close()


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory on a disk (on a tmpfs the stat cache is off) that everybody can go through."""
    above = Path(tempfile.gettempdir())
    if is_tmpfs(above):
        above = PROJECT / ".work" / "damage"
        above.mkdir(parents=True, exist_ok=True)
        if is_tmpfs(above):
            unavailable("missing: a file system that is not a tmpfs")
    path = Path(tempfile.mkdtemp(prefix="gitstate-damage-", dir=above))
    path.chmod(0o755)
    yield path
    forced_removal(path)


@pytest.fixture
def bare(place: Path, zygote: Zygote) -> Ground:
    """No site yet."""
    return Ground(place, zygote)


@pytest.fixture
def ground(bare: Ground) -> Ground:
    """A site with a prototype whose live tree is small and not checked in yet."""
    bare.begin()
    (bare.live / "etc").mkdir()
    (bare.live / "etc" / "fstab").write_text("proc /proc proc defaults 0 0\n")
    (bare.live / "etc" / "shadow").write_text("root:*:19000:0:99999:7:::\n")
    (bare.live / "etc" / "shadow").chmod(0o640)
    os.symlink("usr/bin", bare.live / "bin")
    return bare
