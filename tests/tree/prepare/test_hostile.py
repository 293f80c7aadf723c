"""A live tree may hold any symlink and any mount: nothing outside is read, written or removed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gitstate.core.errors import ConfigError, HostError
from gitstate.core.monitor import SILENT
from gitstate.tree import prepare
from tests.cli.harness import listing
from tests.support import needs, root_only
from tests.tree.prepare.harness import INITRD, dirty, plant

pytestmark = [root_only, needs("busybox", "unshare", "setpriv", "mount")]

WRITTEN = ("etc", "etc/systemd", "etc/initramfs-tools", "usr/lib", "usr/lib/gitstate", "var/lib/gitstate", "boot")
CLEANED = ("var/tmp", "var/log", "var/log/apt", "var/cache/apt/archives", "var/lib/apt/lists", "etc/ssh", "var/cache")
MOUNTED_ON = ("proc", "sys", "dev", "run", "tmp")
FILES = (
    "etc/fstab",
    "etc/machine-id",
    "etc/.updated",
    "etc/systemd/journald.conf.d/gitstate.conf",
    "etc/initramfs-tools/hooks/gitstate",
    "usr/lib/gitstate/boot/root",
    "usr/sbin/policy-rc.d",
    "var/log/dpkg.log",
    "var/lib/dbus/machine-id",
    "var/lib/gitstate/initrd",
    INITRD,
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """Another system's root, full of what would be removed or overwritten in a live tree."""
    outside = tmp_path / "outside"
    plant(outside)
    dirty(outside)
    return outside


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return plant(tmp_path / "root")


def replace(root: Path, path: str, target: Path | str) -> None:
    place = root / path
    if place.is_dir():
        place.rename(place.with_name("moved-away"))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


@pytest.mark.parametrize("path", WRITTEN)
@pytest.mark.parametrize("how", ["absolute", "relative"])
def test_nothing_is_written_through_a_directory_that_is_a_symlink(
    root: Path, outside: Path, path: str, how: str
) -> None:
    target = outside / path
    target.mkdir(parents=True, exist_ok=True)
    replace(root, path, target if how == "absolute" else os.path.relpath(target, (root / path).parent))
    before = listing(outside)
    with pytest.raises(HostError, match=rf"/{path} of the live tree is a symlink|no root of Debian"):
        prepare.plan(root)
    assert listing(outside) == before


@pytest.mark.parametrize("path", MOUNTED_ON)
def test_nothing_is_mounted_on_a_symlink(root: Path, outside: Path, path: str) -> None:
    replace(root, path, outside / path)
    before = listing(outside)
    with pytest.raises(HostError, match=f"/{path} of the live tree is no directory"):
        prepare.plan(root)
    assert listing(outside) == before


@pytest.mark.parametrize("path", CLEANED)
def test_nothing_is_removed_through_a_symlink(root: Path, outside: Path, path: str) -> None:
    replace(root, path, outside / path)
    before = listing(outside)
    plan = prepare.plan(root)
    assert not [step for step in plan.steps if step.path.startswith(path.encode() + b"/") or step.path == path.encode()]
    prepare.apply(plan, SILENT)
    assert listing(outside) == before
    assert (root / path).is_symlink()


@pytest.mark.parametrize("path", FILES)
def test_a_file_that_is_a_symlink_is_replaced_or_left_alone(root: Path, outside: Path, path: str) -> None:
    precious = outside / "precious"
    precious.write_text("UUID=1b2c / ext4\n")
    replace(root, path, precious)
    before = listing(outside)
    if path == "etc/fstab":  # it is read first, and what can't be read isn't absent
        with pytest.raises(ConfigError, match=path):
            prepare.plan(root)
    else:
        prepare.apply(prepare.plan(root), SILENT)
        assert not prepare.plan(root)
    assert listing(outside) == before
    assert precious.read_text() == "UUID=1b2c / ext4\n"


def test_a_symlink_put_there_after_the_plan_was_made_is_not_followed(root: Path, outside: Path) -> None:
    dirty(root)
    plan = prepare.plan(root)
    replace(root, "var/log", outside / "var/log")
    replace(root, "tmp", outside / "tmp")
    before = listing(outside)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        prepare.apply(plan, SILENT)
    assert listing(outside) == before


def test_a_log_that_became_a_symlink_after_the_plan_was_made_is_not_emptied_through_it(
    root: Path, outside: Path
) -> None:
    (root / "var/log/dpkg.log").write_text("x")
    plan = prepare.plan(root)
    replace(root, "var/log/dpkg.log", outside / "var/log/dpkg.log")
    with pytest.raises(OSError, match="symbolic links"):
        prepare.apply(plan, SILENT)
    assert (outside / "var/log/dpkg.log").read_text() == "x"


@pytest.mark.parametrize("kind", ["directory", "fifo", "device"])
def test_what_is_no_file_where_one_is_expected_is_named_or_replaced(root: Path, kind: str) -> None:
    path = root / "etc/systemd/journald.conf.d/gitstate.conf"
    path.parent.mkdir()
    if kind == "directory":
        path.mkdir()
        with pytest.raises(HostError, match=r"gitstate.conf of the live tree is a directory"):
            prepare.plan(root)
        return
    os.mkfifo(path) if kind == "fifo" else os.mknod(path, 0o20600, os.makedev(1, 3))
    prepare.apply(prepare.plan(root), SILENT)
    assert path.is_file()


@contextmanager
def bind(source: Path, target: Path) -> Iterator[None]:
    subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", target], check=True)


@pytest.mark.parametrize("path", ["tmp", "var/log", "var/cache", "etc/ssh"])
def test_what_is_mounted_in_the_live_tree_is_not_cleaned(root: Path, outside: Path, path: str) -> None:
    """As it is while an admin works in it, with /tmp of the server bound there."""
    with bind(outside / path, root / path):
        before = listing(outside)
        prepare.apply(prepare.plan(root), SILENT)
        assert listing(outside) == before


@pytest.mark.parametrize("path", ["etc", "boot", "usr/lib"])
def test_nothing_is_written_to_what_is_mounted_in_the_live_tree(root: Path, outside: Path, path: str) -> None:
    with bind(outside / path, root / path):
        before = listing(outside)
        with pytest.raises(HostError, match=r"is a mount point, or no directory|no root of Debian"):
            prepare.plan(root)
        assert listing(outside) == before


def test_names_that_are_no_text_are_no_trouble(root: Path) -> None:
    odd = os.fsencode(root) + b"/tmp/\xff\n\x1b[31m"
    os.mkdir(odd)
    deep = odd
    for _ in range(300):
        deep += b"/d"
        os.mkdir(deep)
    with open(os.fsencode(root) + b"/var/log/\xff\n.log", "wb") as file:
        file.write(b"x")
    plan = prepare.plan(root)
    prepare.apply(plan, SILENT)
    assert os.listdir(root / "tmp") == []
