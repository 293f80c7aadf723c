"""The wording of typical errors: the only test that holds whole sentences. Others assert exit codes and values."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

WORDING: Final = {
    "status dekstop": (10, "no repository dekstop", "did you mean desktop?"),
    "chekin desktop": (2, "no command 'chekin'; did you mean checkin, client?", "gitstate --help shows how"),
    "undo": (2, "no command 'undo'; did you mean rollback?", "gitstate --help shows how"),
    "client ls": (2, "no command 'ls'; did you mean list?", "gitstate client --help shows how"),
    "grep desktop": (
        2,
        "no command 'grep'; did you mean prepare, help?; plain git: git -C SITE/prototypes/REPO.git grep PATTERN main",
        "gitstate --help shows how",
    ),
    "help status foo": (2, "gitstate status has no commands below it", "gitstate status --help shows how"),
    "clone desktop": (2, "DIRECTORY is missing", "gitstate clone REPO DIRECTORY"),
    "status desktop -z --json": (2, "-z and --json exclude each other", "JSON has every name in octal"),
    "status desktop --quick": (2, "--quick and REPO exclude each other", "gitstate status --quick"),
    "checkin desktop -m x --allow etc/key": (2, "each --allow needs a --because", "--allow PATH --because TEXT"),
    "local add desktop": (2, "PATH is missing", "gitstate local add desktop /etc/fstab"),
    "client show kiosk-2": (10, "no client kiosk-2", "did you mean kiosk-1?"),
    "client set kiosk-1": (2, "nothing to set", "such as --pin PROTOTYPE@REV; see gitstate client set --help"),
    "client set kiosk-1 server --ip 10.0.0.1": (
        2,
        "--mac and --ip take a single client",
        "run it once for each client",
    ),
    "client list --ip 10.0.0.1/24": (
        2,
        "'10.0.0.1/24' is not an IP address or network",
        "10.77.0.12, or 10.77.0.0/24",
    ),
    "client remove server -m ": (2, "the message is empty", "without -m, history describes the change"),
    "layer diff kiosk-1": (
        2,
        "two hosts, or one host and two releases, are needed",
        "HOST1 HOST2, or HOST --at OLD NEW; OLD and NEW are releases or days",
    ),
    "secret remove kiosk-1": (2, "PATH is missing", "name a PATH, or remove all: gitstate secret remove kiosk-1 --all"),
    "checkin desktop": (
        2,
        "a check-in needs a message",
        "-m TEXT; an editor opens only in a terminal, or if GIT_EDITOR is set",
    ),
    "prototype remove desktop": (2, "removing desktop deletes its history", "confirm with --yes"),
}
"""Command -> exit code, message, hint."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    place = tmp_path_factory.mktemp("wording")
    site = make_site(place / "site")
    site.run("prototype", "create", "desktop")
    site.run("client", "add", "kiosk-1", "server")
    return site


@pytest.mark.parametrize("command", WORDING)
def test_errors_say_what_and_what_to_do(site: Site, command: str, tmp_path: Path) -> None:
    code, message, hint = WORDING[command]
    done = site.run(*command.split(" "), code=code, cwd=tmp_path)
    if "--json" not in command:
        assert done.stderr == f"gitstate: {message}\n  {hint}\n"
    else:
        assert message in done.stderr
        assert hint in done.stderr
