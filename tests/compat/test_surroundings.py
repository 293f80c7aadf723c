"""What surrounds a command decides nothing: configuration of git, variables, a moved program or site."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.gitstate_command import Site, git, make_site
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "tar")]

ADA = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
CONFIGURATION = """
[user]
    name = Ada
    email = ada@example.org
    signingKey = /nowhere
[core]
    hooksPath = {home}/hooks
    attributesFile = {home}/attributes
    sharedRepository = group
    quotePath = true
    abbrev = 4
    pager = false
[init]
    templateDir = {home}/template
    defaultObjectFormat = sha256
    defaultRefFormat = reftable
    defaultBranch = trunk
[commit]
    gpgSign = true
[tag]
    gpgSign = true
    forceSignAnnotated = true
[gpg]
    program = false
[log]
    showSignature = true
    follow = true
    date = relative
[format]
    pretty = "%an"
[blame]
    ignoreRevsFile = /nowhere
[diff]
    external = false
    noprefix = true
[transfer]
    hideRefs = refs/heads
    fsckObjects = false
[receive]
    fsckObjects = false
    unpackLimit = 1000
    denyCreates = true
[push]
    default = nothing
    gpgSign = true
[fetch]
    fsckObjects = false
[pack]
    indexVersion = 1
[protocol]
    allow = never
[protocol "file"]
    allow = never
[clone]
    defaultRemoteName = elsewhere
[url "ssh://nowhere/"]
    insteadOf = /
    pushInsteadOf = /
[gc]
    auto = 1
[safe]
    directory = /nowhere
