"""The command line: -n, options anywhere, left-out names, errors and exit codes."""

from __future__ import annotations

import errno
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Final

import pytest

from gitstate import cli
from gitstate.core.errors import ConflictError
from gitstate.release.opened import OpenedSite
from tests.cli.harness import COMMANDS, GITSTATE, environment, listing, said
from tests.fork_server import ForkServer
from tests.gitstate_command import Site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "setfacl", "setcap")]


# --- -n writes nothing ------------------------------------------------------------------------------------------------


DRY: Final = {
    "restore": ("restore", "desktop", "--all"),
    "update": ("update", "desktop"),
    "init": ("--site", "{}/new", "init"),
    "prototype create": ("prototype", "create", "new", "--live", "{}/another"),
    "prototype create, copied": ("prototype", "create", "new", "--from", "{}/root"),
    "prototype create, forked": ("prototype", "create", "new", "--from", "desktop@HEAD~1"),
    "prototype create, installed": ("prototype", "create", "new", "--bootstrap", "bookworm"),
    "prototype remove": ("prototype", "remove", "desktop", "--yes"),
    "checkin": ("checkin", "desktop", "-m", "third"),
    "export": ("export", "desktop"),
    "export, there already": ("export", "desktop", "HEAD~1"),
    "export, elsewhere": ("export", "desktop", "--to", "{}/new"),
    "clone": ("clone", "desktop", "{}/new"),
    "tag": ("tag", "desktop", "v9"),
    "gc": ("gc",),
}
READING: Final = {
    "status": ("status", "desktop"),
    "diff": ("diff", "desktop"),
    "log": ("log", "desktop"),
    "show": ("show", "desktop"),
    "blame": ("blame", "desktop", "etc/fstab"),
    "manifest": ("manifest", "desktop"),
    "verify": ("verify", "desktop", "HEAD~1"),
    "fsck": ("fsck",),
    "prototype list": ("prototype", "list"),
    "prototype show": ("prototype", "show", "desktop"),
    "help": ("help", "prototype", "show"),
}
ELSEWHERE: Final = {
    "directory import",
    *("boot write", "prepare", "doctor", "directory export", "directory check"),
    *(f"client {verb}" for verb in ("add", "adopt", "import", "list", "remove", "report", "set", "show")),
    *(f"class {verb}" for verb in ("list", "of", "remove", "set", "test")),
    *(f"channel {verb}" for verb in ("create", "list", "remove", "show")),
    *(
        f"layer {verb}"
        for verb in ("create", "diff", "list", "owner", "remove", "rename", "render", "resolve", "which")
    ),
    *(f"secret {verb}" for verb in ("add", "known-hosts", "list", "remove", "renew")),
    *(f"local {verb}" for verb in ("add", "autofix", "fix", "list", "remove")),
    *("push", "reconcile", "rollback", "prototype rename", "shell", "mount", "umount", "live"),
    *(f"review {verb}" for verb in ("drop", "list", "merge", "receive", "show", "split")),
}
"""Tested where their fixtures are: tests/cli, tests/release."""


def test_every_command_writes_with_n_or_only_reads() -> None:
    dry = {name for name, command in COMMANDS.items() if any(one.name == "dry_run" for one in command.params)}
    assert {name.partition(",")[0] for name in DRY} == dry - ELSEWHERE
    assert set(READING) == COMMANDS.keys() - dry - ELSEWHERE
    assert COMMANDS.keys() >= ELSEWHERE


@pytest.mark.parametrize("name", DRY)
def test_a_dry_run_writes_nothing(site: Site, place: Path, name: str) -> None:
    before = listing(place)
    done = site.run(*[word.format(place) for word in DRY[name]], "-n")
    assert listing(place) == before
    assert done.stdout


@pytest.mark.parametrize("name", READING)
def test_what_only_reads_leaves_no_trace(site: Site, place: Path, name: str) -> None:
    private = site.repository("desktop") / "gitstate"
    before = {path: one for path, one in listing(place).items() if path != str(private)}
    site.run(*READING[name])
    assert {path: one for path, one in listing(place).items() if path != str(private)} == before


