"""What is printed: names, tables, colours, pages; to readers that go, full disks and closed streams."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from gitstate.cli.base.output import alternatives, table
from tests.cli.harness import GITSTATE, ODD, environment
from tests.cli.terminal import PATIENCE, Screen, on_terminal
from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "setfacl", "setcap")]


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
    assert set(said.splitlines()) <= {
        "note: /var/socket is a socket: not recorded",
        "to bring back what was deleted: gitstate restore desktop PATH..., or --all",
    }


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


def test_a_hint_too_long_for_a_line_has_each_way_out_on_its_own() -> None:
    short = "mount it; or name another: --live DIR"
    assert alternatives(short) == [short]
    ways = [f"{'a' * 60} --this;", f"or {'b' * 60} --that"]
    assert alternatives(" ".join(ways)) == ways
