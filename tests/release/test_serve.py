"""Pushes by ssh, with a real sshd, by a user who is nobody: what goes, what doesn't, and what is told."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitstate.core.errors import NotFoundError, UsageError
from gitstate.release.gate.serve import Accepts, CheckIn, Report, Service, parse
from gitstate.store.site import Site
from tests.gitstate_command import git
from tests.release.harness import Harness
from tests.release.sshd import Server, serving
from tests.support import needs, root_only

pytestmark = [root_only, needs("git", "sshd", "sudo", "ssh", "unshare")]


@pytest.fixture
def server(harness: Harness) -> Iterator[Server]:
    """An sshd that serves the site."""
    with serving(harness.place / "ssh", harness.site) as server:
        yield server


@pytest.fixture
def work(harness: Harness, server: Server) -> Path:
    """Somebody's clone, made by ssh."""
    done = server.git(harness.place, "clone", "-q", server.url("desktop"), "work")
    assert done.returncode == 0, done.stderr
    path = harness.place / "work"
    git(path, "config", "user.name", "Grace Hopper")
    git(path, "config", "user.email", "grace@example.org")
    return path


def edit(work: Path, text: str = "hello\n") -> str:
    (work / "etc" / "motd").write_text(text)
    git(work, "add", "-A")
    git(work, "commit", "-q", "-m", text)
    return git(work, "rev-parse", "HEAD").strip()


def test_a_push_waits_for_its_release_and_is_told(harness: Harness, server: Server, work: Path) -> None:
    commit = edit(work)
    git(work, "tag", "-a", "lab3/1", "-m", "by ssh")
    done = server.git(work, "push", "origin", "main", "lab3/1")
    assert done.returncode == 0, done.stderr
    assert f"gitstate: lab3/1 = desktop {commit[:7]}" in done.stderr
    assert harness.runs("lab3") == {"desktop": commit}
    assert harness.releases("log", "-1", "--format=%an", "lab3") == "Grace Hopper"
    assert (harness.repository("desktop") / "refs" / "tags" / "lab3" / "1").stat().st_uid == 0


def test_a_push_of_a_branch_releases_nothing(harness: Harness, server: Server, work: Path) -> None:
    commit, before = edit(work), harness.releases("for-each-ref")
    done = server.git(work, "push", "origin", "main")
    assert done.returncode == 0, done.stderr
    assert harness.head("desktop") == commit
    assert harness.releases("for-each-ref") == before
    assert not harness.git("desktop", "tag")


def test_a_layer_is_served_by_its_name(harness: Harness, server: Server) -> None:
    harness.layer("lab/lab3")
    assert server.git(harness.place, "clone", "-q", server.url("lab/lab3"), "layer").returncode == 0
    assert (harness.place / "layer" / "etc" / "motd").is_file()


def test_what_is_refused_is_told_to_the_pusher(harness: Harness, server: Server, work: Path) -> None:
    (work / "etc" / "ssh").mkdir()
    (work / "etc" / "ssh" / "ssh_host_rsa_key").write_text("secret\n")
    edit(work)
    done = server.git(work, "push", "origin", "main")
    assert done.returncode
    assert "policy refuses /etc/ssh/ssh_host_rsa_key" in done.stderr
    git(work, "tag", "lab3/1", "HEAD~1")
    done = server.git(work, "push", "origin", "lab3/1")
    assert done.returncode
    assert "no annotated tag" in done.stderr


def test_a_release_that_fails_is_told_and_finished_later(harness: Harness, server: Server, work: Path) -> None:
    exports = harness.site / "exports" / "desktop"
    exports.write_text("in the way")
    commit = edit(work)
    git(work, "tag", "-a", "lab3/1", "-m", "x")
    done = server.git(work, "push", "origin", "main", "lab3/1")
    assert "lab3/1 is not released:" in done.stderr, done.stderr
    assert "lab3" not in harness.releases("branch", "--list")
    exports.unlink()
    harness("reconcile")
    assert harness.runs("lab3") == {"desktop": commit}