def test_a_dry_run_fails_where_the_command_would(site: Site, place: Path, fork_server: ForkServer) -> None:
    for words in (
        ("init",),
        ("--site", str(place), "init"),
        ("clone", "desktop", str(place / "root")),
        ("export", "desktop", "--to", str(place / "root")),
        ("prototype", "create", "desktop"),
        ("prototype", "create", "new", "--from", "desktop@nothing"),
        ("prototype", "remove", "nothing"),
    ):
        wet_code, _, wet_said = fork_server.run(list(words), place, environment=environment(site))
        dry_code, _, dry_said = fork_server.run([*words, "-n"], place, environment=environment(site))
        assert wet_code
        assert (dry_code, dry_said) == (wet_code, wet_said), words


# --- options and names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("--json", "status", "desktop"),
        ("status", "--json", "desktop"),
        ("status", "desktop", "--json"),
        ("--json", "prototype", "show", "desktop"),
        ("prototype", "--json", "show", "desktop"),
        ("prototype", "show", "desktop", "--json"),
        ("--json", "log", "desktop"),
        ("log", "--json", "desktop", "-p"),
        ("log", "desktop", "--json", "--", "etc"),
        ("diff", "desktop", "HEAD~1", "HEAD", "--json"),
    ],
)
def test_common_options_stand_anywhere(site: Site, words: tuple[str, ...]) -> None:
    assert json.loads(site.run(*words).stdout)["schema"]


@pytest.mark.parametrize("before", [True, False])
def test_site_stands_anywhere(site: Site, place: Path, before: bool) -> None:
    option = ["--site", str(site.path)]
    words = [*option, "status", "desktop"] if before else ["status", *option, "desktop"]
    assert Site(place / "no site").run(*words).stdout == site.run("status", "desktop").stdout
    assert Site(place / "no site").run("log", "desktop", f"--site={site.path}").stdout


LEFT_OUT: Final = {
    "status": (),
    "checkin": ("-m", "x", "-n"),
    "export": ("-n",),
    "export of a revision": ("HEAD~1", "-n"),
    "manifest": ("HEAD",),
    "verify": ("HEAD~1",),
    "log": ("-p", "HEAD~1", "--", "etc/hosts"),
    "log of a path": ("etc/hosts",),
    "show": ("HEAD~1",),
    "diff": ("HEAD~1", "HEAD"),
    "diff with the live tree": (),
    "clone": ("../../elsewhere", "-n"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_repo_is_left_out_inside_its_live_tree(site: Site, place: Path, name: str) -> None:
    command, words, inside = name.partition(" ")[0], LEFT_OUT[name], place / "root" / "usr" / "bin"
    short, full = site.run(command, *words, cwd=inside), site.run(command, "desktop", *words, cwd=inside)
    assert re.sub(r"[0-9.]+ s", "", short.stdout) == re.sub(r"[0-9.]+ s", "", full.stdout)
    whole_site = name == "status"  # outside any live tree it tells of the site
    message = "" if whole_site or (words and words[0][0] != "-") else said(site, command, *words, code=2, cwd=place)
    assert not message or str(place) in message


def test_a_wrong_repo_is_told_with_the_nearest(site: Site, place: Path) -> None:
    for command in ("status", "export", "log", "diff", "fsck", "manifest"):
        assert "desktop" in site.refuses(10, command, "dekstop", naming="dekstop", cwd=place)
    assert "desktop" in site.refuses(10, "export", "dekstop", "HEAD", naming="dekstop", cwd=place / "root")
    site.refuses(2, "verify", "desktop", "HEAD", "a", "b", naming="b")
    site.refuses(2, "clone", "desktop")


def test_of_gits_words_only_whole_options_are_ours(site: Site) -> None:
    oneline = site.run("log", "desktop", "--oneline").stdout
    assert len(oneline.splitlines()) == 2
    assert site.run("log", "--oneline", "desktop").stdout == oneline
    assert site.run("log", "-n", "1", "--oneline", "desktop").stdout == oneline.splitlines(keepends=True)[0]
    assert site.run("log", "desktop", "-1", "--oneline").stdout == oneline.splitlines(keepends=True)[0]
    for letter in "hqvz":  # each of them is an option somewhere
        assert site.run("log", "desktop", "--oneline", f"-S{letter}{letter}{letter}").stdout == ""
    assert site.run("log", "desktop", "--oneline", "-Gproxy").stdout == oneline.splitlines(keepends=True)[0]
    assert site.run("diff", "desktop", "HEAD~1", "HEAD", "--name-only", "-z").stdout == "etc/hosts\0"
    assert site.run("diff", "desktop", "HEAD~1", "HEAD", "--", "--json").stdout == ""


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("chekin",), "checkin"),
        (("stats",), "status"),
        (("exprot", "desktop"), "export"),
        (("prototype", "lst"), "list"),
        (("prototype", "delete", "x"), "remove"),
        (("commit",), "checkin"),
        (("frobnicate",), None),
    ],
)
def test_an_unknown_command_suggests_the_nearest(site: Site, words: tuple[str, ...], near: str | None) -> None:
    text = said(site, *words, code=2)
    assert text.startswith("gitstate: no command ")
    assert len(text.splitlines()) == 2
    assert (near in text) if near else ("mean" not in text)


