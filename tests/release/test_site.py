"""A whole site by both directories: plain tags, read back with git log and with ldapsearch, or git show."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitstate.store.site import Site
from tests.directory.harness import choose_ldap
from tests.lab.ldap import SUFFIX, Server, ldap_server
from tests.release.harness import Harness
from tests.support import needs, require, root_only

pytestmark = [root_only, needs("git")]

LABS = {"lab1": "desktop", "lab2": "desktop", "lab3": "kiosk"}
CLIENTS = 200

Entries = dict[str, dict[str, str]]
"""Attributes by the entry's name: of those with several values the last."""


@pytest.fixture(scope="module")
def running_slapd() -> Iterator[Server]:
    """A real server."""
    require("slapd", "ldapsearch")
    with ldap_server() as server:
        yield server


@pytest.fixture(params=["ldif", "ldap"])
def told(request: pytest.FixtureRequest, bare: Harness) -> Callable[[str], Entries]:
    """A site with that directory; what plain programs read below ``ou=clients`` or ``ou=channels``."""
    if request.param == "ldif":
        return lambda what: _by_git(bare.site / "directory.git", what)
    server = request.getfixturevalue("running_slapd")
    server.clear()
    choose_ldap(Site(bare.site), server)
    return lambda what: _by_ldapsearch(server, what)


def _by_git(repository: Path, what: str) -> Entries:
    argv = ["git", "-C", str(repository), "archive", "main", what]
    archive = subprocess.run(argv, capture_output=True, check=True).stdout
    text = subprocess.run(["tar", "--extract", "--to-stdout"], input=archive, capture_output=True, check=True).stdout
    return _entries(text.decode())


def _by_ldapsearch(server: Server, what: str) -> Entries:
    kind = {"clients": "gitstateClient", "channels": "gitstateChannel"}[what]
    words = ["ldapsearch", "-LLL", "-o", "ldif_wrap=no", "-Y", "EXTERNAL", "-Q", "-H", server.ldapi, "-b", SUFFIX]
    done = subprocess.run([*words, f"(objectClass={kind})"], capture_output=True, text=True, check=True)
    return _entries(done.stdout)


def _entries(text: str) -> Entries:
    found = (dict(re.findall(r"^(\w+): (.*)$", part, re.MULTILINE)) for part in re.split(r"(?m)^(?=dn: )", text))
    return {entry["cn"]: entry for entry in found if entry}


def test_who_runs_what_is_told_by_plain_programs(bare: Harness, told: Callable[[str], Entries]) -> None:
    for name in ("desktop", "kiosk"):
        bare.prototype(name)
    for name in ("base", "lab/lab1", "lab/lab3"):
        bare.layer(name)
    for lab, prototype in LABS.items():
        bare("channel", "create", lab, "--prototype", prototype)
    labs = [*LABS]
    lines = [f"{labs[number % 3]}-{number},52:54:00:00:00:{number:02x},{labs[number % 3]}" for number in range(CLIENTS)]
    (bare.place / "clients.csv").write_text("\n".join(["name,mac,channel", *lines, ""]))
    assert f"{CLIENTS} added" in bare("client", "import", "clients.csv")
    for lab, prototype in LABS.items():
        bare.git(prototype, "tag", "-a", f"{lab}/1", "-m", "first")
    bare("reconcile")
    better = bare.edit("desktop", "better")
    bare.git("desktop", "tag", "-a", "lab2/2025-03", "-m", "for lab 2 alone")
    printer = bare.edit("lab/lab1", "print3")
    bare.git("lab/lab1", "tag", "-a", "lab1/2", "-m", "the printer")
    bare("reconcile")

    runs = told("channels")
    assert {name: entry["gitstateRelease"] for name, entry in runs.items()} == {
        "lab1": "lab1/2",
        "lab2": "lab2/2025-03",
        "lab3": "lab3/1",
    }
    first = bare.head("desktop", "main~1")
    assert {name: entry["gitstateCommit"] for name, entry in runs.items()} == {
        "lab1": first,
        "lab2": better,
        "lab3": bare.head("kiosk"),
    }
    for lab in LABS:
        assert bare.runs(lab)[LABS[lab]] == runs[lab]["gitstateCommit"]
        assert bare.history(lab)[0].startswith(f"{runs[lab]['gitstateRelease']}: ")
    assert bare.runs("lab1")["lab/lab1"] == printer
    assert bare.runs("lab2")["lab/lab1"] != printer

    entries = told("clients")
    commits = {"lab1": first, "lab2": better, "lab3": bare.head("kiosk")}
    assert {name: runs[entry["gitstateChannelName"]]["gitstateCommit"] for name, entry in entries.items()} == {
        line.partition(",")[0]: commits[line.partition("-")[0]] for line in lines
    }
    bare("rollback", "lab2")
    assert told("channels")["lab2"]["gitstateCommit"] == first
    assert told("channels")["lab2"]["gitstateRelease"] == "lab2/2"


def test_a_directory_that_can_only_be_read(bare: Harness) -> None:
    """A release is made all the same; it is said what it lacks, and the next run sees to that."""
    require("slapd", "ldapsearch")
    bare.prototype("desktop")
    with ldap_server() as server:
        choose_ldap(Site(bare.site), server)
        bare("channel", "create", "lab3", "--prototype", "desktop")
        bare("push", "desktop", "lab3", "--yes")
        bare.edit("desktop", "second")
        conf = server.place / "slapd.conf"
        writable = conf.read_text()
        for name, words in (("lab3/2", ("push", "desktop", "lab3", "--yes")), ("lab3/3", ("rollback", "lab3"))):
            _restart(server, writable.replace("database mdb\n", "database mdb\nreadonly on\n"))
            said = bare.fails(3, *words)
            assert said.startswith(f"gitstate: {name} is released, but lab3 ")
            assert "read-only" in said.splitlines()[0]
            assert said.endswith("; then gitstate reconcile\n")
            assert bare.history("lab3")[0].startswith(f"{name}: ")
            _restart(server, writable)
            assert bare("reconcile") == f"fixed: directory: lab3 runs {name}"
            assert _by_ldapsearch(server, "channels")["lab3"]["gitstateRelease"] == name


def _restart(server: Server, conf: str) -> None:
    with server.stopped():
        (server.place / "slapd.conf").write_text(conf)


def test_a_directory_that_is_down(bare: Harness, running_slapd: Server) -> None:
    """Nothing is released then, and the next run does it; a release that was made is told of later."""
    running_slapd.clear()
    choose_ldap(Site(bare.site), running_slapd)
    bare.prototype("desktop")
    bare("channel", "create", "lab3", "--prototype", "desktop")
    bare.git("desktop", "tag", "-a", "lab3/1", "-m", "x")
    with running_slapd.stopped():
        bare.fails(13, "reconcile")
        bare.fails(13, "push", "desktop", "lab3", "--yes")
        assert "lab3/2" not in bare.refused("desktop", "tag", "-a", "lab3/2", "-m", "x")
    assert "lab3/1 = desktop" in bare("reconcile")
    assert _by_ldapsearch(running_slapd, "channels")["lab3"]["gitstateRelease"] == "lab3/1"