"""
VARIABLES = {
    "TAR_OPTIONS": "--transform=s,^,x,",
    "POSIXLY_CORRECT": "1",
    "LANGUAGE": "de",
    "LC_ALL": "C.UTF-8",
    "GIT_DIR": "/nowhere",
    "GIT_WORK_TREE": "/nowhere",
    "GIT_INDEX_FILE": "/nowhere/index",
    "GIT_OBJECT_DIRECTORY": "/nowhere/objects",
    "GIT_CEILING_DIRECTORIES": "/",
    "GIT_DEFAULT_HASH": "sha256",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_TEMPLATE_DIR": "/nowhere",
    "GIT_EXTERNAL_DIFF": "false",
    "GIT_TRACE": "1",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "core.bare",
    "GIT_CONFIG_VALUE_0": "false",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with settings and hooks that would break or change nearly everything."""
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    (home / "template" / "hooks").mkdir(parents=True)
    for name in ("pre-push", "pre-receive", "update", "reference-transaction", "post-checkout"):
        (home / "hooks" / name).write_text(f"#!/bin/sh\ntouch {home}/hook-of-mine-ran\nexit 1\n")
        (home / "hooks" / name).chmod(0o755)
        shutil.copy(home / "hooks" / name, home / "template" / "hooks" / name)
    (home / "attributes").write_text("* text eol=crlf ident\n")
    (home / "gitconfig").write_text(CONFIGURATION.format(home=home))
    for name, value in {"HOME": str(home), "GIT_CONFIG_GLOBAL": str(home / "gitconfig")}.items():
        monkeypatch.setenv(name, value)
    return home


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with a prototype that has one snapshot."""
    live = tmp_path / "live"
    (live / "etc").mkdir(parents=True)
    (live / "etc" / "motd").write_text("one\n")
    made = make_site(tmp_path / "site")
    made.run("prototype", "create", "desktop", "--live", str(live))
    made.run("checkin", "desktop", "-m", "first")
    return made


def session(site: Site, tarball: Path, work: Path) -> None:
    """A bit of everything that runs git or another program."""
    site.run("init")
    site.run("prototype", "create", "desktop", "--from", str(tarball))
    site.run("checkin", "desktop", "-m", "first")
    site.run("layer", "create", "base")
    motd = site.path / "live" / "base" / "etc" / "motd"
    motd.parent.mkdir()
    motd.write_text("hello\n")
    site.run("checkin", "base", "-m", "motd")
    site.run("channel", "create", "lab", "--prototype", "desktop")
    site.run("push", "desktop", "lab", "--yes")
    motd.write_text("hello again\n")
    site.run("checkin", "base", "-m", "again")
    site.run("push", "base", "lab", "--yes")
    site.run("client", "add", "lab-1", "--channel", "lab")
    assert "again" in site.out("layer", "which", "lab-1", "/etc/motd")
    site.run("prototype", "create", "fork", "--from", "desktop@main")
    site.run("clone", "desktop", str(work))
    site.run("gc", "desktop")
    site.run("rollback", "lab")
    site.run("fsck")
    assert "first" in site.json("log", "desktop")["commits"][0]["subject"]


def state(site: Site) -> dict[str, str]:
    """Authors, refs and settings of all repositories, and the trees of those that hold no time of their own."""
    found = {}
    for path in sorted(site.path.rglob("*.git")):
        form = "%T %an" if path.name in ("desktop.git", "fork.git") else "%an"
        found[f"{path.name} log"] = git(path, "log", "--all", f"--format={form}", "--no-show-signature")
        found[f"{path.name} refs"] = git(path, "for-each-ref", "--format=%(refname) %(objecttype)")
        found[f"{path.name} config"] = (path / "config").read_text().replace(str(site.path), "SITE")
    return found


def test_a_session_is_the_same_in_any_surroundings(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (tmp_path / "root" / "etc" / "Grüße").write_text("$Id$ \r\n")
    subprocess.run(["tar", "-C", tmp_path / "root", "-cf", tmp_path / "root.tar", "."], check=True)
    monkeypatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Ada")
    session(Site(tmp_path / "one"), tmp_path / "root.tar", tmp_path / "clone-one")
    with monkeypatch.context() as changed:
        home: Path = request.getfixturevalue("home")
        for name, value in VARIABLES.items():
            changed.setenv(name, value)
        session(Site(tmp_path / "two"), tmp_path / "root.tar", tmp_path / "clone-two")
    for name in (*VARIABLES, "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)
    assert not (home / "hook-of-mine-ran").exists()
    assert state(Site(tmp_path / "one")) == state(Site(tmp_path / "two"))
    for name in ("etc/passwd", "etc/Grüße"):
        assert (tmp_path / "clone-two" / name).read_bytes() == (tmp_path / "root" / name).read_bytes()


# --- what a person sees -----------------------------------------------------------------------------------------------


def test_history_is_shown_as_a_person_wants_it(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "mine"
    mine.write_text("[format]\n\tpretty = by %an\n[diff]\n\tnoprefix = true\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(mine))
    (tmp_path / "live" / "etc" / "motd").write_text("two\n")
    site.run("checkin", "desktop", "-m", "second", "--author", "Ada <ada@example.org>")
    assert site.out("log", "desktop", "-1") == "by Ada"
    assert "--- etc/motd" in site.out("diff", "desktop", "HEAD~1", "HEAD")
    assert [one["subject"] for one in site.json("log", "desktop")["commits"]] == ["second", "first"]


# --- pushes by plain git ----------------------------------------------------------------------------------------------


def push_a_secret(work: Path) -> subprocess.CompletedProcess[str]:
    (work / "etc" / "ssh").mkdir(exist_ok=True)
    (work / "etc" / "ssh" / "ssh_host_rsa_key").write_text("secret\n")
    git(work, *ADA, "-c", "commit.gpgSign=false", "-c", "core.hooksPath=", "add", "-A")
    git(work, *ADA, "-c", "commit.gpgSign=false", "-c", "core.hooksPath=", "commit", "-q", "-m", "secret")
    argv = ["git", "-C", str(work), "push", "-q", "origin", "HEAD:refs/heads/leak"]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "setting", ["hooksPath = /nowhere", "hooksPath = /dev/null", "hooksPath = hooks-of-mine", "fsyncMethod = fsync"]
)
def test_a_pushers_settings_do_not_switch_off_the_hooks(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    site.run("clone", "desktop", str(tmp_path / "work"))
    (tmp_path / "gitconfig").write_text(f"[core]\n\t{setting}\n[receive]\n\tfsckObjects = false\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    done = push_a_secret(tmp_path / "work")
    assert done.returncode
    assert "ssh host key" in done.stderr
    assert "leak" not in site.git("desktop", "branch", "--list")


# --- repositories of before, and moved ones ---------------------------------------------------------------------------


def settings_of(site: Site) -> tuple[str, str]:
    return tuple(site.git("desktop", "config", name).strip() for name in ("core.hooksPath", "pack.indexVersion"))  # type: ignore[return-value]


def test_a_repository_of_before_is_named_and_renewed(site: Site, tmp_path: Path) -> None:
    wanted = settings_of(site)
    for name in ("core.hooksPath", "pack.indexVersion", "receive.fsckObjects"):
        site.git("desktop", "config", "--unset", name)
    site.git("desktop", "config", "gc.auto", "7")  # as an admin wants it
    findings = [one["text"] for one in site.json("doctor", code=1)["checks"] if one["area"] == "repositories"]
    assert any(text.startswith("desktop") and "core.hooksPath" in text for text in findings), findings
    site.run("reconcile")
    assert settings_of(site) == wanted
    assert site.git("desktop", "config", "gc.auto").strip() == "7"


def test_a_site_that_was_moved_has_hooks_again(site: Site, tmp_path: Path) -> None:
    moved = Site(tmp_path / "elsewhere")
    site.path.rename(moved.path)
    (tmp_path / "live" / "etc" / "motd").write_text("two\n")
    moved.run("checkin", "desktop", "-m", "second")
    assert settings_of(moved)[0] == str(moved.repository("desktop") / "hooks")
    moved.run("clone", "desktop", str(tmp_path / "work"))
    assert "ssh host key" in push_a_secret(tmp_path / "work").stderr


def stale(site: Site) -> Path:
    """The hooks call a gitstate that isn't there any more."""
    for hook in (site.repository("desktop") / "hooks").iterdir():
        lines = hook.read_text().splitlines()
        hook.write_text(
            "\n".join("gitstate=/opt/old/gitstate" if "gitstate=" in one[:9] else one for one in lines) + "\n"
        )
    return site.repository("desktop") / "hooks"


