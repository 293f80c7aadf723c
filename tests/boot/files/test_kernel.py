"""Which kernel a snapshot boots, and what is said of snapshots that can't boot."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitstate.boot.files import kernel
from gitstate.boot.files.kernel import Boot, Files, version_order
from gitstate.core.errors import DamagedError, GitstateError, NotFoundError
from tests.boot.files.harness import MODULES, NEW, OLD, Harness, gzip, initrd, pack
from tests.support import needs, root_only

pytestmark = [root_only, needs("git")]

Change = Callable[[Path], object]


def files_after(harness: Harness, change: Change = lambda boot: None) -> Files:
    """The snapshot of the live tree after a change to it."""
    change(harness.live)
    (harness.live / "changed").touch()
    commit = bytes.fromhex(harness.check_in())
    return Files(harness.repository, harness.repository.snapshot(commit).tree)


def found_after(harness: Harness, change: Change = lambda root: None) -> Boot:
    return kernel.find(files_after(harness, change))


def refusal_after(harness: Harness, change: Change, nfs: str = "3", *, restores: bool = True) -> GitstateError:
    """Why the snapshot can't boot."""
    files = files_after(harness, change)
    with pytest.raises(GitstateError) as raised:
        kernel.check(harness.repository, files, kernel.find(files), nfs, restores=restores)
    assert raised.value.hint
    return raised.value


# --- finding ----------------------------------------------------------------------------------------------------------


def test_the_newest_kernel_and_its_initrd(harness: Harness) -> None:
    """Newest by number, whatever the links say and whatever was left over."""
    found = found_after(harness)
    assert (found.version, found.kernel_path, found.initrd_path) == (
        NEW,
        f"boot/vmlinuz-{NEW}".encode(),
        f"boot/initrd.img-{NEW}".encode(),
    )
    assert b"".join(kernel.content(harness.repository, found.initrd)) == initrd()


@pytest.mark.parametrize(
    "name", ["vmlinuz-6.1.0-12-amd64.bak", "vmlinuz-9.dpkg-new", "vmlinuz-9~", "vmlinuz-0-rescue-0123", "vmlinuz-", "9"]
)
def test_what_is_no_kernel(harness: Harness, name: str) -> None:
    assert found_after(harness, lambda root: (root / "boot" / name).touch()).version == NEW


@pytest.mark.parametrize("form", ["initramfs-{}.img", "initrd-{}.img", "initrd-{}", "initrd.img-{}"])
def test_initrds_by_their_distributions_names(harness: Harness, form: str) -> None:
    def change(root: Path) -> None:
        (root / "boot" / f"initrd.img-{NEW}").rename(root / "boot" / form.format(NEW))

    assert found_after(harness, change).initrd_path == b"boot/" + form.format(NEW).encode()


@pytest.mark.parametrize(
    "target", ["boot/vmlinuz-new", "/boot/vmlinuz-new", "../../boot/vmlinuz-new", "boot/../boot/k"]
)
def test_links_are_followed_inside_the_snapshot(harness: Harness, target: str) -> None:
    """One that would lead out of the snapshot ends at its root, as on the machine."""

    def change(root: Path) -> None:
        for path in (root / "boot").glob("vmlinuz-*"):
            path.unlink()
        (root / "vmlinuz").unlink()
        (root / "vmlinuz").symlink_to(target)
        (root / "boot" / "k").symlink_to("vmlinuz-new")
        (root / "boot" / "vmlinuz-new").write_text("new")
        (root / "boot" / "initrd.img-new").write_bytes(initrd("new"))

    found = found_after(harness, change)
    assert (found.version, found.kernel_path, found.initrd_path) == ("new", b"boot/vmlinuz-new", b"boot/initrd.img-new")


def test_a_kernel_that_only_links_name(harness: Harness) -> None:
    """As where /boot holds links into /usr/lib/modules."""

    def change(root: Path) -> None:
        for path in (root / "boot").iterdir():
            path.unlink()
        (root / "vmlinuz").unlink()
        (root / "usr" / "lib" / "modules" / NEW / "vmlinuz").write_text("kernel")
        (root / "boot" / "vmlinuz").symlink_to(f"../lib/modules/{NEW}/vmlinuz")
        (root / "boot" / "initrd.img").write_bytes(initrd())

    found = found_after(harness, change)
    assert (found.version, found.kernel_path) == (NEW, f"usr/lib/modules/{NEW}/vmlinuz".encode())
    assert found.initrd_path == b"boot/initrd.img"


def test_a_boot_directory_that_is_a_link(harness: Harness) -> None:
    def change(root: Path) -> None:
        (root / "boot").rename(root / "usr" / "boot")
        (root / "boot").symlink_to("usr/boot")

    assert found_after(harness, change).kernel_path == f"usr/boot/vmlinuz-{NEW}".encode()


@pytest.mark.parametrize("target", ["vmlinuz", "/etc/passwd", "/../../../../etc/passwd", "boot", "", "a/b/c", "\n"])
def test_links_that_lead_to_no_kernel(harness: Harness, target: str) -> None:
    """None of them is looked for on this machine."""

    def change(root: Path) -> None:
        shutil.rmtree(root / "boot")
        (root / "boot").mkdir()
        (root / "vmlinuz").unlink()
        (root / "vmlinuz").symlink_to(target or "/")

    with pytest.raises(NotFoundError, match="there is no kernel in /boot"):
        found_after(harness, change)


def test_no_boot_directory(harness: Harness) -> None:
    with pytest.raises(NotFoundError, match="there is no kernel in /boot") as raised:
        found_after(harness, lambda root: shutil.rmtree(root / "boot"))
    assert "apt-get install" in raised.value.hint


