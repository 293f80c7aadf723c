"""gitstate client as a person or a script runs it."""

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
    """A site with the prototype ``desktop``: tags v1 and v2."""
    site = make_site(tmp_path / "site")
    (tmp_path / "root" / "etc").mkdir(parents=True)
    site.run("prototype", "create", "desktop", "--live", str(tmp_path / "root"))
    for tag in ("v1", "v2"):
        (tmp_path / "root" / "etc" / "issue").write_text(f"{tag}\n")
        site.run("checkin", "desktop", "-m", tag)
        # without hooks: what they do is another test's matter
        site.git("desktop", "-c", "core.hooksPath=/nowhere", "tag", tag)
    return site


def history(site: Site, *words: str) -> str:
    return git(site.path / "directory.git", "log", *words).strip()


def add(site: Site, name: str, *words: str) -> str:
    return site.out("client", "add", name, *words)


def fails(site: Site, code: int, *words: str, naming: str | Sequence[str] = "") -> str:
    """What a failing command prints; nothing is changed."""
    before = listing(site.path)
    printed = site.refuses(code, "client", *words, naming=naming)
    assert listing(site.path) == before
    return printed


def test_a_machine_s_life(site: Site) -> None:
    assert site.run("client", "list").stderr == (
        "no clients yet: gitstate client add NAME --mac MAC --pin PROTOTYPE@REV\n"
    )
    done = site.run(
        "client", "add", "lab3-12", "--mac", "52-54-00-12-34-56", "--ip", "10.77.0.12", "--pin", "desktop@v1"
    )
    assert done.stdout == f"added lab3-12: MAC {MAC}, IP 10.77.0.12, pin desktop@v1\n"
    assert done.stderr == "next: gitstate boot write\n"
    assert site.out("client", "list").splitlines() == [
        "NAME     MAC                IP          RUNS        KIND",
        "lab3-12  52:54:00:12:34:56  10.77.0.12  desktop@v1  diskless",
    ]
    assert site.out("client", "set", "lab3-12", "--pin", "desktop@v2") == "set lab3-12: pin desktop@v1 -> desktop@v2"
    assert site.out("client", "set", "lab3-12", "--pin", "desktop@v2") == "nothing to change"
    assert site.out("client", "set", "lab3-12", "--no-pin", "--no-ip") == "set lab3-12: no IP, no pin"
    assert site.out("client", "list").splitlines()[1].split() == ["lab3-12", MAC, "-", "-", "diskless"]
    assert site.out("client", "remove", "LAB3-12", "-m", "sold", "--author", "Bob <b@x>") == "removed lab3-12"
    assert site.out("client", "list") == ""
    assert history(site, "-1", "--format=%an <%ae>") == "Bob <b@x>"
    assert history(site, "--format=%cn|%s").splitlines() == [
        "gitstate|sold",
        "gitstate|client set lab3-12: no IP, no pin",
        "gitstate|client set lab3-12: pin desktop@v1 -> desktop@v2",
        f"gitstate|client add lab3-12: MAC {MAC}, IP 10.77.0.12, pin desktop@v1",
    ]


def test_show_tells_all_and_who_changed_it(site: Site) -> None:
    values = ("--kind", "thick", "--workload", "kiosk", "--layer", "lab/lab4", "--state", "local")
    add(site, "x", "--mac", MAC, "--mac", "52:54:00:12:34:57", "--ip", "fd77::1", "--ip", "10.0.0.1", *values)
    add(site, "y", "-m", "another", "--author", "Bob <bob@example.org>")
    lines = site.out("client", "show", "X").splitlines()
    assert lines[:-2] == [
        "x",
        f"  MAC       {MAC} 52:54:00:12:34:57",
        "  IP        10.0.0.1 fd77::1",
        "  runs      nothing yet",
        "  kind      thick",
        "  workload  kiosk",
        "  layers    lab/lab4",
        "  state     local",
    ]
    commit = history(site, "--format=%h", "--abbrev=7", "-1", "--", "clients/x/x.ldif")
    assert lines[-2].startswith(f"  changed   {commit} ")
    assert lines[-1].startswith("            client add x: ")
    last = site.json("client", "show", "y")["last_change"]
    assert (last["author"], last["subject"]) == ("Bob <bob@example.org>", "another")
    assert last["revision"] == history(site, "-1", "--format=%H")


