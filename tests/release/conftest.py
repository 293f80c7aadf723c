"""The ground to stand on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.files.harness import OPTIONS, plant
from tests.damage.fork_server import Zygote
from tests.damage.harness import environment
from tests.release.harness import Ground, begin


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


@pytest.fixture
def boots(bare: Ground) -> Ground:
    """A site whose machines boot, a prototype with a kernel, a channel and a client that follows it."""
    table = OPTIONS | {"dhcp": "none", "etc": str(bare.place / "etc")}
    (bare.place / "etc").mkdir()
    with open(bare.site / "site.toml", "a") as file:
        file.write("\n[boot]\n" + "".join(f'{key} = "{value}"\n' for key, value in table.items()))
    bare("prototype", "create", "desktop")
    plant(bare.site / "live" / "desktop")
    bare("checkin", "desktop", "-m", "first")
    bare("channel", "create", "lab3", "--prototype", "desktop")
    bare("client", "add", "lab3-12", "--mac", "52:54:00:12:34:56", "--channel", "lab3")
    return bare
