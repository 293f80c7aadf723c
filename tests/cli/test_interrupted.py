"""Ctrl-C: nothing half done is left, and a terminal is as it was."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.harness import GITSTATE, environment
from tests.cli.terminal import PATIENCE, on_terminal
from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "setfacl", "setcap")]


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A site with a prototype that takes a while: 80 MB that don't compress."""
    place = tmp_path_factory.mktemp("large")
    site, root, bytes_of = make_site(place / "site"), place / "root", random.Random(1).randbytes
    (root / "etc").mkdir(parents=True)
    for number in range(320):
        (root / "etc" / f"{number}").write_bytes(bytes_of(1 << 18))
    site.run("prototype", "create", "large", "--live", str(root))
    yield place
    shutil.rmtree(place)


def interrupted(site: Site, words: tuple[str, ...], until: Callable[[], bool]) -> str:
    """Send SIGINT, to its children too as a terminal does, as soon as ``until`` is true; what the command says."""
    child = subprocess.Popen(
        [*GITSTATE, *words],
        env=environment(site),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started = time.monotonic()
    while not until():
        assert child.poll() is None, "it was done before it could be interrupted"
        assert time.monotonic() - started < PATIENCE
        time.sleep(0.001)
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 130
    assert out == ""
    return err


def test_ctrl_c_leaves_nothing_half_done(large: Path) -> None:
    site = Site(large / "site")
    repository, exports = site.repository("large"), site.path / "exports" / "large"
    expected = "\ngitstate: interrupted\n  nothing half done is left; run it again\n"

    assert interrupted(site, ("checkin", "large", "-m", "x"), lambda: any(staged(repository))) == expected
    assert not any(staged(repository))
    assert site.run("fsck").stdout == "large: ok\n"
    site.run("checkin", "large", "-m", "x")

    def writing() -> bool:
        return exports.is_dir() and any(path.name.startswith(".") for path in exports.iterdir())

    assert interrupted(site, ("export", "large"), writing) == expected
    assert list(exports.iterdir()) == []
    site.run("export", "large")
    site.run("verify", "large")

    live = site.path / "live"
    words = ("prototype", "create", "copy", "--from", f"{large}/root")
    assert interrupted(site, words, lambda: any(live.glob(".copy*"))) == expected
    assert list(live.iterdir()) == []
    assert list((site.path / "prototypes").iterdir()) == [repository]


def staged(repository: Path) -> Iterator[Path]:
    return repository.rglob("*.pack")


HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def test_ctrl_c_on_a_terminal_leaves_it_as_it_was(large: Path, tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    live = site.path / "live"
    words = ("prototype", "create", "x", "--from", f"{large}/root")
    screen = on_terminal([*GITSTATE, *words], environment(site), until=lambda: any(live.glob(".x*/*")))
    assert screen.code == 130
    assert screen.text.count(HIDE) == screen.text.count(SHOW)
    assert screen.text.endswith("gitstate: interrupted\n  nothing half done is left; run it again\n")
    assert list(live.iterdir()) == []
