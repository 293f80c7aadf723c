"""Machines of both kinds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.client.harness import Machine, only_busybox
from tests.support import require


@pytest.fixture(params=["dash", "busybox"])
def machine(tmp_path: Path, request: pytest.FixtureRequest) -> Machine:
    """Its shell is dash among GNU's programs, or busybox among its own."""
    require("dash", "busybox", "cpio", "setfattr", "getfattr")
    for name in ("root/run/gitstate/lower", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    if request.param == "dash":
        return Machine(tmp_path, (shutil.which("dash") or "",), os.environ["PATH"])
    programs = only_busybox(tmp_path / "bin")
    return Machine(tmp_path, (str(programs / "busybox"), "sh"), str(programs))


@pytest.fixture
def disk(machine: Machine) -> Machine:
    """One whose root is no overlay."""
    shutil.rmtree(machine.root / "run/gitstate")
    return machine