def test_list_is_filtered(site: Site) -> None:
    for name, words in {
        "lab3-01": ("--pin", "desktop@v1"),
        "lab3-02": ("--pin", "desktop@v2", "--kind", "live"),
        "lab4-01": ("--kind", "live"),
        "server": (),
    }.items():
        add(site, name, *words)

    def listed(*words: str) -> list[str]:
        return [one["name"] for one in site.json("client", "list", *words)["clients"]]

    assert listed() == ["lab3-01", "lab3-02", "lab4-01", "server"]
    assert listed("lab3-*", "SERVER") == ["lab3-01", "lab3-02", "server"]
    assert listed("--kind", "live") == ["lab3-02", "lab4-01"]
    assert listed("*-01", "--kind", "live") == ["lab4-01"]
    assert listed("--pin", "desktop@v1") == ["lab3-01"]
    assert listed("--prototype", "desktop") == ["lab3-01", "lab3-02"]
    assert listed("--prototype", "other") == []
    assert site.run("client", "list", "lab3-*", "-z").stdout == "lab3-01\0lab3-02\0"
    assert site.run("client", "list", "nobody").stderr == ""


def test_several_in_one_commit(site: Site) -> None:
    names = [f"lab3-{number:02}" for number in range(5)]
    for name in names:
        add(site, name)
    assert len(site.out("client", "set", *names, "--pin", "desktop@v1").splitlines()) == 5
    assert history(site, "-1", "--format=%s") == "client set 5 clients: pin desktop@v1"
    assert len(history(site, "-1", "--name-only", "--format=").splitlines()) == 5
    site.run("client", "remove", *names[:3], names[0])
    assert history(site, "-1", "--format=%s") == "client remove lab3-00, lab3-01, lab3-02"
    assert site.run("client", "list", "-z").stdout == "lab3-03\0lab3-04\0"


def test_a_dry_run_writes_nothing(site: Site) -> None:
    before = listing(site.path)
    words = ("client", "add", "x", "--mac", MAC, "-n")
    assert site.run(*words).stdout == f"would add x: MAC {MAC}\n"
    assert site.run(*words).stderr == ""
    assert site.json(*words)["dry_run"] is True
    assert listing(site.path) == before
    add(site, "x", "--mac", MAC)
    before = listing(site.path)
    assert site.out("client", "set", "x", "--kind", "live", "-n") == "would set x: kind diskless -> live"
    assert site.out("client", "remove", "x", "-n") == "would remove x"
    assert listing(site.path) == before


HOSTILE = "x\ngitstatePin: desktop@v2"


