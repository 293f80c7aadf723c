"""gitstate client import, adopt, ranges, netgroups and filters as a person or a script runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.cli.harness import listing
from tests.gitstate_command import Site, git, make_site
from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("git")]

MAC = "52:54:00:12:34:56"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with a prototype, a channel without a release, and the log of a machine that asked."""
    site = make_site(tmp_path / "site")
    (tmp_path / "root").mkdir()
    site.run("prototype", "create", "desktop", "--live", str(tmp_path / "root"))
    site.run("checkin", "desktop", "-m", "one")
    site.run("channel", "create", "lab3", "--prototype", "desktop")
    (site.path / "log").mkdir()
    (site.path / "log" / "dnsmasq.log").write_text(
        f"Mar 12 14:02:11 dnsmasq-dhcp[7]: 42 vendor class: PXEClient:Arch:00007:UNDI:003016\n"
        f"Mar 12 14:02:11 dnsmasq-dhcp[7]: 42 PXE(eth1) 10.77.0.112 {MAC} proxy\n"
    )
    read(site)
    return site


def read(site: Site) -> None:
    """Whatever is kept once it was read is kept from here on."""
    site.run("client", "list")
    site.run("channel", "list")


def subjects(site: Site) -> list[str]:
    said = git(site.path / "directory.git", "log", "--format=%s").splitlines()
    return [one for one in said if one.startswith("client")]


def names(site: Site, *words: str) -> list[str]:
    return site.run("client", "list", "-z", *words).stdout.split("\0")[:-1]


def fails(site: Site, code: int, *words: str, naming: str | Sequence[str] = ()) -> str:
    """What a failing command prints; nothing is changed."""
    read(site)
    before = listing(site.path)
    printed = site.refuses(code, "client", *words, naming=naming)
    assert listing(site.path) == before
    return printed


# --- ranges and netgroups ---------------------------------------------------------------------------------------------


def test_a_range_is_added_set_listed_and_removed(site: Site) -> None:
    site.run("client", "add", "lab3-[01-03,10]", "server", "--channel", "lab3")
    assert subjects(site) == ["client add 5 clients: channel lab3"]
    assert names(site) == ["lab3-01", "lab3-02", "lab3-03", "lab3-10", "server"]
    assert names(site, "lab3-[01-02]", "s*") == ["lab3-01", "lab3-02", "server"]
    assert names(site, "LAB[3-4]-?3,nobody") == ["lab3-03"]
    said = site.out("client", "set", "lab3-[02-03]", "--kind", "live")
    assert said.splitlines() == ["set lab3-02: kind diskless -> live", "set lab3-03: kind diskless -> live"]
    site.run("client", "remove", "lab3-[01-03]")
    assert names(site) == ["lab3-10", "server"]
    assert len(subjects(site)) == 3


@pytest.mark.parametrize(
    ("code", "words", "naming"),
    [
        (2, ("add", "lab3-[01-02]", "--mac", MAC), ""),
        (2, ("add", "x[1-2]", "X1", "x[1-", "--kind", "live"), "x[1-"),
        (2, ("add", "x[1-99999]"), "65536"),
        (2, ("add", "a.b[1-2]"), "a.b1"),
        (2, ("add", "y[1-2]", "there"), "there"),
        (2, ("set", "there,other", "--ip", "10.0.0.1"), "--ip"),
        (10, ("set", "there[1-2]", "--kind", "live"), "there1"),
        (10, ("remove", "there", "other[7-8]"), "other7"),
        (10, ("list", "@no-such-group"), "no-such-group"),
        (10, ("remove", "@no-such-group"), "no-such-group"),
        (2, ("set", "@", "--kind", "live"), "''"),
        (2, ("list", "--ip", "10.0.0.1/24"), "10.0.0.1/24"),
        (2, ("list", "--new", "--channel", "lab3"), "--new"),
    ],
    ids=repr,
)
def test_what_is_refused(site: Site, code: int, words: tuple[str, ...], naming: str) -> None:
    site.run("client", "add", "there", "other")
    fails(site, code, *words, naming=naming)


