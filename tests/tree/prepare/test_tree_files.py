"""What a live tree carries for those who work in it: its name, the prompt in a chroot, the package managers' hooks."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from gitstate.core.monitor import SILENT
from gitstate.tree import prepare
from tests.support import PROJECT, needs, root_only
from tests.tree.prepare.harness import plant

pytestmark = [root_only, needs("busybox", "unshare")]

PROFILE = "etc/profile.d/gitstate.sh"
AUTOFIX = "usr/lib/gitstate/autofix"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = plant(tmp_path / "root")
    (root / "etc/apt/apt.conf.d").mkdir(parents=True)
    prepare.apply(prepare.plan(root, name="desktop"), SILENT)
    for name in ("stat", "umount"):
        (root / "usr/bin" / name).symlink_to("busybox")
    return root


def chrooted(root: Path, script: str, *, booted: bool = False) -> str:
    """What a shell prints in the root: entered from another, or as the first process of a machine."""
    inside = f"chroot {root} /bin/busybox sh -c"
    quoted = script.replace("'", "'\\''")
    if booted:
        line = f"exec {inside} 'mount -t proc proc /proc; {quoted}'"
    else:
        line = f"mount -t proc proc {root}/proc; {inside} '{quoted}'; :"
    words = ["unshare", "--mount", "--pid", "--fork", "sh", "-c", line]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=20, env=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


# --- the name ---------------------------------------------------------------------------------------------------------


def test_line_1_is_the_tree_s_name_and_the_rest_is_yours(root: Path) -> None:
    about = root / "etc/gitstate/about"
    assert about.read_text() == "desktop\n"
    assert not prepare.plan(root, name="desktop")
    about.write_text("desktop\nAda looks after it\n")
    assert not prepare.plan(root, name="desktop")
    prepare.apply(prepare.plan(root, name="fork"), SILENT)
    assert about.read_text() == "fork\nAda looks after it\n"


@pytest.mark.parametrize(
    ("prompt", "about", "expected"),
    [
        ("$ ", "desktop\nmore\n", "(desktop) $ "),
        ("$ ", "desktop", "(desktop) $ "),
        ("(desktop) $ ", "desktop\n", "(desktop) $ "),
        ("${debian_chroot:+($debian_chroot)}$ ", "desktop\n", "${debian_chroot:+($debian_chroot)}$ "),
        ("$ ", "$(reboot)\n", "$ "),
        ("$ ", "a b\n", "$ "),
        ("$ ", "\x1b[2J\n", "$ "),
        ("$ ", "", "$ "),
        ("", "desktop\n", ""),
    ],
)
def test_the_prompt_in_a_chroot_names_the_tree(root: Path, prompt: str, about: str, expected: str) -> None:
    (root / "etc/gitstate/about").write_text(about)
    script = f'unset PS1; PS1="{prompt}"\n. /{PROFILE}\nprintf "%s|%s" "$PS1" "${{gitstate_name-none}}"'
    script = script.replace('PS1="${', 'PS1="\\${').replace(":+($debian", ":+(\\$debian")
    assert chrooted(root, script) == f"{expected}|none"


def test_debian_s_own_variable_has_the_name(root: Path) -> None:
    assert chrooted(root, f'PS1=x; . /{PROFILE}; echo "$debian_chroot"') == "desktop\n"
    assert chrooted(root, f'PS1=x; debian_chroot=mine; . /{PROFILE}; echo "$debian_chroot"') == "mine\n"


def test_on_a_machine_that_booted_it_the_prompt_stays(root: Path) -> None:
    assert chrooted(root, f'PS1="x "; . /{PROFILE}; echo "$PS1"', booted=True) == "x \n"


@needs("dash", "bash")
@pytest.mark.parametrize("shell", ["dash", "bash", "busybox sh"])
def test_every_shell_can_read_it(shell: str) -> None:
    subprocess.run([*shell.split(), "-un", PROJECT / "hooks/profile/gitstate.sh"], check=True)


# --- the package managers' hooks --------------------------------------------------------------------------------------


def ready(root: Path) -> None:
    """All that the hook wants: a list, a site, a gitstate."""
    (root / "etc/gitstate/local").write_text("/etc/fstab\n")
    (root / "srv/gitstate").mkdir(parents=True)
    (root / "srv/gitstate/site.toml").touch()
    (root / "usr/bin/gitstate").write_text('#!/bin/sh\necho "in $PWD: $*"\nexit 10\n')
    (root / "usr/bin/gitstate").chmod(0o755)
    (root / "usr/sbin/gitstate").unlink(missing_ok=True)


def test_the_hook_mends_where_everything_is_at_hand_and_never_fails(root: Path) -> None:
    ready(root)
    assert chrooted(root, f"cd /etc; /{AUTOFIX}") == "in /: --quiet local autofix\n"


@pytest.mark.parametrize("lacking", ["etc/gitstate/local", "srv/gitstate/site.toml", "usr/bin/gitstate"])
def test_the_hook_does_nothing_where_anything_is_missing(root: Path, lacking: str) -> None:
    ready(root)
    (root / lacking).unlink()
    assert chrooted(root, f"/{AUTOFIX}") == ""


def test_the_hook_does_nothing_on_a_machine(root: Path) -> None:
    ready(root)
    (root / "run/gitstate").mkdir()
    (root / "run/gitstate/about").touch()
    assert chrooted(root, f"/{AUTOFIX}") == ""


@needs("apt-config")
def test_apt_understands_its_part(root: Path) -> None:
    file = root / "etc/apt/apt.conf.d/90gitstate"
    words = ["apt-config", "-c", str(file), "dump", "DPkg::Post-Invoke"]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    (line,) = [line for line in said.splitlines() if AUTOFIX in line]
    command = line.partition('"')[2].rpartition('"')[0]
    ready(root)
    assert chrooted(root, command) == "in /: --quiet local autofix\n"
    (root / AUTOFIX).unlink()
    assert chrooted(root, command) == ""


def test_a_root_without_apt_gets_nothing_of_apt(tmp_path: Path) -> None:
    root = plant(tmp_path / "other")
    shutil.rmtree(root / "etc/apt", ignore_errors=True)
    prepare.apply(prepare.plan(root), SILENT)
    assert not (root / "etc/apt").exists()
    assert not (root / "etc/gitstate/about").exists()


def test_dnf_calls_it_once_for_each_transaction() -> None:
    lines = (PROJECT / "hooks/packages/dnf5.actions").read_text().splitlines()
    (action,) = [line for line in lines if not line.startswith("#")]
    assert action.split(":", 4) == ["post_transaction", "", "", "", f"/{AUTOFIX}"]
