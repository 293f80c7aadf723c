"""A forked command is one like any other: what it is given, what it says, how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.damage.fault_injection import KILL, Fault
from tests.fork_server import ForkServer
from tests.gitstate_command import Site, make_site
from tests.support import PROJECT, needs

pytestmark = needs("git")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with a prototype that has a snapshot."""
    site = make_site(tmp_path_factory.mktemp("fork-server") / "site")
    site.run("prototype", "create", "desktop")
    site.run("checkin", "desktop", "-m", "first")
    return site


def started(site: Site, *words: str, **variables: str) -> tuple[int, str, str]:
    """The same in a process that is started anew."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "GITSTATE_SITE": str(site.path), **variables}
    argv = [sys.executable, "-m", "gitstate", *words]
    done = subprocess.run(argv, env=environment, cwd=site.path, capture_output=True, check=False)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (("status", "desktop"), {}),
        (("prototype", "list", "--json"), {}),
        (("checkin", "--help"), {"COLUMNS": "60"}),
        (("status", "n\udcff\udcfe\n"), {}),
        (("log", "desktop", "--format=%ad", "--date=local"), {"TZ": "Pacific/Auckland"}),
        (("frobnicate",), {}),
        (("status", "desktop"), {"GITSTATE_SITE": "/nowhere"}),
        (("export", "desktop", "-n", "--to", "there"), {}),
        (("export", "desktop", "-n"), {"PATH": "/nowhere"}),
    ],
)
def test_it_says_what_a_started_one_says(
    site: Site, fork_server: ForkServer, words: tuple[str, ...], variables: dict[str, str]
) -> None:
    environment = {**os.environ, "GITSTATE_SITE": str(site.path), **variables}
    assert fork_server.run(list(words), site.path, environment=environment) == started(site, *words, **variables)


def program(path: Path, script: str) -> str:
    """PATH with a git that does ``script``."""
    path.mkdir()
    (path / "git").write_text(f"#!/bin/sh\n{script}\n")
    (path / "git").chmod(0o755)
    return f"{path}:{os.environ['PATH']}"


def test_its_children_have_our_umask_and_three_descriptors(site: Site, tmp_path: Path, fork_server: ForkServer) -> None:
    variables = {"PATH": program(tmp_path / "bin", f"{{ umask; ls /proc/$$/fd; }} >{tmp_path}/told")}
    before = os.umask(0o027)
    try:
        started(site, "log", "desktop", **variables)
        expected = (tmp_path / "told").read_text()
        fork_server.run(["--site", str(site.path), "log", "desktop"], tmp_path, environment=os.environ | variables)
    finally:
        os.umask(before)
    assert (tmp_path / "told").read_text() == expected
    assert expected.startswith("0027\n")


def test_commands_run_at_the_same_time(site: Site, fork_server: ForkServer, tmp_path: Path) -> None:
    """Each of two waits for the other."""

    def said(who: str, whom: str) -> str:
        path = program(
            tmp_path / who, f"echo >{tmp_path}/from-{who} &\nread line <{tmp_path}/from-{whom}\nwait\necho {who}"
        )
        words = ["--site", str(site.path), "log", "desktop"]
        return fork_server.run(words, tmp_path, environment=os.environ | {"PATH": path})[1]

    for name in ("one", "two"):
        os.mkfifo(tmp_path / f"from-{name}")
    with ThreadPoolExecutor() as pool:
        assert list(pool.map(said, ("one", "two"), ("two", "one"))) == ["one\n", "two\n"]


def test_a_killed_one_ends_by_its_signal(site: Site, fork_server: ForkServer, tmp_path: Path) -> None:
    fault = Fault(when="1", what=KILL, witness=str(tmp_path / "witness"))
    words = ["--site", str(site.path), "checkin", "desktop", "-m", "second", "--replace"]
    assert fork_server.run(words, tmp_path, fault) == (-9, "", "")
    assert (tmp_path / "witness").exists()


def test_what_only_a_start_heeds_needs_a_start(fork_server: ForkServer) -> None:
    ours = {**os.environ, "PYTHONPATH": str(PROJECT)}
    assert fork_server.can_run_in(ours | {"PATH": "/nowhere", "GIT_AUTHOR_NAME": "x"})
    for name in ("LD_PRELOAD", "LC_ALL", "LANG", "PYTHONWARNINGS", "HOME"):
        assert not fork_server.can_run_in(ours | {name: "other"})
