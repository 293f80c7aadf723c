"""What other programs get of our environment, asked of programs themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitstate.core import git, process, settings
from gitstate.core.environment import of_program
from tests.support import needs
from tests.testing.git import Git

OURS = {
    "TAR_OPTIONS": "--transform=s,^,x,",
    "POSIXLY_CORRECT": "1",
    "XZ_OPT": "--nonsense",
    "GIT_DIR": "/nowhere",
    "GIT_INDEX_FILE": "/nowhere",
    "GIT_SSH_COMMAND": "false",
    "LANGUAGE": "de",
    "LC_MESSAGES": "de_DE.UTF-8",
    "IFS": "/",
}
"""Variables that no program of ours may see."""


def environment(*argv: str, **options: bool) -> dict[str, str]:
    """The environment of a program that prints it."""
    lines = process.run([*argv, "env"], **options).decode().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_programs_get_what_is_listed_in_the_c_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = {"HOME": "/h", "TMPDIR": "/tmp", "https_proxy": "http://p", "SSH_AUTH_SOCK": "/s", "TZ": "Asia/Tokyo"}
    for name, value in (OURS | listed).items():
        monkeypatch.setenv(name, value)
    found = environment()
    assert listed.items() <= found.items()
    assert found["LC_ALL"] == "C"
    assert not OURS.keys() & found.keys()


def test_an_installation_gets_the_variables_of_apt_and_of_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEBIAN_FRONTEND", "DEBCONF_DB_OVERRIDE", "A_PACKAGE_S_OWN", "TAR_OPTIONS", "LC_MESSAGES", "XZ_OPT"):
        monkeypatch.setenv(name, "x")
    found = of_program("mmdebstrap")
    assert {"DEBIAN_FRONTEND", "DEBCONF_DB_OVERRIDE", "A_PACKAGE_S_OWN"} < found.keys()
    assert {"TAR_OPTIONS", "LC_MESSAGES", "XZ_OPT"}.isdisjoint(found)
    assert found["LC_ALL"] == "C"
    assert "DEBIAN_FRONTEND" not in of_program("tar")


def test_what_is_loaded_into_us_is_loaded_into_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LD_LIBRARY_PATH", "FAKEROOTKEY"):
        monkeypatch.setenv(name, "7")
    assert {"LD_LIBRARY_PATH": "7", "FAKEROOTKEY": "7"}.items() <= environment().items()


def written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


@needs("git")
def test_git_reads_no_configuration_that_is_not_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    repository = Git.create(tmp_path / "r.git").path
    written(repository / "config", "[one]\n\tlocal = yes\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", written(tmp_path / "global", "[one]\n\tglobal = yes\n"))
    for name, value in {"COUNT": "1", "KEY_0": "one.variable", "VALUE_0": "yes"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    argv = git.on(repository, "config", "--get-regexp", "^one", config={"one.given": "yes"})
    assert process.run(argv) == b"one.local yes\none.given yes\n"
    theirs = process.run(argv, personal=True).decode().split()[::2]
    assert sorted(theirs) == ["one.given", "one.global", "one.local", "one.variable"]


@needs("git")
def test_a_hook_cannot_write_the_configuration_that_git_does_not_read(tmp_path: Path) -> None:
    repository = Git.create(tmp_path / "r.git").path
    hook = repository / "hooks" / "reference-transaction"
    hook.parent.mkdir()
    hook.write_text(
        f"#!/bin/sh\ngit config --global a.b c 2>{tmp_path}/said && echo written >{tmp_path}/said\nexit 0\n"
    )
    hook.chmod(0o755)
    oid = process.run(git.on(repository, "hash-object", "-w", "--stdin"), stdin=b"x").decode().strip()
    process.run(git.on(repository, "update-ref", "refs/tags/x", oid))
    assert "could not lock" in (tmp_path / "said").read_text()


# --- who somebody is --------------------------------------------------------------------------------------------------


ADA = "[user]\n\tname = Ada\n\temail = ada@example.org\n"


@needs("git")
@pytest.mark.parametrize(
    ("text", "who"),
    [
        (ADA, "Ada <ada@example.org>"),
        ("[include]\n\tpath = ada\n", "Ada <ada@example.org>"),
        ('[includeIf "gitdir:**/site/**"]\n\tpath = ada\n', "Ada <ada@example.org>"),
        ('[includeIf "gitdir:**/elsewhere/**"]\n\tpath = ada\n' + ADA.replace("da", "my"), "Amy <amy@example.org>"),
        (ADA + "[author]\n\tname = Ädä\n", "Ädä <ada@example.org>"),
        ("[user]\n\tname = Ada\n", "Ada <at@example.org>"),
    ],
    ids=["plain", "included", "included for the site", "not included", "author", "EMAIL"],
)
def test_names_are_asked_of_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, who: str) -> None:
    written(tmp_path / "ada", ADA)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", written(tmp_path / "config", text))
    monkeypatch.setenv("EMAIL", "at@example.org")
    (tmp_path / "site").mkdir()
    repository = Git.create(tmp_path / "site" / "directory.git").path
    assert settings.author(None, repository).who == who
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Grace")
    assert settings.author(None, repository).who == f"Grace {who.partition(' ')[2]}"
    assert settings.author("Eve <e@x>", repository).who == "Eve <e@x>"


@needs("git")
def test_who_has_no_name_is_called_by_the_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SUDO_USER", "ada")
    assert settings.author(None, tmp_path / "none.git").who.startswith("ada <ada@")
    monkeypatch.delenv("SUDO_USER")
    monkeypatch.setattr("os.getuid", lambda: 4_000_000_000)
    assert settings.author(None, tmp_path / "none.git").who.startswith("uid-4000000000 <")
