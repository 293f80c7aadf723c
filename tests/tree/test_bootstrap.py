"""Where prototypes come from, and how they go."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.gitstate_command import Site, make_site
from tests.support import PROJECT, needs, root_only
from tests.testing import hostile, judges

pytestmark = [root_only, needs("git", "rsync", "mtree", "getcap", "getfacl", "setcap", "setfacl", "pgrep")]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An empty site."""
    yield make_site(tmp_path / "site")
    hostile.remove(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A small hostile tree."""
    directory = tmp_path / "root"
    directory.mkdir()
    hostile.build(directory, sockets=False, wide=20)
    return directory


def test_a_directory_is_copied_whole(site: Site, root: Path) -> None:
    site.run("prototype", "create", "copy", "--from", f"{root}/")
    assert judges.everything(root, site.path / "live/copy") == []
    assert site.json("prototype", "show", "copy")["live"] == str(site.path / "live/copy")


@pytest.mark.parametrize("options", [(), ("--zstd",), ("--gzip",)])
@needs("zstd")
def test_a_tarball_is_unpacked_whole(site: Site, root: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    tarball = tmp_path / "root.tar"
    create = ["tar", "--create", "--file", tarball, "--directory", root, "--format=posix", "--numeric-owner", *options]
    subprocess.run([*create, "--acls", "--xattrs", "--xattrs-include=*", "--sparse", "."], check=True)
    site.run("prototype", "create", "unpacked", "--from", str(tarball))
    spoken = judges.everything(root, site.path / "live/unpacked")
    lost_by_tar_itself = ("linked/two/device", "linked/two/fifo")
    assert [line for line in spoken if not any(name in line for name in lost_by_tar_itself)] == []


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o127], ids=oct)
def test_modes_come_from_the_source_and_never_from_the_umask(site: Site, tmp_path: Path, umask: int) -> None:
    """A tarball that names neither its root nor a directory above a file, an empty tree, a layer's root."""
    root = tmp_path / "root"
    (root / "etc/deep").mkdir(parents=True)
    (root / "etc/deep/file").write_text("x\n")
    (root / "etc/deep").chmod(0o750)
    tar = ["tar", "--create", "--directory", root]
    subprocess.run([*tar, "--file", tmp_path / "root.tar", "etc/deep"], check=True)
    subprocess.run([*tar, "--file", tmp_path / "bare.tar", "etc/deep/file"], check=True)
    before = os.umask(umask)
    try:
        site.run("prototype", "create", "tarball", "--from", str(tmp_path / "root.tar"))
        site.run("prototype", "create", "bare", "--from", str(tmp_path / "bare.tar"))
        site.run("prototype", "create", "empty")
        site.run("layer", "create", "lab/one")
    finally:
        os.umask(before)
    live = site.path / "live"
    made = ["tarball", "tarball/etc", "bare", "bare/etc", "bare/etc/deep", "empty", "lab/one"]
    assert {name: oct((live / name).stat().st_mode & 0o7777) for name in made} == dict.fromkeys(made, "0o755")
    assert (live / "tarball/etc/deep").stat().st_mode & 0o7777 == 0o750


def test_a_fork_has_the_history_and_a_tree_of_its_own(site: Site, root: Path) -> None:
    site.run("prototype", "create", "origin", "--live", str(root))
    site.run("checkin", "origin", "-m", "one")
    (root / "more").write_text("more\n")
    site.run("checkin", "origin", "-m", "two")
    export = Path(site.out("export", "origin", "HEAD~1"))
    site.run("prototype", "create", "fork", "--from", "origin@HEAD~1")
    live = site.path / "live/fork"
    assert judges.everything(export, live) == []
    assert inodes(export)
    assert not inodes(export) & inodes(live)
    assert site.git("fork", "log", "--format=%s").split() == ["one"]
    report = site.json("checkin", "fork", "-m", "nothing")
    assert (report["commit"], report["blobs"], report["changes"]) == (None, 0, [])
    (live / "forked").write_text("forked\n")
    assert site.json("checkin", "fork", "-m", "forked")["blobs"] == 1
    assert site.git("fork", "log", "--format=%s").split() == ["forked", "one"]
    assert site.git("origin", "log", "--format=%s").split() == ["two", "one"]


def inodes(tree: Path) -> set[bytes]:
    """The inode numbers of all but directories."""
    find = ["find", str(tree), "!", "-type", "d", "-printf", "%i\\n"]
    return set(subprocess.run(find, capture_output=True, check=True).stdout.split())


def test_a_failed_creation_leaves_nothing(site: Site, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"no tarball" * 1000)
    done = site.run("prototype", "create", "broken", "--from", str(broken), code=14)
    assert done.stderr.startswith("gitstate: ")
    assert site.json("prototype", "list")["prototypes"] == []
    assert [path.name for path in (site.path / "live").iterdir()] == []
    assert [path.name for path in (site.path / "prototypes").iterdir()] == []


@contextmanager
def creating(site: Site, name: str, pipe: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A prototype is created from a tarball that comes slowly: from a pipe, which tar has opened then."""
    os.mkfifo(pipe)
    words = [sys.executable, "-m", "gitstate", "prototype", "create", name, "--from", str(pipe)]
    environment = {**os.environ, "GITSTATE_SITE": str(site.path), "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as command:
        writer = os.open(pipe, os.O_WRONLY)  # waits for the reader
        try:
            yield command
        finally:
            os.close(writer)


def test_the_site_is_free_while_a_prototype_is_being_made(site: Site, root: Path, tmp_path: Path) -> None:
    tar = subprocess.run(["tar", "-C", root, "-c", "contents"], capture_output=True, check=True).stdout
    pipe = tmp_path / "slow.tar"
    with creating(site, "slow", pipe) as command:
        site.run("layer", "create", "lab/lab3")
        site.run("prototype", "create", "other", "--from", f"{root}/")
        for how in ([], ["--live", str(root)], ["--from", f"{root}/"]):
            site.refuses(11, "prototype", "create", "slow", *how, naming="slow")
        assert not (site.path / "prototypes/slow.git").exists()
        with open(pipe, "wb") as stream:
            stream.write(tar)
    assert command.returncode == 0
    assert {one["repository"] for one in site.json("prototype", "list")["prototypes"]} == {"other", "slow"}
    assert sorted(path.name for path in (site.path / "live").iterdir()) == ["lab", "other", "slow"]


def test_a_killed_creation_leaves_its_name_free(site: Site, tmp_path: Path) -> None:
    with creating(site, "slow", tmp_path / "slow.tar") as command:
        assert (site.path / "live/.slow.partial").is_dir()
        command.kill()
        command.wait()
    site.run("prototype", "create", "slow")
    assert os.listdir(site.path / "live") == ["slow"]


_INSTALLER = """#!/bin/sh
# arguments: --variant=V SUITE DIRECTORY
mount -t tmpfs none "$3/proc" || exit 9
setsid sh -c 'while :; do date >>"$0/growing"; sleep 0.05; done' "$3" &
wait
"""


@pytest.mark.parametrize("how", ["tarball", "installer"])
def test_nobody_goes_on_writing_when_a_creation_is_killed(site: Site, tmp_path: Path, how: str) -> None:
    """tar, and all that an installer has started, sessions of their own included; what it has mounted is gone."""
    if how == "tarball":
        with creating(site, "slow", tmp_path / "slow.tar") as command:
            command.kill()
            command.wait()
            assert gone(str(tmp_path))
    else:
        program = tmp_path / "bin/mmdebstrap"
        program.parent.mkdir()
        program.write_text(_INSTALLER.replace("mount -t", 'mkdir "$3/proc"; mount -t'))
        program.chmod(0o755)
        words = [sys.executable, "-m", "gitstate", "--site", str(site.path)]
        path = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(PROJECT)}
        create = [*words, "prototype", "create", "slow", "--bootstrap", "bookworm"]
        growing = site.path / "live/.slow.partial/live/slow/growing"
        with subprocess.Popen(create, env={**os.environ, **path}) as command:
            assert waited(growing.exists)
            command.kill()
            command.wait()
        assert gone(str(site.path / "live"))
        assert str(site.path) not in Path("/proc/self/mountinfo").read_text()
    site.run("prototype", "create", "slow")
    assert os.listdir(site.path / "live") == ["slow"]
    assert os.listdir(site.path / "live/slow") == []


def waited(what: Callable[[], bool]) -> bool:
    """Whether it becomes true within a minute."""
    until = time.monotonic() + 60
    while not what() and time.monotonic() < until:
        time.sleep(0.02)
    return what()


def gone(word: str) -> bool:
    """Whether all processes with such a word in their arguments end."""

    def none_left() -> bool:
        done = subprocess.run(["pgrep", "-f", "--", re.escape(word)], capture_output=True, text=True, check=False)
        return not {*done.stdout.split()} - {str(os.getpid())}

    return waited(none_left)


@contextmanager
def mounted(target: Path) -> Iterator[None]:
    """A tmpfs on ``target`` while the block runs."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "none", target], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", target], check=True)


