"""Streams, accounts and locales other than at home: the same exit codes, the same bytes, and no traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import click
import pytest

from gitstate.cli.base.app import app
from tests.gitstate_command import Site, make_site
from tests.support import PROJECT, needs, root_only, unavailable

pytestmark = [root_only, needs("git")]

LOCALE = "de_DE.ISO-8859-1"
NAMES = ("Grüße", "x\udce9y")


@dataclass(frozen=True)
class Surroundings:
    """Variables (None: not there), descriptors that are closed, and a command in front."""

    variables: Mapping[str, str | None] = field(default_factory=dict)
    closed: tuple[int, ...] = ()
    nameless: bool = False

    def run(self, site: Site, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run ``gitstate WORDS``; what a closed stream would carry is empty."""
        changed = os.environ | {"GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)} | dict(self.variables)
        argv = [sys.executable, "-m", "gitstate", *words]
        if self.nameless:
            # systemd knows root without a line of passwd
            script = 'mount --bind "$1" /etc/passwd && mount --bind "$1" /etc/nsswitch.conf && shift && exec "$@"'
            argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(site.path.parent / "nobody"), *argv]
        closing = " ".join(f"{number}{'<' if number == 0 else '>'}&-" for number in self.closed)
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {closing}', "sh", *argv],
            env={name: value for name, value in changed.items() if value is not None},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A directory with an eight-bit locale."""
    place = tmp_path_factory.mktemp("locales")
    argv = ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(place / LOCALE)]
    try:
        subprocess.run(argv, check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        unavailable("missing: localedef, or its sources (locales)")
    return str(place)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with a prototype and names of files that aren't ASCII, or not even UTF-8."""
    place = tmp_path_factory.mktemp("surroundings")
    (place / "nobody").write_text("")
    live = place / "live"
    (live / "etc").mkdir(parents=True)
    for name in NAMES:
        (live / "etc" / name).write_text(f"{name.encode('utf-8', 'replace').decode()}\n")
    made = make_site(place / "site")
    made.run("prototype", "create", "desktop", "--live", str(live))
    made.run("checkin", "desktop", "-m", "Grüße", "--author", "Ädä <a@example.org>")
    made.run("channel", "create", "lab", "--prototype", "desktop")
    made.run("client", "add", "lab-1", "--channel", "lab")
    (live / "etc" / "neü").write_text("neü\n")
    return made


SURROUNDINGS = {
    "eight-bit locale": Surroundings({"LC_ALL": LOCALE}),
    "POSIX": Surroundings({"LC_ALL": "POSIX"}),
    "no such locale": Surroundings({"LC_ALL": "xx_XX.UTF-8"}),
    "German": Surroundings({"LC_ALL": "C.UTF-8", "LANGUAGE": "de"}),
    "no stdin": Surroundings(closed=(0,)),
    "no stdout": Surroundings(closed=(1,)),
    "no stderr": Surroundings(closed=(2,)),
    "no stream": Surroundings(closed=(0, 1, 2)),
    "no HOME": Surroundings({"HOME": None, "USER": None, "LOGNAME": None}),
    "no variables": Surroundings(dict.fromkeys(("HOME", "PATH", "TZ", "TERM", "LC_ALL", "LANG"))),
    "no account": Surroundings({"HOME": None}, nameless=True),
}
COMMANDS = (
    ("log", "desktop", "-p"),
    ("diff", "desktop"),
    ("manifest", "desktop"),
    ("client", "import", "-"),
    ("client", "add", "lab-ü", "-n"),
    ("checkin", "desktop", "-n", "-m", "ü"),
    ("push", "desktop", "lab"),
    ("log", "désktop"),
)


@pytest.fixture(scope="module")
def at_home(site: Site) -> Mapping[tuple[str, ...], subprocess.CompletedProcess[bytes]]:
    """What the commands do where nothing is odd."""
    return {words: Surroundings().run(site, *words) for words in COMMANDS}


@pytest.fixture(params=SURROUNDINGS)
def surroundings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    found = SURROUNDINGS[request.param]
    if found.variables.get("LC_ALL") == LOCALE:
        monkeypatch.setenv("LOCPATH", request.getfixturevalue("locales"))
    if found.nameless and subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        unavailable("no mount namespaces")
    return found


def test_commands_do_the_same(
    site: Site, surroundings: Surroundings, at_home: Mapping[tuple[str, ...], subprocess.CompletedProcess[bytes]]
) -> None:
    for words, wanted in at_home.items():
        done = surroundings.run(site, *words)
        assert done.returncode == wanted.returncode, (words, done)
        assert done.stdout == (b"" if 1 in surroundings.closed else wanted.stdout), words
        assert done.stderr == (b"" if 2 in surroundings.closed else wanted.stderr), words


def commands(command: click.Command, context: click.Context, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command and group."""
    yield words
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, click.Context(found, info_name=name), (*words, name))


def test_the_help_of_every_command_is_printed(site: Site, locales: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in one of the surroundings: three starts for each would take a minute. That a start finds all the modules of
    a command is proved nowhere else: where commands are forked, they are there."""
    monkeypatch.setenv("LOCPATH", locales)
    open_streams = [one for one in SURROUNDINGS.values() if not one.closed and not one.nameless]
    for number, words in enumerate(commands(app, click.Context(app))):
        done = open_streams[number % len(open_streams)].run(site, *words, "--help")
        assert done.returncode == 0, (words, done)
        assert done.stdout.decode().startswith("Usage: gitstate")
        assert done.stderr == b""


def test_who_has_no_account_may_write(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    nameless = SURROUNDINGS["no account"]
    if subprocess.run(["unshare", "--mount", "true"], check=False).returncode:
        unavailable("no mount namespaces")
    for words in (
        ("checkin", "desktop", "-m", "by nobody"),
        ("push", "desktop", "lab", "--yes"),
        ("clone", "desktop", str(site.path.parent / "work")),
        ("prototype", "create", "fork", "--from", "desktop@main"),
    ):
        done = nameless.run(site, *words)
        assert done.returncode == 0, (words, done)
    assert "uid-0" in site.json("log", "desktop")["commits"][0]["author"]
