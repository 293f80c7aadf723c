"""A real Debian root, prepared: the initrd that mkinitramfs makes of it, and the check-in after it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitstate.core import cpio
from gitstate.core.monitor import SILENT
from gitstate.tree import prepare
from gitstate.tree.prepare import chroot
from tests import roots
from tests.cli.harness import listing
from tests.gitstate_command import Site, make_site
from tests.support import needs, root_only
from tests.tree.prepare.harness import dirty

pytestmark = [root_only, needs("unshare", "setpriv", "tar", "git", "busybox"), pytest.mark.xdist_group("debian")]


def unpack(place: Path) -> Path:
    place.mkdir()
    subprocess.run(["tar", "-C", place, "--xattrs", "-xpf", roots.tarball(roots.BOOTABLE)], check=True)
    return place


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with a prototype of what a user may bring, prepared."""
    place = tmp_path_factory.mktemp("real")
    live = unpack(place / "root")
    dirty(live)
    site = make_site(place / "site")
    site.run("prototype", "create", "desktop", "--live", str(live))
    site.run("prepare", "desktop")
    yield site
    shutil.rmtree(place)


@pytest.fixture
def live(prepared: Site) -> Path:
    return prepared.path.parent / "root"


def initrd(live: Path) -> Path:
    (found,) = (live / "boot").glob("initrd.img-*")
    return found


def version(live: Path) -> str:
    return initrd(live).name.removeprefix("initrd.img-")


def members(file: Path) -> dict[str, bytes]:
    """The paths in an initrd, and the content of small files."""
    data = file.read_bytes()
    return {one.path.decode(): one.content for one in cpio.members([data], lambda path: b"gitstate" in path)}


def test_the_initrd_has_what_a_machine_without_a_disk_needs(live: Path) -> None:
    found = members(initrd(live))
    names = {path.rpartition("/")[2].partition(".")[0] for path in found if ".ko" in path}
    assert {"nfs", "nfsv3", "nfsv4", "overlay", "virtio_net"} <= names
    assert {path.rpartition("/")[2] for path in found} >= {"setfattr", "busybox", "ipconfig", "modprobe", "udevadm"}
    for name in ("messages", "arguments", "network", "root", "archive", "layers", "state", "machine"):
        assert found[f"usr/lib/gitstate/boot/{name}"] == (live / "usr/lib/gitstate/boot" / name).read_bytes()
    assert "scripts/gitstate" in found
    assert b"MODULES=most" in found["conf/conf.d/zz-gitstate"]


def test_the_programs_in_the_initrd_run(live: Path) -> None:
    """With the libraries that are in it, and with the applets that the hook calls."""
    chroot.run(live, ("unmkinitramfs", f"/boot/{initrd(live).name}", "/root/initrd"), SILENT)
    try:
        unpacked = live / "root/initrd"
        root = unpacked / "main" if (unpacked / "main").is_dir() else unpacked
        script = """
            set -e
            mkdir -p /dev /run
            : >/dev/null
            setfattr --version
            ! said=$(/usr/lib/gitstate/mount -t nfs -o no-such-option 10.0.0.1:/x /run 2>&1)
            [ "${said#mount: }" != "$said" ]
            for applet in date grep ip mount sed stat timeout cut tr touch chown chmod readlink cpio \\
                sha256sum cp umount; do
                busybox $applet --help >/dev/null 2>&1
            done
            for program in ipconfig awk cat chmod chown cut date find grep head ln mkdir mv readlink rm sed sleep \\
                sort touch tr blkid dirname modprobe tail; do
                command -v $program >/dev/null || { echo "no $program"; exit 1; }
            done
            for part in messages arguments network root archive layers state machine; do
                . /usr/lib/gitstate/boot/$part
            done
            echo "gitstate.root=10.0.0.1:/srv/x gitstate.host=a" >/cmdline
            gitstate_arguments /cmdline
            [ "$(gitstate_ipconfig eth0 10.0.0.2:::255.0.0.0)" = 10.0.0.2:::255.0.0.0::eth0 ]
            gitstate_bootif=01-52-54-00-AA-BB-CC
            [ "$(gitstate_requested_interface)" = 52:54:00:aa:bb:cc ]
            [ "$(gitstate_quote "it's")" = "'it'\\\\''s'" ]
            busybox stat -c %u:%g / >/dev/null
            sleep 0.01
            echo fine
        """
        done = subprocess.run(["chroot", root, "/bin/sh", "-c", script], capture_output=True, text=True, check=False)
        assert done.stdout.endswith("fine\n"), done.stdout + done.stderr
    finally:
        shutil.rmtree(live / "root/initrd")


def test_a_second_run_changes_nothing(prepared: Site, live: Path) -> None:
    before = listing(live)
    assert prepared.out("prepare", "desktop") == "desktop: nothing to do"
    assert prepared.json("prepare", "desktop", "-n")["steps"] == []
    assert listing(live) == before


def test_the_default_policy_takes_it_and_the_next_status_is_empty(prepared: Site, live: Path) -> None:
    prepared.run("checkin", "desktop", "-m", "ready to boot")
    prepared.run("prepare", "desktop")
    status = prepared.json("status", "desktop")
    assert (status["changes"], status["refused"], status["links"]) == ([], [], [])


def test_two_trees_with_the_same_files_get_the_same_initrd(live: Path, tmp_path: Path) -> None:
    other = unpack(tmp_path / "other")
    try:
        for path in (other / "etc").rglob("*.conf"):
            os.utime(path, follow_symlinks=False)
        prepare.apply(prepare.plan(other), SILENT)
        assert initrd(other).read_bytes() == initrd(live).read_bytes()
    finally:
        shutil.rmtree(other)


def test_a_kernel_upgrade_in_a_chroot_takes_the_hook_along(live: Path) -> None:
    """As its postinst would: `update-initramfs -c` for the new version."""
    old = initrd(live).read_bytes()
    chroot.run(live, ("update-initramfs", "-u", "-k", version(live)), SILENT)
    try:
        assert "scripts/gitstate" in members(initrd(live))
        assert [kernel.version for kernel in prepare.plan(live).kernels] == [version(live)]
    finally:
        prepare.apply(prepare.plan(live), SILENT)
    assert initrd(live).read_bytes() == old


def test_a_hook_that_finds_no_setfattr_makes_no_initrd(live: Path) -> None:
    setfattr = live / "usr/bin/setfattr"
    hook = live / "etc/initramfs-tools/hooks/gitstate"
    setfattr.rename(setfattr.with_name("away"))
    try:
        done = subprocess.run(
            ["chroot", live, "/bin/sh", "-c", f". /usr/share/initramfs-tools/hook-functions; {hook.relative_to(live)}"],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin", "DESTDIR": "/nowhere"},
        )
    finally:
        setfattr.with_name("away").rename(setfattr)
    assert done.returncode != 0
    assert "there is no setfattr: apt-get install attr" in done.stderr
