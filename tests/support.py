"""What tests need from the machine. What is missing skips the test, or fails it with GITSTATE_LAB=require."""

from __future__ import annotations

import os
import resource
import shutil
from pathlib import Path
from typing import Final, NoReturn

import pytest

PROJECT: Final = Path(__file__).parent.parent

needs = pytest.mark.needs
"""``@needs("mtree", "rsync")``: the test runs only where these programs are on PATH."""

root_only = pytest.mark.root
"""``@root_only``: the test runs only as root."""


def computed() -> float:
    """Seconds of CPU that we and our ended children have taken: they don't grow on a busy machine, as a clock's do."""
    both = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def unavailable(what: str) -> NoReturn:
    """Skip the running test because of ``what``, or fail it where nothing may be missing."""
    if os.environ.get("GITSTATE_LAB") == "require":
        pytest.fail(f"{what} (GITSTATE_LAB=require)", pytrace=False)
    pytest.skip(what)


def require(*programs: str) -> None:
    """As ``needs``, for fixtures and context managers."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        unavailable(f"missing: {', '.join(missing)}")


def require_root() -> None:
    """As ``root_only``, for fixtures and context managers."""
    if os.geteuid() != 0:
        unavailable("missing: root")