def test_the_newest_kernel_without_an_initrd(harness: Harness) -> None:
    """An older one that has one isn't taken instead: whoever installed the newer one wants it."""
    with pytest.raises(NotFoundError, match=f"there is no initrd for /boot/vmlinuz-{NEW}"):
        found_after(harness, lambda root: (root / "boot" / f"initrd.img-{NEW}").unlink())


# --- looking into the initrd ------------------------------------------------------------------------------------------


def put(data: bytes) -> Change:
    """Make this the newest kernel's initrd."""
    return lambda root: (root / "boot" / f"initrd.img-{NEW}").write_bytes(data)


@pytest.mark.parametrize("nfs", ["3", "4.2"])
def test_an_initrd_that_boots(harness: Harness, nfs: str) -> None:
    files = files_after(harness)
    kernel.check(harness.repository, files, kernel.find(files), nfs, restores=True)


def test_an_initrd_without_our_hook(harness: Harness) -> None:
    error = refusal_after(harness, put(initrd(others=["scripts/nfs"])))
    assert error.message == f"/boot/initrd.img-{NEW} has no hook of gitstate (scripts/gitstate)"
    assert "gitstate prepare" in error.hint


@pytest.mark.parametrize(
    ("nfs", "lacks", "named"),
    [
        ("3", {"fs/nfs/nfs.ko"}, "nfs"),
        ("3", {"fs/nfs/nfsv3.ko.xz"}, "nfsv3"),
        ("3", {"fs/overlayfs/overlay.ko"}, "overlay"),
        ("4.2", {"fs/nfs/nfsv4.ko", "fs/overlayfs/overlay.ko"}, "nfsv4, overlay"),
        ("3", set(MODULES), "nfs, nfsv3, overlay"),
    ],
)
def test_an_initrd_without_modules(harness: Harness, nfs: str, lacks: set[str], named: str) -> None:
    modules = [name for name in MODULES if name not in lacks]
    error = refusal_after(harness, put(initrd(modules=modules)), nfs)
    assert error.message == f"/boot/initrd.img-{NEW} has no kernel module {named}"


def test_modules_that_are_built_in(harness: Harness) -> None:
    def change(root: Path) -> None:
        put(initrd(modules=[]))(root)
        text = "kernel/fs/nfs/nfs.ko\nkernel/fs/nfs/nfsv3.ko\nkernel/fs/overlayfs/overlay.ko\n"
        (root / "usr" / "lib" / "modules" / NEW / "modules.builtin").write_text(text)

    files = files_after(harness, change)
    kernel.check(harness.repository, files, kernel.find(files), "3", restores=True)


def test_an_initrd_of_another_kernel(harness: Harness) -> None:
    error = refusal_after(harness, put(initrd(OLD)))
    assert error.message == f"/boot/initrd.img-{NEW} is for kernel {OLD}, not {NEW}"


def test_an_initrd_that_cannot_restore(harness: Harness) -> None:
    data = pack([f"usr/lib/modules/{NEW}/kernel/{name}" for name in MODULES] + ["scripts/gitstate"])
    assert "has no setfattr" in refusal_after(harness, put(data)).message
    files = files_after(harness)
    kernel.check(harness.repository, files, kernel.find(files), "3", restores=False)


@needs("lz4")
def test_an_initrd_that_cannot_be_looked_into(harness: Harness) -> None:
    data = subprocess.run(["lz4", "-l", "-c"], input=pack(["scripts/gitstate"]), capture_output=True, check=True).stdout
    error = refusal_after(harness, put(data))
    assert error.message == f"/boot/initrd.img-{NEW}: the initrd is compressed with lz4, and gitstate can't look inside"
    assert "COMPRESS=zstd" in error.hint


@pytest.mark.parametrize("data", [b"junk", initrd()[:-9], gzip(b"junk")])
def test_a_damaged_initrd(harness: Harness, data: bytes) -> None:
    error = refusal_after(harness, put(data))
    assert isinstance(error, DamagedError)
    assert error.message.startswith(f"/boot/initrd.img-{NEW}: not an initrd: ")


# --- versions ---------------------------------------------------------------------------------------------------------

IN_ORDER = [
    *("4.19.0-27-amd64", "5.10.0-9-amd64", "5.10.0-10-amd64", "6.1~rc1-amd64", "6.1-rc2", "6.1", "6.1.0-9-amd64"),
    *("6.1.0-10-amd64", "6.1.0-10-cloud-amd64", "6.1.0-13-amd64", "6.10.2", "6.12.9+bpo-amd64", "6.12.22+bpo-amd64"),
]


PAIRS = list(itertools.pairwise(version for version in IN_ORDER if "-rc" not in version))


def test_versions_are_in_order() -> None:
    backwards = IN_ORDER[::-1]
    backwards.sort(key=lambda version: version_order(version.encode()))
    assert backwards == IN_ORDER


@needs("dpkg")
@pytest.mark.parametrize(("low", "high"), PAIRS)
def test_dpkg_has_the_same_order(low: str, high: str) -> None:
    # dpkg takes what follows the last hyphen for a revision of its own, so there shall be none.
    low, high = low.replace("-", "."), high.replace("-", ".")
    assert subprocess.run(["dpkg", "--compare-versions", low, "lt", high], check=False).returncode == 0
    assert version_order(low.encode()) < version_order(high.encode())


VERSIONS = st.from_regex(r"[0-9][a-z0-9.+~]{0,12}", fullmatch=True)


@needs("dpkg")
@settings(max_examples=60)
@given(VERSIONS, VERSIONS)
def test_any_two_versions_compare_as_dpkg_does(one: str, other: str) -> None:
    lower = subprocess.run(["dpkg", "--compare-versions", one, "lt", other], check=False).returncode == 0
    assert (version_order(one.encode()) < version_order(other.encode())) == lower
