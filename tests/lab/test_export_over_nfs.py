"""From a live tree to what an NFS client reads: check-in, export, Ganesha, libnfs, byte for byte."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.gitstate_command import make_site
from tests.lab import nfs
from tests.lab.nfs_reader import Seen
from tests.lab.test_nfs_servers import differences, on_disk
from tests.roots import tarball
from tests.support import PROJECT, needs, root_only
from tests.testing import hostile

pytestmark = [pytest.mark.lab, root_only, needs("ganesha.nfsd", "mmdebstrap", "git")]

METADATA_ONLY = (
    b"proc",
    b"sys",
    b"run",
    b"tmp",
    b"var/tmp",
    b"dev/pts",
    b"dev/shm",
    b"var/cache/apt/archives",
    b"var/lib/apt/lists",
)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory that is removed whatever stands in it."""
    yield tmp_path
    hostile.remove(tmp_path)


def test_a_client_reads_the_debian_that_was_checked_in(place: Path) -> None:
    live = place / "live"
    live.mkdir()
    options = ["--numeric-owner", "--xattrs", "--xattrs-include=*"]
    subprocess.run(["tar", "-xpf", str(tarball()), "-C", str(live), *options], check=True)
    for key in live.glob("etc/ssh/ssh_host_*_key"):
        key.unlink()
    site = make_site(place / "site")
    site.run("prototype", "create", "debian", "--live", str(live))
    site.run("checkin", "debian", "-m", "as installed")
    export = Path(site.out("export", "debian"))

    with nfs.nfs_server(site.path / "exports", pseudo="/exports") as server:
        seen = server.read_tree(b"debian/" + export.name.encode())

    expected = {path: look for path, look in on_disk(live).items() if recorded(path)}
    assert len(expected) > 9000
    assert seen.keys() == expected.keys()
    assert [
        path for path, look in expected.items() if path not in METADATA_ONLY and told(seen[path]) != told(look)
    ] == []


def told(look: Seen) -> Seen:
    """What an entry says of itself: the size of a directory is its file system's business."""
    return look._replace(size=0) if look.type == "dir" else look


def recorded(path: bytes) -> bool:
    """Whether a check-in records ``path`` of a stock Debian."""
    inside = any(path.startswith(directory + b"/") for directory in METADATA_ONLY)
    return not inside and path not in (b"var/lib/dpkg/status-old", b"var/cache/ldconfig/aux-cache")


def test_a_client_reads_a_hostile_tree(place: Path) -> None:
    live = place / "live"
    live.mkdir()
    hostile.build(live, sockets=False, wide=50)
    for referral in live.glob("modes/*-1644"):  # Ganesha takes such a directory for a junction
        referral.chmod(0o1744)
    site = make_site(place / "site")
    site.run("prototype", "create", "hostile", "--live", str(live))
    site.run("checkin", "hostile", "-m", "as found")
    export = Path(site.out("export", "hostile"))
    with nfs.nfs_server(export) as server:
        assert differences(live, server.read_tree()) == []


_MACHINE = """
import sys
from tests.lab.nfs_reader import Mount
mount = Mount(sys.argv[1])
print(mount.look(b"/etc/opened").content, flush=True)
sys.stdin.readline()
print(mount.look(b"/etc/motd").content, flush=True)
"""


def test_a_machine_goes_on_when_its_damaged_export_is_replaced(place: Path) -> None:
    """It reads files that it hadn't opened, of the export that it has mounted; who mounts later gets the new one."""
    site = make_site(place / "site")
    site.run("prototype", "create", "debian")
    etc = site.path / "live/debian/etc"
    etc.mkdir()
    for name in ("opened", "motd"):
        (etc / name).write_text(f"{name}\n")
    site.run("checkin", "debian", "-m", "first")
    site.run("channel", "create", "lab3", "--prototype", "debian")
    site.run("push", "debian", "lab3", "--yes")
    (export,) = (site.path / "exports/debian").iterdir()
    (export / "etc/motd").write_text("damage\n")

    with nfs.nfs_server(site.path / "exports", pseudo="/exports") as server:
        machine = replace(server, pseudo=f"/exports/debian/{export.name}")
        argv = [sys.executable, "-c", _MACHINE, machine.url]
        with subprocess.Popen(argv, cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == digest(b"opened\n")
            assert "made again" in site.run("reconcile").stderr
            assert running.communicate(b"\n", 60)[0] == digest(b"damage\n")
        assert machine.read_tree()[b"etc/motd"].content == digest(b"motd\n").decode().strip()


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode() + b"\n"