ELSE = (
    "",
    "sh",
    "id; git-receive-pack desktop",
    "git-receive-pack",
    "git-receive-pack '../prototypes/desktop'",
    "git-receive-pack '/etc'",
    "git-receive-pack 'directory'",
    "git-receive-pack 'site'",
    "git-receive-pack '--help' desktop",
    "git-receive-pack --upload-pack=id",
    "git-upload-pack 'desktop' extra",
    "git-upload-archive 'desktop'",
    "git-receive-pack 'desktop$(id)'",
    "git-receive-pack 'lab/../../prototypes/desktop'",
    "gitstate --site /tmp serve",
)


def test_nothing_else_is_served(harness: Harness, server: Server) -> None:
    for command in ELSE:
        done = server.ssh(command)
        assert done.returncode in (2, 10), done
        assert done.stdout == ""
        assert "gitstate: " in done.stderr
        assert "uid=" not in done.stderr


def test_nothing_that_the_pusher_sets_counts(harness: Harness, server: Server, work: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-receive").write_text(f"#!/bin/sh\nid >{marker}\n")
    (hooks / "pre-receive").chmod(0o755)
    commit = edit(work)
    settings = {
        "GITSTATE_SITE": str(tmp_path),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(hooks),
        "GIT_EXEC_PATH": str(hooks),
        "SSH_ORIGINAL_COMMAND": "git-receive-pack '/etc'",
    }
    done = server.ssh("git-upload-pack 'nothing'", **settings)
    assert "no repository nothing" in done.stderr
    done = server.git(work, "push", "-o", "x=y", "origin", "main")
    done = server.git(work, "-c", f"remote.origin.receivepack=sh -c 'id >{marker}' #", "push", "origin", "main")
    assert done.returncode
    done = server.git(work, "push", "origin", "main")
    assert done.returncode == 0, done.stderr
    assert harness.head("desktop") == commit
    assert not marker.exists()


def test_the_user_has_no_other_way_in(harness: Harness, server: Server) -> None:
    """Only the one command, as it stands: no other site, no other verb."""
    program = (server.place / "authorized_keys").read_text().split('"')[1].split()[2]
    start = (server.place / "start").read_text().replace("exec ", "exec true # ")
    for words in (f"{program} --site /tmp serve", f"{program} --site {harness.site} push", f"{program} init", "id"):
        script = f"{start}\n"
        script = (
            script.rpartition("exec true")[0]
            + f"exec setpriv --reuid=64999 --regid=64999 --clear-groups sudo -n {words}\n"
        )
        done = subprocess.run(
            ["unshare", "--mount", "--propagation", "private", "sh", "-eu", "-c", script],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1, done
        assert "a password is required" in done.stderr, done


# --- the words ssh brings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "git-receive-pack 'desktop'",
        "git receive-pack '/desktop.git'",
        "git-receive-pack desktop/",
        "git-upload-pack '/desktop'",
    ],
)
def test_names_in_gits_ways(harness: Harness, command: str) -> None:
    service = parse(Site(harness.site), command)
    assert isinstance(service, Service)
    assert service.repository == "desktop"
    assert service.path == harness.repository("desktop")
    assert service.argv[-1] == str(harness.repository("desktop"))


@pytest.mark.parametrize(
    "command", [None, "", "ls", "git-receive-pack", "git-receive-pack ''", "git-receive-pack 'a' 'b'", "x" * 1000]
)
def test_other_words(harness: Harness, command: str | None) -> None:
    with pytest.raises(UsageError):
        parse(Site(harness.site), command)
    with pytest.raises(NotFoundError):
        parse(Site(harness.site), "git-receive-pack 'desktops'")


def test_reports_and_a_key_for_them_alone(harness: Harness) -> None:
    site = Site(harness.site)
    assert parse(site, "report LAB3-12") == parse(site, "report lab3-12", Accepts.REPORTS) == Report("lab3-12")
    for command in (
        "git-receive-pack 'desktop'",
        "git-upload-pack desktop",
        "report",
        "report a b",
        "report " + "x" * 500,
    ):
        with pytest.raises(UsageError):
            parse(site, command, Accepts.REPORTS)
        with pytest.raises(UsageError):
            parse(site, command, Accepts.MACHINE)
    assert parse(site, "checkin lab3-12", Accepts.MACHINE) == parse(site, "checkin LAB3-12") == CheckIn("lab3-12")
    with pytest.raises(UsageError):
        parse(site, "checkin lab3-12", Accepts.REPORTS)