def test_removal_refuses_while_anything_is_mounted(site: Site) -> None:
    site.run("prototype", "create", "doomed")
    live = site.path / "live/doomed"
    (live / "kept").write_text("kept\n")
    with mounted(live / "proc"):
        done = site.run("prototype", "remove", "doomed", "--yes", code=5)
        assert str(live / "proc") in done.stderr
    assert (live / "kept").read_text() == "kept\n"
    assert site.json("prototype", "list")["prototypes"]
    site.run("prototype", "remove", "doomed", "--yes")
    assert not live.exists()
    assert site.json("prototype", "list")["prototypes"] == []


def test_removal_asks_and_leaves_an_adopted_tree(site: Site, root: Path) -> None:
    site.run("prototype", "create", "adopted", "--live", str(root))
    site.run("checkin", "adopted", "-m", "one")
    site.run("export", "adopted")
    before = judges.mtree(root, root)
    site.run("prototype", "remove", "adopted", code=2)
    assert site.json("prototype", "list")["prototypes"]
    site.run("prototype", "remove", "adopted", "--yes")
    assert judges.mtree(root, root) == before == []
    assert (root / "contents").is_dir()
    assert not (site.path / "exports/adopted").exists()


@pytest.mark.slow
@needs("mmdebstrap")
@pytest.mark.xdist_group("debian")
def test_mmdebstrap_makes_a_prototype(site: Site) -> None:
    options = ["--bootstrap", "bookworm", "--variant", "essential", "--include", "hostname"]
    site.run("prototype", "create", "debian", *options)
    report = site.json("checkin", "debian", "-m", "as installed")
    assert report["entries"] > 5000
    assert "VERSION_CODENAME=bookworm" in site.git("debian", "show", "HEAD:usr/lib/os-release")
    assert judges.rsync(site.path / "live/debian/etc", Path(site.out("export", "debian")) / "etc") == []
