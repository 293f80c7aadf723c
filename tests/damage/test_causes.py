"""Every cause outside of gitstate has its own exit code: real disks, rights, limits and signals; 14 is damage alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.gitstate_command import Site, make_site
from tests.support import PROJECT, needs, root_only

pytestmark = [root_only, needs("setpriv", "unshare", "mount", "prlimit")]

_WEAK: Final = "-dac_override,-dac_read_search"


def without(capabilities: str) -> list[str]:
    """The words that take capabilities from a program, as a container does."""
    return ["setpriv", f"--bounding-set={capabilities}", f"--inh-caps={capabilities}"]


@contextmanager
def mounted(target: Path, *words: str) -> Iterator[None]:
    """Something mounted on ``target``."""
    subprocess.run(["mount", *words, str(target)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(target)], check=True)


def told(site: Site, prefix: Sequence[str], *words: str) -> tuple[int, str]:
    """Exit code of a command below ``prefix``, and what it says: one line and a hint, never a traceback."""
    argv = [*prefix, sys.executable, "-m", "gitstate", "--site", str(site.path), *words]
    done = subprocess.run(
        argv, env={**os.environ, "PYTHONPATH": str(PROJECT)}, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert "bug:" not in done.stderr
    return done.returncode, done.stderr


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hostname").write_text("host\n")
    return root


@pytest.fixture
def site(tmp_path: Path, root: Path) -> Site:
    made = make_site(tmp_path / "site")
    made.run("prototype", "create", "desktop", "--live", str(root))
    made.run("checkin", "desktop", "-m", "first")
    return made


# --- what a container may not do --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("capability", "path"), [("-mknod", "dev/null"), ("-chown", "home"), ("-setfcap", "ping")])
def test_an_export_without_a_right(site: Site, root: Path, tmp_path: Path, capability: str, path: str) -> None:
    (root / "dev").mkdir()
    os.mknod(root / "dev/null", 0o020666, os.makedev(1, 3))
    (root / "home").mkdir()
    os.chown(root / "home", 1000, 1000)
    (root / "ping").write_text("x")
    os.setxattr(root / "ping", "security.capability", bytes.fromhex("0100000200200000000000000000000000000000"))
    site.run("checkin", "desktop", "-m", "more")
    code, said = told(site, without(capability), "export", "desktop", "HEAD", "--to", str(tmp_path / "out"))
    assert code == 5
    assert f"/{path} can't be made here" in said
    site.run("export", "desktop", "HEAD", "--to", str(tmp_path / "out"))


def test_an_export_where_only_some_owners_exist(site: Site, root: Path, tmp_path: Path) -> None:
    os.chown(root / "etc", 1000, 1000)
    site.run("checkin", "desktop", "-m", "more")
    code, said = told(site, ["unshare", "--user", "--map-root-user"], "export", "desktop", "--to", str(tmp_path / "o"))
    assert (code, "/etc can't be made here" in said) == (5, True)


# --- disks ------------------------------------------------------------------------------------------------------------


def test_a_tarball_larger_than_the_disk(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(os.urandom(2 << 20))
    (tmp_path / "many").mkdir()
    for number in range(100):
        (tmp_path / "many" / str(number)).write_bytes(os.urandom(30_000))
    (tmp_path / "s").mkdir()
    for what in ("big", "many"):
        subprocess.run(["tar", "-C", str(tmp_path), "-cf", str(tmp_path / "r.tar"), what], check=True)
        with mounted(tmp_path / "s", "-t", "tmpfs", "-o", "size=1m", "none"):
            made = make_site(tmp_path / "s/site")
            assert told(made, [], "prototype", "create", "t", "--from", str(tmp_path / "r.tar"))[0] == 6
            if what == "many":
                assert told(made, [], "prototype", "create", "t", "--from", str(tmp_path / what))[0] == 6
            assert made.json("prototype", "list")["prototypes"] == []


@pytest.mark.parametrize("words", ["fsck", "fsck --json"])
def test_a_check_that_finds_nothing_to_look_at(tmp_path: Path, words: str) -> None:
    code, said = told(make_site(tmp_path / "site"), [], *words.split())
    assert (code, "nothing to check" in said) == (10, True)


READING: Final = [
    "status desktop",
    "log desktop",
    "fsck desktop",
    "verify desktop HEAD ROOT",
    "prototype list",
    "status",
]
WRITING: Final = ["checkin desktop -m x", "gc desktop", "prototype create other", "layer create base", "init"]


@pytest.mark.parametrize("words", WRITING)
def test_a_site_mounted_read_only(site: Site, root: Path, words: str) -> None:
    (root / "etc/hostname").write_text("other\n")
    with mounted(site.path, "--bind", str(site.path)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(site.path)], check=True)
        code, said = told(site, [], *words.split())
    assert code == (2 if words == "init" else 5), said


# --- rights -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [*READING, *WRITING[:-1], "doctor", "layer list", "client list"])
def test_a_site_of_which_nothing_can_be_read(site: Site, root: Path, words: str) -> None:
    if words == "client list":  # a directory in a repository, too
        site.run("client", "add", "m", "--mac", "52:54:00:12:34:56")
    for folder in ("prototypes", "layers", "directory.git", "site.git", "exports", "tftp"):
        if (site.path / folder).exists():
            os.chown(site.path / folder, 65534, -1)
            (site.path / folder).chmod(0o700)
    code, said = told(site, without(_WEAK), *words.replace("ROOT", str(root)).split())
    assert code == (1 if words == "doctor" else 5), said
    if words != "doctor":
        assert "ermission denied" in said or "another user's" in said


# --- limits and signals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["checkin desktop -m x", "export desktop HEAD", "log desktop", "status"])
def test_few_open_files(site: Site, root: Path, words: str) -> None:
    (root / "etc/hostname").write_text("other\n")
    for most in (12, 16, 24):
        code, said = told(site, ["prlimit", f"--nofile={most}"], *words.split())
        assert code in (0, 3, 5), (most, said)


def test_a_file_larger_than_the_limit(site: Site, root: Path) -> None:
    (root / "big").write_bytes(os.urandom(300_000))
    code, _ = told(site, ["prlimit", "--fsize=100000"], "checkin", "desktop", "-m", "big")
    assert code == 6
    site.run("checkin", "desktop", "-m", "big")


# --- names in the way -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("branch", ["HEAD", "main/x", "a..b", "-x"])
def test_a_branch_that_none_can_be(site: Site, root: Path, branch: str) -> None:
    (root / "etc/hostname").write_text("other\n")
    assert told(site, [], "checkin", "desktop", "-m", "x", f"--branch={branch}")[0] in (2, 12)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("exports/desktop", "export desktop HEAD"),
        ("layers", "layer create base"),
        ("live", "prototype create other"),
        ("prototypes", "prototype list"),
        ("layers", "status"),
    ],
)
def test_a_file_where_a_directory_should_be(site: Site, path: str, words: str) -> None:
    place = site.path / path
    if place.is_dir():
        place.rename(site.path / "moved")
    place.write_text("in the way")
    code, said = told(site, [], *words.split())
    assert code == 5, said
    assert str(place) in said


# --- checks of many things --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["fsck", "verify --all"])
def test_what_can_t_be_looked_at_is_no_damage(site: Site, words: str) -> None:
    """One repository can't be read: 5. Beside it another is damaged: 14, which names that one alone."""
    site.run("prototype", "create", "kiosk")
    for path in (site.repository("kiosk") / "objects", *(site.repository("kiosk") / "objects").iterdir()):
        os.chown(path, 65534, -1)
        path.chmod(0o700)
    code, said = told(site, without(_WEAK), *words.split())
    assert code == 5, said
    pack = next((site.repository("desktop") / "objects/pack").glob("*.pack"))
    pack.chmod(0o600)
    with pack.open("r+b") as file:
        file.seek(40)
        file.write(b"\xff" * 8)
    code, said = told(site, without(_WEAK), *words.split())
    assert code == 14, said
    assert "damaged: desktop" in said
    assert "kiosk" not in said.splitlines()[-2]
