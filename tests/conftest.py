"""Shared by all tests: an environment without personal settings, and what our markers do."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator

import hypothesis
import pytest

from tests import gitstate_command
from tests.fork_server import ForkServer
from tests.support import require, require_root

# Not /dev/null: `git config --global` as root would put a file in its place.
_EMPTY = tempfile.NamedTemporaryFile(prefix="gitstate-gitconfig-")  # noqa: SIM115

# Two workers share two cores with real servers: a slow example is no failure.
hypothesis.settings.register_profile("gitstate", deadline=None)
hypothesis.settings.load_profile("gitstate")


def pytest_configure() -> None:
    """Here rather than in a fixture, so that import and collection see the same environment as the tests."""
    # A shell starts what it runs in the background with Ctrl-C ignored, and our children would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for name in [name for name in os.environ if name.startswith(("GIT_", "GITSTATE_", "LC_"))]:
        if name != "GITSTATE_LAB":
            del os.environ[name]
    os.environ |= {
        "GIT_CONFIG_GLOBAL": _EMPTY.name,
        "GIT_CONFIG_NOSYSTEM": "1",
        "LC_ALL": "C.UTF-8",
        "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin",
        "TZ": "UTC",
    }


def pytest_unconfigure() -> None:
    """It goes with the session."""
    _EMPTY.close()


@pytest.fixture(autouse=True)
def _same_environment() -> Iterator[None]:
    """A command that runs in our own process clears its environment; the next test wants it back."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(scope="session")
def fork_server() -> ForkServer:
    """A process that forks gitstate commands."""
    return gitstate_command.fork_server()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fixtures come after this, so none starts a server for a test that is about to be skipped."""
    for marker in item.iter_markers("needs"):
        require(*marker.args)
    if item.get_closest_marker("root"):
        require_root()