@pytest.mark.parametrize("words", [(), ("prototype",)])
def test_no_command_gets_the_help_and_an_error(site: Site, words: tuple[str, ...]) -> None:
    done = site.run(*words, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("Usage: gitstate ")
    assert site.run(*words, "--help").stdout == done.stderr


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_usage_errors_name_the_commands_own_help(site: Site) -> None:
    for words in (("checkin", "--message"), ("checkin", "desktop", "--frobnicate")):
        assert said(site, *words, code=2).endswith("\n  gitstate checkin --help shows how\n")
    assert said(site, "prototype", "create", code=2).endswith("\n  gitstate prototype create --help shows how\n")
    assert said(site, "--frobnicate", code=2).endswith("\n  gitstate --help shows how\n")


def test_a_directory_that_is_gone_is_told(site: Site, tmp_path: Path) -> None:
    script = f"mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir ../gone && {shlex.join(GITSTATE)} status desktop"
    done = subprocess.run(["bash", "-c", script], env=environment(site), capture_output=True, text=True, check=False)
    expected = "gitstate: the current directory doesn't exist any more\n  cd to another one\n"
    assert (done.returncode, done.stdout, done.stderr) == (5, "", expected)


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/srv/x"), 6, "/srv/x: No space left on device"),
        (OSError(errno.EIO, "Input/output error"), 6, "Input/output error"),
        (OSError(errno.EROFS, "Read-only file system", b"/srv/\xff"), 5, "/srv/\\377: Read-only file system"),
        (PermissionError(errno.EACCES, "Permission denied", "/srv/x"), 5, "/srv/x: Permission denied"),
        (OSError("odd"), 5, "odd"),
        (ConflictError("two states", "decide"), 12, "two states"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ValueError("odd"), 70, "bug: ValueError: odd"),
        (MemoryError(), 5, "out of memory"),
        (RuntimeError("can't start new thread"), 5, "can't start new thread"),
        (FileExistsError(errno.EEXIST, "File exists", "/srv/x"), 5, "/srv/x: File exists"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/srv/x"), 6, "/srv/x: Disk quota exceeded"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("form", ["text", "json", "verbose"])
def test_whatever_is_raised_is_told(
    raised: BaseException,
    code: int,
    message: str,
    form: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: object, **attributes: object) -> None:
        raise raised

    words = {"text": [], "json": ["--json"], "verbose": ["-v"]}[form]
    monkeypatch.setattr("sys.argv", ["gitstate", *words, "fsck", "desktop"])
    monkeypatch.setattr(OpenedSite, "open", fail)
    with pytest.raises(SystemExit) as end:
        cli.main()
    told = capfd.readouterr()
    assert (end.value.code, told.out) == (code, "")
    if form == "json":
        error = json.loads(told.err.splitlines()[-1])["error"]
        assert (error["code"], error["message"]) == (code, message)
    else:
        lines = told.err.removeprefix("\n" * (code == 130)).splitlines()
        assert ("Traceback" in told.err) is (form == "verbose" and code == 70)
        assert lines[-2] == f"gitstate: {message}"
        assert lines[-1].startswith("  ")
        assert len(lines) == 2 or form == "verbose"