@pytest.mark.parametrize(
    ("code", "words", "naming"),
    [
        (2, ("add", "two.labels"), "two.labels"),
        (2, ("add", HOSTILE), "x\\ngitstatePin: desktop@v2"),
        (2, ("add", "../x"), "../x"),
        (2, ("add", "x" * 64), "x" * 64),
        (2, ("add", "x", "--mac", "52:54:00:12:34"), "52:54:00:12:34"),
        (2, ("add", "x", "--mac", f"{MAC}\n"), f"{MAC}\\n"),
        (2, ("add", "x", "--mac", "ff:ff:ff:ff:ff:ff"), "ff:ff:ff:ff:ff:ff"),
        (2, ("add", "x", "--ip", "10.77.0.0/24"), "10.77.0.0/24"),
        (2, ("add", "x", "--ip", "127.0.0.1"), "127.0.0.1"),
        (2, ("add", "x", "--pin", "desktop"), "'desktop'"),
        (2, ("add", "x", "--pin", f"desktop@{HOSTILE}"), "desktop@x\\n"),
        (2, ("add", "x", "--pin", "desktop@v1;reboot"), "desktop@v1;reboot"),
        (2, ("add", "x", "--pin", "desktop@-v1"), "desktop@-v1"),
        (2, ("add", "x", "--pin", "desktop@v1:etc"), "desktop@v1:etc"),
        (2, ("add", "x", "--kind", "toaster"), "toaster"),
        (2, ("add", "x", "--state", "ram"), "ram"),
        (2, ("add", "x", "--workload", HOSTILE), "x\\ngitstatePin"),
        (2, ("add", "x", "--layer", "etc/passwd"), "etc/passwd"),
        (2, ("add", "x", "--channel", "-x"), "-x"),
        (2, ("add", "old"), "old"),
        (2, ("add", "OLD"), "old"),
        (2, ("add", "x", "--mac", MAC), (MAC, "x", "old")),
        (2, ("add", "x", "--mac", MAC.replace(":", "")), MAC),
        (2, ("add", "x", "--ip", "10.77.0.12"), "10.77.0.12"),
        (2, ("add", "x", "-m", " "), ""),
        (2, ("add", "x", "--author", "Eve"), "Eve"),
        (2, ("set", "old"), ""),
        (2, ("set", "old", "--pin", "desktop@v1", "--no-pin"), "--no-pin"),
        (2, ("set", "old", "other", "--mac", "52:54:00:12:34:99"), "--mac"),
        (2, ("set", "other", "--mac", MAC), MAC),
        (2, ("set",), "NAME..."),
        (2, ("remove",), "NAME..."),
        (10, ("add", "x", "--pin", "desktop@v3"), "v3"),
        (10, ("add", "x", "--pin", "desktop@v1~9"), "v1~9"),
        (10, ("add", "x", "--pin", "dekstop@v1"), "dekstop"),
        (10, ("add", "x", "--channel", "lab3"), "lab3"),
        (10, ("set", "olb", "--kind", "live"), "olb"),
        (10, ("set", "old", "nobody", "--kind", "live"), "nobody"),
        (10, ("remove", "old", "nobody"), "nobody"),
        (10, ("show", "nobody"), "nobody"),
    ],
    ids=repr,
)
def test_what_is_refused(described: Site, code: int, words: tuple[str, ...], naming: str | Sequence[str]) -> None:
    fails(described, code, *words, naming=naming)


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with clients that nobody changes."""
    place = tmp_path_factory.mktemp("client")
    site = make_site(place / "site")
    (place / "root").mkdir()
    site.run("prototype", "create", "desktop", "--live", str(place / "root"))
    site.run("checkin", "desktop", "-m", "x")
    for tag in ("v1", "v2"):
        site.git("desktop", "-c", "core.hooksPath=/nowhere", "tag", tag)
    add(site, "old", "--mac", MAC, "--ip", "10.77.0.12")
    add(site, "other")
    return site


def test_entries_edited_into_nonsense(site: Site, tmp_path: Path) -> None:
    add(site, "lab3-12", "--mac", MAC)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(site.path / "directory.git"), str(clone))
    entry = clone / "clients" / "12" / "lab3-12.ldif"
    entry.write_text(entry.read_text().replace("diskless", "toaster\x1b[31m"))
    git(clone, "-c", "user.name=E", "-c", "user.email=e@x", "commit", "-qam", "x")
    git(clone, "push", "-q")
    for words in (("list",), ("show", "lab3-12"), ("add", "x"), ("set", "lab3-12", "--kind", "live"), ("remove", "x")):
        printed = fails(site, 7, *words, naming="directory.git: clients/12/lab3-12.ldif, line 3")
        assert "\x1b" not in printed
    git(clone, "-c", "user.name=E", "-c", "user.email=e@x", "revert", "--no-edit", "HEAD")
    git(clone, "push", "-q")
    assert site.run("client", "list", "-z").stdout == "lab3-12\0"


def test_two_at_once(site: Site) -> None:
    """Each is done, or told that it was locked out; nothing is lost."""
    add(site, "first")
    environment = {**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)}
    names = [f"x{number}" for number in range(8)]
    started = {
        name: subprocess.Popen(
            [sys.executable, "-m", "gitstate", "client", "add", name],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    }
    codes = {}
    for name, process in started.items():
        _, errors = process.communicate(timeout=60)
        codes[name] = process.returncode
        assert process.returncode in (0, 11), errors
    done = sorted(name for name, code in codes.items() if code == 0)
    assert done
    assert site.run("client", "list", "-z").stdout.split("\0")[:-1] == ["first", *done]


def test_names_are_completed(site: Site) -> None:
    add(site, "lab3-12")
    add(site, "server")
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT),
        "GITSTATE_SITE": str(site.path),
        "_GITSTATE_COMPLETE": "bash_complete",
        "COMP_WORDS": "gitstate client show la",
        "COMP_CWORD": "3",
    }
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'gitstate'; from gitstate.cli import main; main()"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["plain,lab3-12"]


def test_looks_load_neither_ldap_nor_libgit2(site: Site) -> None:
    """They take longer to load than ten thousand clients to read."""
    add(site, "lab3-12", "--mac", MAC)
    code = (
        "import sys; sys.argv = ['gitstate', 'client', 'list']\n"
        "from gitstate.cli import main\n"
        "try: main()\nexcept SystemExit as end: assert not end.code\n"
        "print([name for name in ('ldap', 'ldif', 'pygit2') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "GITSTATE_SITE": str(site.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
