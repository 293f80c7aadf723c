"""The shell scripts, and `run` as the one door: what it says, what it refuses, what it would install."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support import PROJECT, needs

VERBS: Final = ("setup", "demo", "test", "bench", "lint", "help")
NOT_OURS: Final = {".git", ".venv", ".work"}


def shell_scripts() -> Iterator[Path]:
    for directory, below, files in os.walk(PROJECT):
        below[:] = [name for name in below if directory != str(PROJECT) or name not in NOT_OURS]
        for path in (Path(directory, name) for name in sorted(files)):
            if path.is_file() and not path.is_symlink() and is_shell(path):
                yield path


def is_shell(path: Path) -> bool:
    with path.open("rb") as file:
        words = file.readline(200).replace(b"/", b" ").split()
    return words[:1] == [b"#!"] and any(word in (b"sh", b"bash") for word in words)


@needs("shellcheck")
def test_every_shell_script_passes_shellcheck() -> None:
    scripts = list(shell_scripts())
    assert {PROJECT / "run", PROJECT / ".ci/run"} <= set(scripts)
    checked = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_help_lists_the_verbs() -> None:
    done = subprocess.run([PROJECT / "run", "help"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usage: ./run ")
    listed = [line.split()[0] for line in done.stdout.splitlines() if re.match("  [a-z]", line)]
    assert tuple(listed) == VERBS


@pytest.mark.parametrize("arguments", [["frobnicate"], ["--all"], [""], []])
def test_anything_else_is_a_usage_error(arguments: list[str]) -> None:
    done = subprocess.run([PROJECT / "run", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: ./run " in done.stderr
    assert done.stdout == ""


class Machine:
    """A copy of `run` in an empty checkout, on a machine of few programs; some only log their calls."""

    def __init__(self, root: Path) -> None:
        self.checkout = root / "checkout"
        self.programs = root / "bin"
        self.log = root / "log"
        self.checkout.mkdir()
        self.programs.mkdir()
        self.log.touch()
        for name in ("run", "pyproject.toml"):
            shutil.copy(PROJECT / name, self.checkout)
        for name in ("cat", "cksum", "cp", "dirname", "find", "mkdir", "sh", "xargs"):
            (self.programs / name).symlink_to(shutil.which(name) or name)
        self.add("id", "echo 1000")  # so that no mistake here can install anything

    def add(self, name: str, script: str, folder: Path | None = None) -> None:
        program = (folder or self.programs) / name
        program.write_text(f'#!/bin/sh\necho "${{0##*/}} $*" >>"{self.log}"\n{script}\n')
        program.chmod(0o755)

    def add_python(self) -> None:
        """A Python that has all it takes, makes a .venv of itself, and fails at what FAIL names."""
        self.add(
            "python3",
            'case "$*" in\n'
            '    "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;\n'
            '    "${FAIL:-nothing}"*) exit 1 ;;\n'
            "esac",
        )

    def add_packages(self, *absent: str) -> None:
        """A dpkg that has every package `run` asks for but ``absent``."""
        wanted = self.wanted("test")
        assert set(absent) <= set(wanted)
        words = " ".join(f"installed:{name}" for name in wanted if name not in absent)
        self.add("dpkg-query", f"echo config-files:acl {words}")

    def wanted(self, verb: str) -> list[str]:
        """The packages that `run` names when there is nothing and no way to get it."""
        return self.run(verb).stderr.partition("--no-install-recommends ")[2].partition("\n")[0].split()

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return subprocess.run(
            [self.checkout / "run", *arguments],
            env={"PATH": str(self.programs), **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    def called(self, program: str) -> list[str]:
        """The arguments of each call of ``program`` in the last run."""
        calls = (line.partition(" ") for line in self.log.read_text().splitlines())
        return [arguments for name, _, arguments in calls if name == program]

    def untouched(self) -> bool:
        return {path.name for path in self.checkout.iterdir()} == {"run", "pyproject.toml"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_apt_it_says_once_what_it_needs(machine: Machine) -> None:
    done = machine.run("setup")
    assert done.returncode == 5
    assert done.stderr.startswith("run: cannot install what is missing: there is no apt-get here\n")
    assert done.stderr.count("run: ") == 1
    assert len(done.stderr.splitlines()) == 5
    for word in ("mtree-netbsd", " mtree ", "mmdebstrap", "python3-venv", "python3.11"):
        assert word in done.stderr
    assert done.stdout == ""
    assert machine.untouched()


def test_the_program_needs_no_compiler_and_no_servers(machine: Machine) -> None:
    assert machine.wanted("demo") == machine.wanted("setup")
    assert set(machine.wanted("setup")) < set(machine.wanted("test"))
    assert not {"gcc", "python3-dev", "libldap-dev", "slapd", "nfs-ganesha", "dnsmasq-base"} & set(
        machine.wanted("setup")
    )


def test_the_boot_demo_says_why_it_installs_servers(machine: Machine) -> None:
    done = machine.run("demo", "--boot")
    assert done.returncode == 5
    assert "QEMU" in done.stderr.splitlines()[0]
    assert "qemu-system-x86" in done.stderr


def test_a_program_counts_where_dpkg_does_not_know_it(machine: Machine) -> None:
    machine.add("rsync", "")
    assert "rsync" not in machine.wanted("test")


def test_only_root_installs(machine: Machine) -> None:
    machine.add("apt-get", "")
    done = machine.run("setup")
    assert done.returncode == 5
    assert "only root can install packages" in done.stderr
    assert machine.called("apt-get") == []
    assert machine.untouched()


def test_only_what_is_missing_is_installed(machine: Machine) -> None:
    machine.add_packages("git", "mmdebstrap")
    machine.add_python()
    machine.add("apt-get", "")
    machine.add("id", "echo 0")
    done = machine.run("setup")
    assert done.returncode == 0, done.stderr
    assert machine.called("apt-get") == ["-qq update", "-qq -y install --no-install-recommends git mmdebstrap"]


def test_a_failing_apt_changes_nothing_here(machine: Machine) -> None:
    machine.add_packages("git")
    machine.add_python()
    machine.add("apt-get", "exit 100")
    machine.add("id", "echo 0")
    done = machine.run("setup")
    assert done.returncode == 5
    assert "apt-get failed" in done.stderr
    assert machine.untouched()


def test_an_old_python_is_not_taken(machine: Machine) -> None:
    machine.add_packages()
    machine.add("python3", "exit 1")
    machine.add("apt-get", "")
    machine.add("id", "echo 0")
    done = machine.run("setup")
    assert done.returncode == 5
    assert "no Python that will do" in done.stderr
    assert machine.untouched()


def test_a_second_setup_finds_nothing_to_do(machine: Machine) -> None:
    machine.add_packages()
    machine.add_python()
    machine.add("apt-get", "exit 100")

    assert machine.run("setup").returncode == 0
    assert machine.called("python")[-1].endswith("--editable .")
    again = machine.run("setup")
    assert (again.returncode, again.stderr) == (0, "")
    assert machine.called("python3") + machine.called("python") + machine.called("apt-get") == []

    with (machine.checkout / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert machine.run("setup").returncode == 0
    assert "-m venv --clear .venv" not in machine.called("python3")
    assert machine.called("python")[-1].endswith("--editable .")


def test_a_failing_pip_is_tried_again(machine: Machine) -> None:
    machine.add_packages()
    machine.add_python()
    failed = machine.run("setup", FAIL="-m pip --disable")
    assert failed.returncode == 5
    assert "package index" in failed.stderr
    assert machine.run("setup").returncode == 0
    assert machine.called("python")[-1].endswith("--editable .")


def test_the_demo_gets_its_arguments_and_our_gitstate(machine: Machine) -> None:
    machine.add_packages()
    machine.add_python()
    demo = machine.checkout / "tests/demo"
    demo.mkdir(parents=True)
    machine.add("demo", 'echo "$PATH"; exit 7', demo)
    done = machine.run("demo", "--keep", "a b")
    assert done.returncode == 7
    assert done.stdout.startswith(f"{machine.checkout}/.venv/bin:")
    assert machine.called("demo") == ["--keep a b"]
    assert machine.called("python")[-1].endswith("--editable .")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "-m pytest -n 2 --dist loadgroup -m not slow and not lab"),
        (["-k", "names"], "-m pytest -n 2 --dist loadgroup -m not slow and not lab -k names"),
        (["--all"], "-m pytest -n 2 --dist loadgroup -m "),
        (["--all", "-x"], "-m pytest -n 2 --dist loadgroup -m  -x"),
    ],
)
def test_which_tests_run(machine: Machine, arguments: list[str], expected: str) -> None:
    machine.add_packages()
    machine.add_python()
    machine.add("shellcheck", "")
    done = machine.run("test", *arguments)
    assert done.returncode == 0, done.stderr
    assert machine.called("python")[-4:] == [
        "-m ruff check --quiet",
        "-m ruff format --check --quiet",
        "-m mypy --strict gitstate",
        expected,
    ]
    assert machine.called("shellcheck") == ["./run"]


@pytest.mark.parametrize("failing", ["-m ruff check", "-m ruff format", "-m mypy", "shellcheck", "-m pytest"])
def test_any_failure_fails_the_whole_and_hides_no_other(machine: Machine, failing: str) -> None:
    machine.add_packages()
    machine.add_python()
    machine.add("shellcheck", f"[ '{failing}' != shellcheck ]")
    done = machine.run("test", FAIL=failing)
    assert done.returncode == 1
    assert machine.called("shellcheck")
    assert machine.called("python")[-1].startswith("-m pytest")
