"""What a command imports and how often it asks git: most of what a short one takes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.cli.harness import GITSTATE, environment
from tests.gitstate_command import Site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "setfacl", "setcap")]


_ALWAYS: Final = {
    "rich",
    "jinja2",
    "deepdiff",
    "ldap",
    "pygit2",
    "tomlkit",
    "tempfile",
    "json",
    "gitstate.tree.bootstrap",
}
_WRITERS: Final = {"gitstate.tree.checkin", "gitstate.tree.policy", "gitstate.tree.scan", "concurrent.futures"}
NEEDLESS: Final = {
    "status desktop": _ALWAYS | {"gitstate.tree.history", "gitstate.tree.export"},
    "checkin desktop -m x -n": _ALWAYS | {"gitstate.tree.history", "gitstate.tree.export"},
    "log desktop": _ALWAYS | _WRITERS | {"gitstate.tree.export", "gitstate.tree.verify"},
    "diff desktop HEAD HEAD": _ALWAYS | _WRITERS | {"gitstate.tree.export", "gitstate.tree.verify"},
    "export desktop -n": _ALWAYS | _WRITERS | {"gitstate.tree.history", "gitstate.tree.verify", "gitstate.tree.change"},
}


@pytest.mark.parametrize("line", NEEDLESS)
def test_a_command_imports_what_it_needs(site: Site, line: str) -> None:
    """Imports are most of what a short command takes."""
    script = f"""
import sys
sys.argv = ["gitstate", *{line.split()}]
from gitstate.cli import main
try:
    main()
finally:
    print("MODULES", *sys.modules, file=sys.stderr)
"""
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, env=environment(site), capture_output=True, text=True, check=True)
    modules = set(done.stderr.rpartition("MODULES")[2].split())
    assert "gitstate.cli.base.app" in modules
    assert not modules & NEEDLESS[line]


CHILDREN: Final = {
    "status desktop": 0,
    "export desktop HEAD~0 -n": 0,
    "log desktop": 1,
    "diff desktop HEAD main": 1,
    "diff desktop @{0} main --stat": 2,
}
"""How often a command asks git, which takes as long as the answer of a small one in all."""


@pytest.mark.parametrize("line", CHILDREN)
def test_git_is_asked_only_for_what_it_alone_knows(site: Site, line: str, tmp_path: Path) -> None:
    variables, wrapper, told = environment(site), tmp_path / "bin" / "git", tmp_path / "told"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\necho "$2" >>{shlex.quote(str(told))}\nexec {shutil.which("git")} "$@"\n')
    wrapper.chmod(0o755)
    told.touch()
    variables["PATH"] = f"{wrapper.parent}:{variables['PATH']}"
    subprocess.run([*GITSTATE, *line.split()], env=variables, capture_output=True, check=True)
    asked = told.read_text().splitlines()
    assert len(asked) == CHILDREN[line], asked
