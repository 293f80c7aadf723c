"""Fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.boot.files.harness import OPTIONS, plant
from tests.fork_server import ForkServer
from tests.release.harness import Harness, begin


@pytest.fixture
def bare(tmp_path: Path, fork_server: ForkServer) -> Harness:
    """A site without anything."""
    return begin(tmp_path, fork_server)


@pytest.fixture
def harness(bare: Harness) -> Harness:
    """A site with a prototype and a channel of it, nothing released yet."""
    bare.prototype("desktop")
    bare("channel", "create", "lab3", "--prototype", "desktop")
    return bare


@pytest.fixture
def boots(bare: Harness) -> Harness:
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
