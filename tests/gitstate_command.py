"""The command line as users run it: a process of its own, forked where nothing tells that from a started one."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.fork_server import ForkServer
from tests.support import PROJECT


@dataclass(frozen=True)
class Site:
    """A site and the command line on it."""

    path: Path

    def run(self, *words: str, code: int = 0, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run ``gitstate WORDS`` and insist on its exit code."""
        environment = {**os.environ, "GITSTATE_SITE": str(self.path), "PYTHONPATH": str(PROJECT)}
        argv = [sys.executable, "-m", "gitstate", *words]
        if fork_server().can_run_in(environment):
            done = subprocess.CompletedProcess(
                argv, *fork_server().run(list(words), cwd or ".", environment=environment, errors="surrogateescape")
            )
        else:
            done = subprocess.run(
                argv, env=environment, cwd=cwd, capture_output=True, text=True, errors="surrogateescape", check=False
            )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def refuses(self, code: int, *words: str, naming: str | Sequence[str] = (), cwd: Path | None = None) -> str:
        """Run ``gitstate WORDS``, which prints nothing but a line that has all of ``naming``, and a hint."""
        done = self.run(*words, code=code, cwd=cwd)
        assert done.stdout == ""
        message, *hint = done.stderr.splitlines()
        assert message.startswith("gitstate: ")
        assert hint
        assert all(line.startswith("  ") for line in hint)
        for value in (naming,) if isinstance(naming, str) else naming:
            assert value in message, done.stderr
        return done.stderr

    def out(self, *words: str, code: int = 0) -> str:
        """What a command prints, without the last newline."""
        return self.run(*words, code=code).stdout.rstrip("\n")

    def json(self, *words: str, code: int = 0) -> Any:
        """What a command prints with ``--json``."""
        return json.loads(self.run(*words, "--json", code=code).stdout)

    def repository(self, name: str) -> Path:
        """The bare repository of a prototype."""
        return self.path / "prototypes" / f"{name}.git"

    def git(self, name: str, *words: str) -> str:
        """Plain git in the bare repository."""
        return git(self.repository(name), *words)


@cache
def fork_server() -> ForkServer:
    """The one of this process; it begins when it is first wanted."""
    server = ForkServer({**os.environ, "PYTHONPATH": str(PROJECT)})
    atexit.register(server.close)
    return server


def make_site(path: Path) -> Site:
    """A new site."""
    site = Site(path)
    site.run("init")
    return site


def git(directory: Path, *words: str) -> str:
    """Plain git; what it prints. A complaint is an error."""
    done = subprocess.run(
        ["git", "-C", str(directory), *words], capture_output=True, text=True, errors="surrogateescape", check=False
    )
    assert done.returncode == 0, f"git {words}: {done.stderr}"
    return done.stdout
