"""Help and completion: what they say is true, and fits a terminal."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Final

import click
import pytest

from gitstate.cli.base.app import Session, app
from gitstate.cli.base.help import Command, Group
from tests.cli.harness import COMMANDS, GITSTATE, environment
from tests.gitstate_command import Site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "setfacl", "setcap")]


HELPED: Final = ["", "prototype", *COMMANDS]


def help_of(name: str) -> str:
    """As on a terminal of 80 columns."""
    command = COMMANDS.get(name) or (app.get_command(click.Context(app), name) if name else app)
    assert command is not None
    context = click.Context(command, info_name=f"gitstate {name}".rstrip(), terminal_width=78)
    context.help_option_names = ["-h", "--help"]
    return command.get_help(context)


def test_help_is_what_a_terminal_shows() -> None:
    argv = [*GITSTATE, "checkin", "--help"]
    done = subprocess.run(argv, env={**os.environ, "COLUMNS": "80"}, capture_output=True, text=True, check=True)
    assert done.stdout == help_of("checkin") + "\n"


@pytest.mark.parametrize("name", HELPED)
def test_help_reads_well(name: str) -> None:
    text = help_of(name)
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert all(line == line.rstrip() for line in lines)
    command = COMMANDS.get(name) or (app.get_command(click.Context(app), name) if name else app)
    assert isinstance(command, Command | Group)
    for line in "\n".join(command.examples).splitlines():
        assert f"  {line}" in lines, "examples are not wrapped"
    first = lines[2].strip()
    assert first.endswith("."), "one sentence, in one line"
    assert lines[3] == ""
    assert f"  gitstate {name}".rstrip() in text.partition("Example")[2]
    assert "Common options:" in text
    assert "[OPTIONS]" in lines[0]
    assert not re.search(r"\w\.\.\.(\s|$)", text.partition("Commands:")[2]), "a sentence too long for the list"


def test_each_summary_is_its_own() -> None:
    summaries = [command.get_short_help_str(100) for command in COMMANDS.values()]
    assert len(set(summaries)) == len(summaries)


@pytest.mark.parametrize("name", HELPED)
def test_examples_are_understood(name: str) -> None:
    """Every gitstate in an example is one that the parser takes."""
    command = COMMANDS.get(name) or (app.get_command(click.Context(app), name) if name else app)
    assert isinstance(command, Command | Group)
    lines = "\n".join(command.examples).replace("\\\n", " ").splitlines()
    calls = [
        part.strip() for line in lines for part in re.split("&&|>|[|]", line) if part.strip().startswith("gitstate ")
    ]
    assert len(calls) >= len(lines) > 0
    for call in calls:
        words = shlex.split(call)[1:]
        depth = 2 if isinstance(app.get_command(click.Context(app), words[0]), Group) else 1
        taken = COMMANDS.get(" ".join(words[:depth]))
        assert taken is not None, call
        if "--help" not in words:
            taken.make_context(call, words[depth:], obj=Session())


def test_completion_in_bash(site: Site, tmp_path: Path) -> None:
    program = tmp_path / "gitstate"
    program.write_text(f'#!/bin/sh\nexec {shlex.join(GITSTATE)} "$@"\n')
    program.chmod(0o755)

    sourced = {**environment(site), "_GITSTATE_COMPLETE": "bash_source"}
    (tmp_path / "completion").write_bytes(subprocess.run(GITSTATE, env=sourced, capture_output=True, check=True).stdout)

    def completed(line: str) -> list[str]:
        words = line.split(" ")
        script = f"""
            . {tmp_path}/completion
            COMP_WORDS=({" ".join(map(shlex.quote, words))}) COMP_CWORD={len(words) - 1}
            _gitstate_completion gitstate
            printf '%s\\n' "${{COMPREPLY[@]}}"
        """
        variables = environment(site, PATH=f"{tmp_path}:{os.environ['PATH']}")
        done = subprocess.run(["bash", "-c", script], env=variables, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout.split()

    assert completed("gitstate ch") == ["checkin", "channel"]
    assert set(completed("gitstate ")) == {name.split()[0] for name in COMMANDS}
    assert completed("gitstate prototype s") == ["show"]
    assert completed("gitstate status ") == ["desktop"]
    assert completed("gitstate log d") == ["desktop"]
    assert completed("gitstate export desktop ma") == ["main"]
    site.run("layer", "create", "base")
    site.run("channel", "create", "kiosks", "--prototype", "desktop")
    assert completed("gitstate prototype show ") == ["desktop"]
    assert completed("gitstate client add x --channel ") == ["kiosks"]
    assert completed("gitstate client list --channel ") == ["kiosks"]
    assert completed("gitstate client set x --layer ") == ["base"]
    assert completed("gitstate client set x --kind d") == ["diskless"]
    assert completed("gitstate help prototype s") == ["show"]
    assert "--exit-code" in completed("gitstate status --")
    assert completed(f"gitstate --site {tmp_path} status ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str) -> None:
    variables = {**os.environ, "_GITSTATE_COMPLETE": f"{shell}_source"}
    done = subprocess.run(GITSTATE, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "_gitstate_completion" in done.stdout
    assert done.stderr == ""
