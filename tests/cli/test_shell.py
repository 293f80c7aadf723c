"""`gitstate shell` as a person or a script runs it: what is seen inside, and that nothing of it is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.harness import listing
from tests.cli.terminal import Screen, on_terminal
from tests.gitstate_command import Site
from tests.support import PROJECT, needs, root_only
from tests.tree.shell.harness import WAYS, mounts, prototype, set_options, start, until, visible_mounts

pytestmark = [root_only, needs("busybox", "unshare", "setpriv", "git")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """One for all tests of this module that leave it usable."""
    return prototype(tmp_path_factory.mktemp("shell"))


@pytest.fixture
def root(site: Site) -> Path:
    """Its live tree, checked in as it is."""
    site.run("checkin", "desktop", "-m", "before the test")
    return site.path.parent / "root"


def git(site: Site, *words: str) -> str:
    """What plain git prints."""
    return site.git("desktop", *words).strip()


def told(site: Site, *words: str) -> Any:
    """What the command says of itself."""
    return json.loads(site.run("--json", "shell", "desktop", *words).stdout)


def inside(site: Site, script: str, *options: str, code: int = 0) -> list[str]:
    """What a script prints inside."""
    return site.run("shell", "desktop", *options, "--", "sh", "-c", script, code=code).stdout.splitlines()


@pytest.mark.parametrize("way", WAYS)
def test_the_exit_code_is_the_program_s_and_the_tree_is_as_before(tmp_path: Path, way: str) -> None:
    site = prototype(tmp_path, way)
    root = tmp_path / "root"
    (root / "run/of-the-tree").touch()
    assert site.json("shell", "desktop", "-n")["way"] == way
    script = "ls /run /tmp /var/tmp; cat /etc/resolv.conf; for x in run tmp var/tmp dev; do >/$x/x; done"
    lines = inside(site, f"{script}; exit 7", code=7)
    assert "of-the-tree" not in lines
    assert lines[-1:] == Path("/etc/resolv.conf").read_text().splitlines()[-1:]
    assert (
        site.out("status", "desktop")
        == f"desktop: nothing to check in since {git(site, 'rev-parse', '--short=7', 'main')}"
    )
    assert sorted(path.name for path in (root / "dev").iterdir()) == ["console"]
    assert not [path for path in root.rglob("x") if path.parent.name in ("tmp", "archives", "run")]
    assert mounts(tmp_path) == []


def test_a_plan_writes_nothing(site: Site, root: Path) -> None:
    before = listing(root, site.repository("desktop"))
    for verb in ("shell", "mount", "umount"):
        assert site.run(verb, "desktop", "-n").stdout
    assert listing(root, site.repository("desktop")) == before


def test_services_find_nobody_who_starts_them(site: Site, root: Path) -> None:
    for name in ("invoke-rc.d", "service"):
        (root / "usr/sbin" / name).write_text("#!/bin/sh\necho started >/root/started\n")
        (root / "usr/sbin" / name).chmod(0o755)
    done = site.run(
        "shell", "desktop", "--", "sh", "-c", "invoke-rc.d cron start && service cron start && initctl start cron"
    )
    assert "services aren't started in a live tree: cron start" in done.stderr
    assert not (root / "root/started").exists()


def test_programs_have_nothing_of_our_environment_and_see_that_it_is_a_chroot(site: Site) -> None:
    lines = inside(site, "env; ls -di / /proc/1/root/.; ls -d /proc/[0-9]*")
    names = {line.partition("=")[0] for line in lines if "=" in line}
    assert names <= {
        *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LESSHISTFILE", "GITSTATE_SHELL", "debian_chroot", "APT_CONFIG"),
        *("DEBIAN_FRONTEND", "SYSTEMD_OFFLINE", "TZ", "TERM", "PWD", "SHLVL", "OLDPWD"),
        *(name for name in os.environ if name.lower().endswith("_proxy")),
    }
    first, second = (line.split()[0] for line in lines if line.endswith((" /", "/proc/1/root/.")))
    assert first != second
    assert len([line for line in lines if line.startswith("/proc/")]) < 8


def test_without_a_terminal_it_says_what_has_changed(site: Site, root: Path) -> None:
    done = site.run(
        "shell", "desktop", "--", "sh", "-c", "echo a >/etc/a; echo b >/etc/b; rm /etc/fstab; exit 3", code=3
    )
    assert done.stderr == "desktop: 3 files changed: gitstate status desktop\n"
    assert done.stdout == ""


def test_with_a_message_it_checks_in_what_went_well(site: Site, root: Path) -> None:
    inside(site, "echo a >/etc/a; exit 1", "-m", "an a", code=1)
    assert git(site, "log", "-1", "--format=%s") != "an a"
    inside(site, "echo b >/etc/b", "-m", "a and b", "--author", "A <a@example.org>")
    assert git(site, "log", "-1", "--format=%s %an") == "a and b A"
    assert git(site, "show", "main:etc/a") == "a"


def test_json_keeps_the_program_s_output_out_of_the_object(site: Site) -> None:
    done = told(site, "-m", "m", "--", "sh", "-c", "echo noise; echo x >/etc/x")
    assert (done["exit_code"], done["changes"], done["way"], done["dry_run"]) == (0, 0, "namespaces", False)
    assert done["recorded"] == [git(site, "rev-parse", "main")]
    plan = told(site, "-n", "--", "true")
    assert plan["program"] == ["true"]
    assert "var/cache/apt/archives" in plan["mounts"]


def test_words_are_no_shell_and_options_behind_the_dashes_are_the_program_s(site: Site) -> None:
    lines = site.run("shell", "desktop", "--", "echo", "-n", "$(touch /evil)", ";", "--json").stdout
    assert lines == "$(touch /evil) ; --json"


def test_the_current_live_tree_is_meant_without_a_name(site: Site, root: Path) -> None:
    assert site.run("shell", "--", "cat", "/etc/machine-id", cwd=root / "etc").returncode == 0


def test_a_program_that_fails_checks_nothing_in_and_that_is_said(site: Site, root: Path) -> None:
    before = git(site, "rev-parse", "main")
    done = site.run("shell", "desktop", "-m", "x", "--", "sh", "-c", "echo more >>/etc/motd; exit 7", code=7)
    assert done.stderr.strip() == "desktop: 1 file changed, not checked in after exit code 7: gitstate status desktop"
    assert git(site, "rev-parse", "main") == before


def ask(site: Site, typed: bytes, *words: str, editor: str = "sed -i '1s/^/a greeting/'") -> Screen:
    """The command on a terminal, with what a person types in advance."""
    environment = {**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)}
    environment["GIT_EDITOR"] = editor
    return on_terminal([sys.executable, "-m", "gitstate", "shell", "desktop", *words], environment, typed=typed)


def test_at_the_end_it_asks(site: Site, root: Path) -> None:
    (root / "etc/motd").write_text("hello\n")
    screen = ask(site, b"\n", "--", "true")
    assert screen.text.count("1 file changed, check in? [y/N/diff]") == 1
    assert git(site, "log", "-1", "--format=%s") != "a greeting"
    screen = ask(site, b"y\n", "--", "sh", "-c", "exit 7", editor="true")
    assert screen.code == 7
    assert "an empty message" in screen.text
    screen = ask(site, b"diff\ny\n", "--", "true")
    assert screen.text.count("1 file changed, check in? [y/N/diff]") == 2
    assert "etc/motd" in screen.text
    assert git(site, "log", "-1", "--format=%s") == "a greeting"
    assert screen.code == 0


def test_the_shell_shows_the_tree_s_name_and_writes_no_history(site: Site, root: Path) -> None:
    (root / "etc/gitstate").mkdir(exist_ok=True)
    (root / "etc/gitstate/about").write_text("kiosk\nnotes\n")
    screen = ask(site, b"echo 3 >/etc/three\nexit 5\nn\n")
    assert "[kiosk] # " in screen.text
    assert screen.code == 5
    assert (root / "etc/three").exists()
    assert not list((root / "root").glob(".*history"))


def test_ctrl_c_is_the_program_s(site: Site, root: Path) -> None:
    environment = {**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)}
    argv = [
        sys.executable,
        "-m",
        "gitstate",
        "shell",
        "desktop",
        "--",
        "sh",
        "-c",
        "trap 'rm /etc/here; exit 9' INT; >/etc/here; while sleep 0.1; do :; done",
    ]
    screen = on_terminal(argv, environment, typed=b"", until=(root / "etc/here").exists)
    assert screen.code == 9, screen


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("whom", ["command", "group"])
def test_killed_it_leaves_nothing(tmp_path: Path, way: str, whom: str) -> None:
    site = prototype(tmp_path, way)
    root = tmp_path / "root"
    child = start(site, "shell", "desktop", "--", "sh", "-c", "setsid sleep 1000 & >/etc/here; sleep 1000")
    until((root / "etc/here").exists, "the program did not start")
    assert visible_mounts(root) == []
    assert mounts(tmp_path)
    (child.kill if whom == "command" else lambda: os.killpg(child.pid, signal.SIGKILL))()
    child.wait()
    until(lambda: not mounts(tmp_path), "a mount is left")
    assert site.out("status", "desktop").splitlines()[0].split() == ["A", "etc/here"]
    assert inside(site, "echo again") == ["again"]
    site.run("checkin", "desktop", "-m", "goes on")
    assert not list((site.repository("desktop") / "gitstate").glob("scratch-*"))


@pytest.mark.parametrize("name", ["proc", "run"])
def test_a_symlink_in_place_of_a_mount_point_is_refused(site: Site, root: Path, tmp_path: Path, name: str) -> None:
    (root / name).rmdir()
    (root / name).symlink_to(tmp_path)
    for verb in ("shell", "mount"):
        site.refuses(5, verb, "desktop", naming=f"/{name}")
    assert list(tmp_path.iterdir()) == []
    (root / name).unlink()
    (root / name).mkdir()


def test_other_symlinks_lead_no_mount_outside(site: Site, root: Path, tmp_path: Path) -> None:
    (root / "var/tmp").rmdir()
    (root / "var/tmp").symlink_to(tmp_path)
    (root / "etc/resolv.conf").unlink()
    (root / "etc/resolv.conf").symlink_to(f"../run/../..{tmp_path}/evil")
    assert "var/tmp" not in site.json("shell", "desktop", "-n")["mounts"]
    inside(site, ">/etc/x")
    assert list(tmp_path.iterdir()) == []
    (root / "var/tmp").unlink()
    (root / "var/tmp").mkdir(mode=0o1777)


def test_package_managers_are_heard(site: Site, root: Path) -> None:
    (root / "usr/bin/dpkg-query").write_text("#!/bin/sh\ncat /etc/packages\n")
    (root / "usr/bin/dpkg-query").chmod(0o755)
    (root / "etc/packages").write_text("installed a 1\nconfig-files gone 1\n")
    site.run("checkin", "desktop", "-m", "a program")
    hook = "/run/gitstate-shell/packages"
    script = f"echo edit >/etc/edit; {hook} before apt; echo installed a 2 >/etc/packages; {hook} after apt"
    done = site.run("shell", "desktop", "--", "sh", "-c", script)
    subjects = git(site, "log", "-3", "--format=%s").splitlines()
    assert subjects == ["apt: a 1 -> 2", "before apt", "a program"]
    assert [line.split("  ")[1] for line in done.stderr.splitlines()] == ["before apt", "apt: a 1 -> 2"]
    set_options(site, nspawn=False, packages=False)
    done = site.run("shell", "desktop", "--", "sh", "-c", "cat /run/gitstate-shell/apt.conf; ls /run/gitstate-shell")
    assert "Invoke" not in done.stdout
    assert "packages" not in done.stdout.splitlines()
    set_options(site, nspawn=False)


def test_what_policy_refuses_stops_no_package_manager(site: Site, root: Path) -> None:
    (root / "etc/ssh/ssh_host_rsa_key").write_text("x\n")
    done = site.run("shell", "desktop", "--", "/run/gitstate-shell/packages", "before", "apt")
    (root / "etc/ssh/ssh_host_rsa_key").unlink()
    assert "not checked in before apt" in done.stderr
    assert "/etc/ssh/ssh_host_rsa_key" in done.stderr


@pytest.mark.parametrize(
    "script",
    [
        "printf 'before apt 1\\n' >requests",
        "mkdir answer.2; printf 'after apt 2\\n' >requests",
        "ln -s /etc/shadow packages.3; mkfifo answer.3; printf 'after apt 3\\n' >requests",
        "head -c 100000 /dev/zero >requests; printf '\\nafter rm 4\\nbefore apt ../../x\\n' >requests",
    ],
)
def test_odd_requests_do_no_harm(site: Site, script: str) -> None:
    assert inside(site, f"cd /run/gitstate-shell; {script}; sleep 0.3; echo fine") == ["fine"]


def test_links_of_writable_files_are_restored_after_packages(site: Site, root: Path) -> None:
    (root / "etc/listed").write_text("before\n")
    site.run("layer", "create", "base")
    site.run("local", "add", "desktop", "/etc/listed")
    script = "rm /etc/listed; echo from a package >/etc/listed; /run/gitstate-shell/packages after apt"
    site.run("shell", "desktop", "--", "sh", "-c", script)
    assert (root / "etc/listed").is_symlink()
    assert (site.path / "live/base/etc/listed").read_text() == "from a package\n"
    assert site.out("status", "desktop").startswith("desktop: nothing to check in since")


def test_a_live_tree_may_be_an_overlay(tmp_path: Path) -> None:
    site = prototype(tmp_path)
    root = tmp_path / "root"
    site.run("live", "desktop", "--mode", "overlay")
    try:
        assert inside(site, ">/tmp/x; echo x >/etc/x; cat /etc/resolv.conf", "-m", "an x")
        assert git(site, "show", "--name-only", "--format=", "main", "--", ":!*.gitstate").split() == ["etc/x"]
        site.run("mount", "desktop")
        assert site.out("status", "desktop").startswith("desktop: nothing to check in since")
        site.run("umount", "desktop")
        assert visible_mounts(tmp_path) == ["root"]
    finally:
        subprocess.run(["umount", "--recursive", "--lazy", str(root)], check=True)


def test_where_nothing_may_be_mounted_it_says_so(site: Site, root: Path) -> None:
    """As in a container without the right to."""
    environment = {**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)}
    for verb in (("shell", "desktop", "--", "true"), ("mount", "desktop")):
        argv = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-m", "gitstate", *verb]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 5, done.stderr
        assert "Operation not permitted" in done.stderr
        assert "container" in done.stderr
    assert not list((site.repository("desktop") / "gitstate").glob("scratch-*"))
    assert not (site.repository("desktop") / "gitstate/mounts").exists()
