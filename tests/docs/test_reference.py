"""The reference and the manual page say what the program does, all of it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import tomllib
from pathlib import Path

import click
import pytest

from gitstate.core import errors, settings
from tests.docs import reference
from tests.docs.reference import CODES, MAN_PAGE, REFERENCE, REPOSITORY_KEYS, SITE_KEYS, VARIABLES, leaves
from tests.gitstate_command import make_site
from tests.support import PROJECT, require


@pytest.mark.parametrize("path", [REFERENCE, MAN_PAGE], ids=lambda path: path.name)
def test_it_is_up_to_date(path: Path) -> None:
    assert path.read_text("utf-8") == reference.made()[path], "python -m tests.docs.reference --write"


def keys(rows: list[tuple[str, str]]) -> set[str]:
    return {key for row, _ in rows for key in row.split(", ")}


def test_exit_codes_are_told() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    raised = {kind.code for kind in kinds if issubclass(kind, errors.GitstateError)}
    schema = json.loads((PROJECT / "schemas" / "error.schema.json").read_text("utf-8"))
    told = {int(code) for code in keys(CODES)}
    assert raised <= told
    assert told - {0, 1, 141} == set(schema["properties"]["error"]["properties"]["code"]["enum"])
    assert [int(code) for code, _ in CODES] == sorted(told)


def test_variables_are_told() -> None:
    source = ast.parse(Path(settings.__file__).read_text("utf-8"))
    words = [node.value for node in ast.walk(source) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    read = {word for word in words if re.fullmatch("[A-Z][A-Z_]*[A-Z]", word)}
    assert {"GITSTATE_SITE", "NO_COLOR", "SUDO_USER"} <= read
    text = " ".join(f"{key} {meaning}" for key, meaning in VARIABLES)
    assert not [word for word in read if word not in text]


def test_keys_are_told(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    site.run("prototype", "create", "desktop")
    assert set(tomllib.loads((site.path / "site.toml").read_text())) == keys(SITE_KEYS)
    listed = site.git("desktop", "config", "--local", "--name-only", "--list").split()
    gits = {"core.repositoryformatversion", "core.filemode", "core.bare"}
    assert set(listed) - gits == {key.lower() for key in keys(REPOSITORY_KEYS)}


@pytest.mark.parametrize("name", [name for name, _ in leaves(reference.app)])
def test_every_option_says_what_it_takes(name: str) -> None:
    command = dict(leaves(reference.app))[name]
    for option in (one for one in command.params if isinstance(one, click.Option)):
        assert option.help
        assert option.help.endswith(".")
        assert option.is_flag or option.metavar, f"{name}: {option.opts} has no metavar"
        assert "\n" not in option.help


def test_schemas_are_linked_and_exist() -> None:
    linked = re.findall(r"\]\(\.\./schemas/(\S+)\.schema\.json\)", REFERENCE.read_text("utf-8"))
    here = {path.name.removesuffix(".schema.json") for path in (PROJECT / "schemas").glob("*.schema.json")}
    assert set(linked) == here - {"definitions", "layer", "policy", "probe", "site"}


@pytest.mark.parametrize(
    "program",
    [
        ("man", "--warnings", "--local-file", str(MAN_PAGE)),
        ("groff", "-man", "-Tutf8", "-ww", str(MAN_PAGE)),
    ],
    ids=lambda words: words[0],
)
def test_the_manual_page_is_clean(program: tuple[str, ...]) -> None:
    require(program[0])
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    plain = re.sub(".\b", "", re.sub("\x1b\\[[0-9;]*m", "", done.stdout))
    assert "gitstate checkin [OPTIONS] [REPO]" in plain
    assert "_GITSTATE_COMPLETE=bash_source" in plain
    assert "\\ooo" in plain


def test_staleness_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reference, "REFERENCE", tmp_path / "cli.md")
    monkeypatch.setattr(reference, "MAN_PAGE", tmp_path / "gitstate.1")
    monkeypatch.setattr("sys.argv", ["reference"])
    with pytest.raises(SystemExit, match="True"):
        reference.main()
    assert capsys.readouterr().out.count("out of date") == 2
    monkeypatch.setattr("sys.argv", ["reference", "--write"])
    with pytest.raises(SystemExit, match="False"):
        reference.main()
    assert (tmp_path / "cli.md").read_text() == REFERENCE.read_text()
