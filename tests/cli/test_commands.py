"""What users see: options, left-out names, exit codes, interruptions, closed pipes, terminals, colours, help."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click
import pytest

from gitstate import cli
from gitstate.cli.base.app import Session, app
from gitstate.cli.base.help import Command, Group
from gitstate.cli.base.output import table
from gitstate.core.errors import ConflictError
from gitstate.release.opened import OpenedSite
from tests.cli.harness import ODD, edit, listing, plant
from tests.cli.terminal import PATIENCE, Screen, on_terminal
from tests.gitstate_command import Site, make_site
from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("git", "setfacl", "setcap")]

GITSTATE: Final = (sys.executable, "-m", "gitstate")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A site with a prototype of two snapshots, an edited live tree and an export. Nobody changes it."""
    place = tmp_path_factory.mktemp("commands")
    site = make_site(place / "site")
    plant(place / "root")
    (place / "another").mkdir()
    site.run("prototype", "create", "desktop", "--live", str(place / "root"))
    site.run("checkin", "desktop", "-m", "first")
    site.run("checkin", "desktop", "-m", "second", "--replace")
    (place / "root" / "etc" / "hosts").write_text("10.0.0.1 proxy\n")
    site.run("checkin", "desktop", "-m", "second")
    site.run("export", "desktop", "HEAD~1")
    edit(place / "root")
    yield place
    shutil.rmtree(place)


@pytest.fixture
def site(place: Path) -> Site:
    return Site(place / "site")


def environment(site: Site, **variables: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # as users have it
    return {**ours, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT), **variables}


def said(site: Site, *words: str, code: int, cwd: Path | None = None) -> str:
    """What a failing command says."""
    return site.run(*words, code=code, cwd=cwd).stderr


# --- -n writes nothing ------------------------------------------------------------------------------------------------

DRY: Final = {
    "restore": ("restore", "desktop", "--all"),
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
    *("push", "reconcile", "rollback", "prototype rename"),
}
"""Tested where their fixtures are: tests/cli, tests/release."""