@pytest.mark.parametrize("words", [("checkin", "desktop", "-m", "x"), ("push", "desktop", "lab", "--yes")])
def test_a_moved_program_renews_its_hooks(site: Site, words: tuple[str, ...]) -> None:
    site.run("channel", "create", "lab", "--prototype", "desktop")
    hooks = stale(site)
    site.run(*words)
    assert not any("/opt/old" in hook.read_text() for hook in hooks.iterdir())


def test_a_stale_hook_calls_the_program_on_the_path(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.run("channel", "create", "lab", "--prototype", "desktop")
    program = (stale(site).parents[2].parent / "bin" / "gitstate").absolute()
    argv = ["git", "-C", str(site.repository("desktop")), *ADA, "tag", "lab/1"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "/opt/old/gitstate" in done.stderr
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "called $*" >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "hook reference-transaction" in done.stderr


def test_a_lock_of_somebody_alive_is_told_in_any_language(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    (tmp_path / "live" / "etc" / "motd").write_text("two\n")
    lock = site.repository("desktop") / "refs" / "heads" / "main.lock"
    with lock.open("w") as file, subprocess.Popen(["sleep", "60"], stdout=file) as owner:
        try:
            assert "File exists" in site.refuses(11, "checkin", "desktop", "-m", "x")
        finally:
            owner.kill()