@needs("unshare", "mount", "getent")
def test_a_netgroup_of_this_host(site: Site, tmp_path: Path) -> None:
    (tmp_path / "netgroup").write_text("lab3 (lab3-01.example.org,,) (lab3-02,-,) inner\ninner (printer,,)\nany (,,)\n")
    (tmp_path / "nsswitch").write_text("netgroup: files\npasswd: files\n")
    script = (
        'touch /etc/netgroup 2>/dev/null; mount --bind "$1/netgroup" /etc/netgroup && '
        'mount --bind "$1/nsswitch" /etc/nsswitch.conf && shift && exec "$@"'
    )

    def run(*words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        argv = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path)]
        environment = {**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)}
        gitstate = [sys.executable, "-m", "gitstate", "client", *words]
        done = subprocess.run([*argv, *gitstate], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, done.stderr
        return done

    message, hint = run("set", "@lab3", "--kind", "live", code=10).stderr.splitlines()
    assert "lab3" in message
    assert "gitstate client add @lab3" in hint
    site.run("client", "add", "lab3-[01-03]")
    done = run("set", "@lab3", "--kind", "live")
    assert done.stdout.splitlines() == ["set lab3-01: kind diskless -> live", "set lab3-02: kind diskless -> live"]
    assert done.stderr.startswith("note: of @lab3 these aren't clients: printer\n")
    assert run("list", "@lab3", "-z").stdout == "lab3-01\0lab3-02\0"
    assert "any" in run("remove", "@any", code=2).stderr
    run("remove", "@lab3")
    run("add", "@lab3", "--channel", "lab3")
    assert names(site, "--channel", "lab3") == ["lab3-01", "lab3-02", "printer"]


def test_filters(site: Site) -> None:
    site.run("client", "add", "a", "--channel", "lab3", "--mac", MAC, "--ip", "10.77.0.12", "--workload", "kiosk")
    site.run(
        "client", "add", "b", "--channel", "lab3", "--pin", "desktop@main", "--ip", "10.77.1.12", "--ip", "fd77::1"
    )
    site.run("client", "add", "c", "--kind", "live")
    assert names(site, "--channel", "lab3") == ["a", "b"]
    assert names(site, "--channel", "lab3", "--workload", "kiosk") == ["a"]
    assert names(site, "--mac", MAC.replace(":", "-")) == ["a"]
    assert names(site, "--mac", "52:54:00:00:00:01") == []
    assert names(site, "--ip", "10.77.1.12") == ["b"]
    assert names(site, "--ip", "10.77.0.0/16") == ["a", "b"]
    assert names(site, "--ip", "fd77::/64", "b", "c") == ["b"]
    assert names(site, "--class", "nvidia") == []
    assert names(site, "--prototype", "desktop", "--channel", "lab3") == ["b"]
    assert site.run("client", "list", "--mac", "52:54:00:00:00:01").stderr == ""


# --- adopt ------------------------------------------------------------------------------------------------------------


def test_a_machine_that_asked_is_adopted(site: Site) -> None:
    done = site.run("client", "list", "--new")
    assert MAC in done.stdout
    assert done.stderr == f"next: gitstate client adopt {MAC} NAME --channel CHANNEL\n"
    words = ("client", "adopt", MAC.upper().replace(":", "-"), "lab3-12", "--channel", "lab3")
    assert site.out(*words, "-n") == f"would adopt lab3-12: MAC {MAC}, channel lab3"
    assert site.out(*words, "--ip") == f"adopted lab3-12: MAC {MAC}, IP 10.77.0.112, channel lab3"
    assert subjects(site) == [f"client adopt lab3-12: MAC {MAC}, IP 10.77.0.112, channel lab3"]
    assert site.out(*words) == "nothing to change"
    assert MAC not in site.out("client", "list", "--new")
    fails(site, 2, "adopt", MAC, "other", naming=(MAC, "other", "lab3-12"))


def test_a_client_that_waits_for_its_machine_gets_it(site: Site) -> None:
    site.run("client", "add", "lab3-[11-12]", "--channel", "lab3", "--workload", "kiosk")
    assert site.out("client", "adopt", MAC, "lab3-12") == f"adopted lab3-12: MAC {MAC}"
    one = site.json("client", "show", "lab3-12")["client"]
    assert (one["channel"], one["workload"], one["macs"]) == ("lab3", "kiosk", [MAC])
    other = "52:54:00:00:00:01"
    fails(site, 2, "adopt", other, "lab3-12", "--force", naming=("lab3-12", MAC))


def test_a_machine_that_never_asked(site: Site) -> None:
    other = "52:54:00:00:00:01"
    fails(site, 10, "adopt", other, "x", naming=other)
    fails(site, 10, "adopt", other, "x", "--force", "--ip", naming=other)
    fails(site, 10, "adopt", MAC, "x", "--channel", "nope", naming="nope")
    site.run("client", "adopt", other, "x", "--force")
    (site.path / "log" / "dnsmasq.log").unlink()
    fails(site, 10, "adopt", MAC, "y", naming=MAC)


# --- import -----------------------------------------------------------------------------------------------------------

GOOD = "name,mac,kind\nlab3-01,52:54:00:00:03:01,\nlab3-02,52:54:00:00:03:02,live\n"
LEASES = f"1 {MAC} 10.77.0.112 lab3-12 *\n1 52:54:00:00:00:02 10.77.0.113 * *\n"


def test_a_list_is_entered_in_one_change(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "lab3.csv"
    file.write_text(GOOD)
    words = ("client", "import", str(file), "--channel", "lab3")
    plan = [
        "add lab3-01: MAC 52:54:00:00:03:01, channel lab3",
        "add lab3-02: MAC 52:54:00:00:03:02, kind diskless -> live, channel lab3",
    ]
    before = listing(site.path)
    assert site.out(*words, "-n").splitlines() == [*plan, f"{file}: 2 would be added"]
    assert listing(site.path) == before
    done = site.run(*words)
    assert done.stdout.splitlines() == [*plan, f"{file}: 2 added"]
    assert done.stderr == "next: gitstate boot write\n"
    assert subjects(site) == ["client import lab3.csv: 2 added"]
    assert site.out(*words) == f"{file}: 2 unchanged"
    file.write_text(GOOD.replace("live", "thick") + "lab3-03,,\n")
    assert site.out(*words, "-n").splitlines() == [
        "add lab3-03: channel lab3",
        "unchanged lab3-02: the list has kind live -> thick; use --update",
        f"{file}: 1 would be added, 1 unchanged",
    ]
    site.run(*words, "--update", "-m", "as bought")
    assert git(site.path / "directory.git", "log", "-1", "--format=%s").strip() == "as bought"
    assert names(site, "--kind", "thick") == ["lab3-02"]


def test_with_a_wrong_line_nothing_is_done(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "a\x1b[31m.csv"
    file.write_text(GOOD + "two words,,\nlab3-04,52:54:00:00:03:01,\n\x1b]0;x,,\n")
    naming = (r"a\033[31m.csv, line 4: 'two words'", "line 5: 52:54:00:00:03:01", "lab3-04")
    assert "\x1b" not in fails(site, 7, "import", str(file), naming=naming)
    done = site.run("client", "import", str(file), "-n", code=7)
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        *("add lab3-01", "add lab3-02", "error", "error", "error"),
        str(file).replace("\x1b", r"\033"),
    ]
    done = site.run("client", "import", str(file), "--skip-bad", code=3)
    assert done.stdout.splitlines()[-1].endswith(": 2 added")
    assert "\x1b" not in done.stdout + done.stderr
    assert names(site) == ["lab3-01", "lab3-02"]


def test_leases_from_standard_input(site: Site) -> None:
    environment = {**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)}
    argv = [sys.executable, "-m", "gitstate", "client", "import", "-", "--pin", "desktop@main", "--ip"]
    done = subprocess.run(argv, env=environment, input=LEASES, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"add lab3-12: MAC {MAC}, IP 10.77.0.112, pin desktop@main",
        "skipped: no host name: line 2",
        "standard input: 1 added",
    ]
    assert subjects(site) == ["client import standard input: 1 added"]


@pytest.mark.parametrize(
    ("code", "text", "words", "naming"),
    [
        (2, "hello\n", (), "list"),
        (2, GOOD, ("--format", "xml"), "xml"),
        (7, GOOD, ("--format", "dnsmasq-leases"), "line 1: 'name,mac,kind'"),
        (10, GOOD, ("--pin", "desktop@v9"), "v9"),
        (10, GOOD, ("--channel", "nope"), "nope"),
        (2, GOOD, ("-m", " "), ""),
        (10, None, (), "list"),
    ],
    ids=repr,
)
def test_lists_that_are_refused(
    site: Site, tmp_path: Path, code: int, text: str | None, words: tuple[str, ...], naming: str
) -> None:
    if text is not None:
        (tmp_path / "list").write_text(text)
    fails(site, code, "import", str(tmp_path / "list"), *words, naming=naming)