def leaves(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command that users see, by its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from leaves(command, f"{path}{name} ")
        elif command is not None and not command.hidden:
            yield f"{path}{name}", command


COMMANDS: Final = dict(leaves(app))


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


def test_a_dry_run_fails_where_the_command_would(site: Site, place: Path) -> None:
    for words in (
        ("init",),
        ("--site", str(place), "init"),
        ("clone", "desktop", str(place / "root")),
        ("export", "desktop", "--to", str(place / "root")),
        ("prototype", "create", "desktop"),
        ("prototype", "create", "new", "--from", "desktop@nothing"),
        ("prototype", "remove", "nothing"),
    ):
        wet = subprocess.run([*GITSTATE, *words], env=environment(site), capture_output=True, text=True, check=False)
        dry = subprocess.run(
            [*GITSTATE, *words, "-n"], env=environment(site), capture_output=True, text=True, check=False
        )
        assert wet.returncode
        assert (dry.returncode, dry.stderr) == (wet.returncode, wet.stderr), words


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
    for words in (("checkin", "desktop"), ("checkin", "--message"), ("checkin", "desktop", "--frobnicate")):
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


# --- what is printed --------------------------------------------------------------------------------------------------


def test_z_prints_raw_names(site: Site, tmp_path: Path) -> None:
    def raw(*words: str, code: int = 0) -> list[bytes]:
        done = subprocess.run([*GITSTATE, *words], env=environment(site), capture_output=True, check=False)
        assert done.returncode == code
        assert done.stdout.endswith(b"\0")
        return done.stdout[:-1].split(b"\0")

    assert b"etc/group" not in raw("status", "desktop", "-z")
    assert b"etc/group" in raw("status", "desktop", "-z", "--times")
    assert {b"etc/fstab", b"etc/motd", b"etc/new"} < set(raw("status", "desktop", "-z"))
    assert len(set(raw("status", "desktop", "-z"))) == len(raw("status", "desktop", "-z"))
    mine = tmp_path / "mine"
    site.run("export", "desktop", "--to", str(mine))
    with open(os.fsencode(mine) + b"/" + ODD, "ab") as file:
        file.write(b"x")
    mine.chmod(0o700)
    assert raw("verify", "desktop", "HEAD", str(mine), "-z", code=1) == [b".", ODD]
    assert "odd/a\\012b \\134 \\377" in site.run("verify", "desktop", "HEAD", str(mine), code=1).stdout


def test_exit_codes_tell_differences(site: Site, place: Path) -> None:
    export = str(site.path / "exports" / "desktop" / site.git("desktop", "rev-parse", "HEAD~1").strip())
    site.run("status", "desktop")
    site.run("status", "desktop", "--exit-code", code=1)
    site.run("status", "desktop", "--exit-code", "--live", export, code=1)
    site.run("diff", "desktop")
    site.run("diff", "desktop", "--exit-code", code=1)
    site.run("diff", "desktop", "HEAD~1", "HEAD", "--exit-code", code=1)
    site.run("diff", "desktop", "HEAD", "HEAD", "--exit-code")
    site.run("verify", "desktop", "HEAD~1")
    site.run("verify", "desktop", "HEAD", export, code=1)


def test_q_leaves_the_results(site: Site, place: Path, tmp_path: Path) -> None:
    other = make_site(tmp_path / "site")
    other.run("prototype", "create", "c", "--live", str(place / "root"))
    loud, quiet = other.run("status", "c"), other.run("status", "c", "-q")
    assert quiet.stdout == loud.stdout
    assert loud.stderr == "note: /var/socket is a socket: not recorded\n"
    assert quiet.stderr == ""
    assert other.run("prototype", "create", "a").stderr == "next: gitstate checkin a -m 'as installed'\n"
    assert other.run("prototype", "create", "b", "-q").stderr == ""
    for words in (("diff", "-q", "desktop"), ("diff", "desktop", "--quiet")):
        assert site.run(*words, code=1).stdout == ""
    assert site.run("diff", "desktop", "HEAD", "HEAD", "-q").stdout == ""


def test_tables_align(tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    subjects = {
        "a": "short",
        "longer-name": "日本語の件名",
        "mid": "nai\u0308ve \x1b[31mred\x1b[0m",
        "x" * 30: "y" * 99,
    }
    for name, subject in subjects.items():
        site.run("prototype", "create", name)
        site.run("checkin", name, "-m", subject)
    site.run("prototype", "create", "new")
    lines = site.run("prototype", "list").stdout.splitlines()
    assert len(lines) == 6
    assert not any("\x1b" in line or line != line.rstrip() for line in lines)
    column = lines[0].index("LIVE TREE")
    for line in lines[1:]:
        before = line[: line.index(str(tmp_path))]
        assert len(before) + len(re.findall("[\u3000-\u9fff]", before)) - before.count("\u0308") == column
    assert table([], ("A",)) == []
    assert table([("1", "")], ("A", "B")) == ["A  B", "1"]


def test_unusual_paths_are_printed_as_they_are(tmp_path: Path) -> None:
    place = os.fsencode(tmp_path) + b"/sm\xf8rrebr\xf8d"

    def run(*words: bytes) -> subprocess.CompletedProcess[bytes]:
        argv = [*map(os.fsencode, GITSTATE), b"--site", place, *words]
        return subprocess.run(argv, env=environment(Site(tmp_path)), capture_output=True, check=False)

    assert run(b"init").stdout == b"site " + place + b"\n"
    assert b"sm\\370rrebr" in run(b"init").stderr
    assert json.loads(run(b"prototype", b"create", b"a", b"--json").stdout)["live"].endswith(
        "/sm\\370rrebr\\370d/live/a"
    )


# --- the reader goes, the disk is full, the streams are closed --------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        *(("manifest", "desktop"), ("log", "desktop", "-p"), ("diff", "desktop"), ("prototype", "list")),
        *(("status", "desktop"), ("status", "desktop", "--json"), ("status", "desktop", "-z")),
        *(("--help",), ("status", "--help")),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("most", [0, 1])
def test_a_closed_pipe_is_no_error(site: Site, words: tuple[str, ...], most: int) -> None:
    child = subprocess.Popen(
        [*GITSTATE, *words],
        env=environment(site),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
    )
    assert child.stdout
    assert child.stderr
    for _ in range(most):
        child.stdout.readline()
    child.stdout.close()
    said = child.stderr.read()
    child.stderr.close()
    assert child.wait(PATIENCE) in ((141,) if not most else (0, 141))
    assert said in ("", "note: /var/socket is a socket: not recorded\n")


def test_a_full_disk_under_the_output_is_told(site: Site) -> None:
    for words in (("prototype", "list"), ("manifest", "desktop"), ("status", "desktop", "--json")):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [*GITSTATE, *words], env=environment(site), stdout=full, stderr=subprocess.PIPE, text=True, check=False
            )
        assert done.returncode == 6
        assert "standard output: No space left on device" in done.stderr
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_hurt_nobody(site: Site, tmp_path: Path, closed: str) -> None:
    script = f"{shlex.join(GITSTATE)} export desktop --to {tmp_path}/new {closed}"
    done = subprocess.run(["bash", "-c", script], env=environment(site), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    site.run("verify", "desktop", "HEAD", str(tmp_path / "new"))


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A site with a prototype that takes a while: 80 MB that don't compress."""
    place = tmp_path_factory.mktemp("large")
    site, root, bytes_of = make_site(place / "site"), place / "root", random.Random(1).randbytes
    (root / "etc").mkdir(parents=True)
    for number in range(320):
        (root / "etc" / f"{number}").write_bytes(bytes_of(1 << 18))
    site.run("prototype", "create", "large", "--live", str(root))
    yield place
    shutil.rmtree(place)


def interrupted(site: Site, words: tuple[str, ...], until: Callable[[], bool]) -> str:
    """Send SIGINT, to its children too as a terminal does, as soon as ``until`` is true; what the command says."""
    child = subprocess.Popen(
        [*GITSTATE, *words],
        env=environment(site),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    started = time.monotonic()
    while not until():
        assert child.poll() is None, "it was done before it could be interrupted"
        assert time.monotonic() - started < PATIENCE
        time.sleep(0.001)
    os.killpg(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 130
    assert out == ""
    return err


def test_ctrl_c_leaves_nothing_half_done(large: Path) -> None:
    site = Site(large / "site")
    repository, exports = site.repository("large"), site.path / "exports" / "large"
    expected = "\ngitstate: interrupted\n  nothing half done is left; run it again\n"

    assert interrupted(site, ("checkin", "large", "-m", "x"), lambda: any(staged(repository))) == expected
    assert not any(staged(repository))
    assert site.run("fsck").stdout == "large: ok\n"
    site.run("checkin", "large", "-m", "x")

    def writing() -> bool:
        return exports.is_dir() and any(path.name.startswith(".") for path in exports.iterdir())

    assert interrupted(site, ("export", "large"), writing) == expected
    assert list(exports.iterdir()) == []
    site.run("export", "large")
    site.run("verify", "large")

    live = site.path / "live"
    words = ("prototype", "create", "copy", "--from", f"{large}/root")
    assert interrupted(site, words, lambda: any(live.glob(".copy*"))) == expected
    assert list(live.iterdir()) == []
    assert list((site.path / "prototypes").iterdir()) == [repository]


def staged(repository: Path) -> Iterator[Path]:
    return repository.rglob("*.pack")


# --- on a terminal ----------------------------------------------------------------------------------------------------


def shown(site: Site, *words: str, cwd: Path | None = None, **variables: str) -> Screen:
    return on_terminal([*GITSTATE, *words], environment(site, PAGER="cat", **variables), cwd=cwd)


HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def test_progress_is_shown_on_a_terminal_only(site: Site, tmp_path: Path) -> None:
    """Also while another program works, which reports no progress; nothing of it is left when a result is printed."""
    slow = tmp_path / "git"
    slow.write_text(f'#!/bin/sh\ncase " $* " in *" fsck "*) sleep 1.5 ;; esac\nexec {shutil.which("git")} "$@"\n')
    slow.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    screen = shown(site, "fsck", "desktop", PATH=path)
    assert screen.code == 0
    assert "git fsck" in screen.text
    assert screen.text.count(HIDE) == screen.text.count(SHOW) > 0, "the cursor is as it was"
    result = site.run("fsck", "desktop").stdout
    assert result
    assert screen.text.replace("\r\n", "\n").endswith(f"{SHOW}\r\x1b[1A\x1b[2K{result}")
    assert shown(site, "fsck", "desktop", "-q", PATH=path).text.replace("\r\n", "\n") == result
    piped = subprocess.run(
        [*GITSTATE, "fsck", "desktop"], env=environment(site, PATH=path), capture_output=True, text=True, check=True
    )
    assert (piped.stdout, piped.stderr) == (result, "")


def test_ctrl_c_on_a_terminal_leaves_it_as_it_was(large: Path, tmp_path: Path) -> None:
    site = make_site(tmp_path / "site")
    live = site.path / "live"
    words = ("prototype", "create", "x", "--from", f"{large}/root")
    screen = on_terminal([*GITSTATE, *words], environment(site), until=lambda: any(live.glob(".x*/*")))
    assert screen.code == 130
    assert screen.text.count(HIDE) == screen.text.count(SHOW)
    assert screen.text.endswith("gitstate: interrupted\n  nothing half done is left; run it again\n")
    assert list(live.iterdir()) == []


def test_colours_are_for_terminals(site: Site) -> None:
    assert "\x1b[33mM\x1b[0m  etc/fstab" in shown(site, "status", "desktop").text
    assert "\x1b[1mNAME" in shown(site, "prototype", "list").text
    assert "\x1b[33mcommit" in shown(site, "log", "desktop").text
    for words in (("status", "desktop"), ("prototype", "list"), ("log", "desktop"), ("diff", "desktop")):
        assert "\x1b" not in site.run(*words).stdout
        assert "\x1b[" not in shown(site, *words, NO_COLOR="1").text.replace(HIDE, "").replace(SHOW, "")
    assert "\x1b" not in shown(site, "status", "desktop", "--json").text


def test_long_output_is_paged_short_output_not(site: Site) -> None:
    variables = environment(site, PAGER="sed s/^/paged:/")
    short = on_terminal([*GITSTATE, "log", "desktop", "--oneline"], variables)
    assert "paged:" not in short.text
    assert len(short.text.splitlines()) == 2
    long = on_terminal([*GITSTATE, "show", "desktop", "HEAD~1"], variables)
    assert all(line.startswith("paged:") for line in long.text.splitlines())
    assert len(long.text.splitlines()) > 24
    low = on_terminal([*GITSTATE, "log", "desktop", "--oneline"], variables, size=(2, 80))
    assert len(re.findall("paged:", low.text)) >= 2
    quiet = on_terminal([*GITSTATE, "show", "desktop", "HEAD~1", "-q"], variables)
    assert "paged:" not in quiet.text


def test_less_is_told_of_colours(site: Site, tmp_path: Path) -> None:
    pager = tmp_path / "less"
    pager.write_text('#!/bin/sh\necho "LESS=$LESS"\ncat\n')
    pager.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    argv = [*GITSTATE, "show", "desktop", "HEAD~1"]
    coloured = on_terminal(argv, environment(site, PATH=path, PAGER="less"))
    assert coloured.text.startswith("LESS=-R\n\x1b[33mcommit")
    plain = on_terminal(argv, environment(site, PATH=path, PAGER="less", NO_COLOR="1"))
    assert "\x1b" not in plain.text


def test_removal_asks_on_a_terminal(site: Site) -> None:
    assert "--yes" in site.refuses(2, "prototype", "remove", "desktop", naming="desktop")
    screen = on_terminal([*GITSTATE, "prototype", "remove", "desktop"], environment(site), typed=b"n\n")
    assert screen.code == 1
    assert "with all history? [y/N]" in screen.text
    assert screen.text.endswith("gitstate: nothing done\n")
    assert site.repository("desktop").is_dir()


# --- help -------------------------------------------------------------------------------------------------------------

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

    def completed(line: str) -> list[str]:
        words = line.split(" ")
        script = f"""
            eval "$(_GITSTATE_COMPLETE=bash_source gitstate)"
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


# --- imports ----------------------------------------------------------------------------------------------------------

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
