"""What `prepare` does to a live tree, on a root that takes no time to prepare."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from gitstate.core.errors import HostError
from gitstate.core.monitor import SILENT
from gitstate.tree import prepare
from gitstate.tree.prepare import Concern, Plan, Result
from tests.cli.harness import listing
from tests.support import PROJECT, needs, root_only
from tests.tree.prepare.harness import INITRD, KERNEL, MODULES, add_kernel, can, dirty, plant

pytestmark = [root_only, needs("busybox", "unshare", "setpriv")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return plant(tmp_path / "root")


def run(root: Path) -> Result:
    return prepare.apply(prepare.plan(root), SILENT)


def steps(plan: Plan | Result) -> dict[str, str]:
    return {step.path.decode(): step.action for step in plan.steps}


def look(root: Path, path: str) -> tuple[bytes, int]:
    return (root / path).read_bytes(), stat.S_IMODE((root / path).stat().st_mode)


# --- cleaning ---------------------------------------------------------------------------------------------------------


def test_what_an_image_must_not_carry_goes(root: Path) -> None:
    dirty(root)
    run(root)
    left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and not path.is_symlink()}
    assert not [path for path in left if path.startswith(("tmp/", "var/tmp/", "var/lib/apt/lists/"))]
    assert {path for path in left if path.startswith(("var/log/", "var/cache/", "etc/ssh/", "boot/."))} == {
        "var/log/dpkg.log",
        "var/log/apt/history.log",
        "var/log/lastlog",
    }
    assert look(root, "var/log/dpkg.log") == (b"", 0o640)
    assert look(root, "var/log/apt/history.log") == (b"", 0o644)
    assert look(root, "etc/machine-id") == (b"", 0o644)
    gone = ("var/lib/dpkg/status-old", "var/lib/dhcp/dhclient.eth0.leases", "var/lib/systemd/random-seed")
    assert not left & {*gone, "var/lib/NetworkManager/secret_key"}
    assert (root / "var/cache/apt/archives/partial").is_dir()
    assert (root / "var/log/journal").is_dir()


def test_lastlog_stays_as_it_is(root: Path) -> None:
    dirty(root)
    before = os.stat(root / "var/log/lastlog")
    run(root)
    after = os.stat(root / "var/log/lastlog")
    assert (after.st_size, after.st_blocks, after.st_mtime_ns) == (1 << 30, 0, before.st_mtime_ns)


def test_a_log_that_has_another_name_elsewhere_is_left_alone(root: Path) -> None:
    (root / "etc/precious").write_text("precious\n")
    os.link(root / "etc/precious", root / "var/log/precious")
    run(root)
    assert (root / "etc/precious").read_text() == "precious\n"


@pytest.mark.parametrize("text", ["0123456789abcdef0123456789abcdef\n", "uninitialized\n", None])
def test_the_machine_id_is_there_and_empty(root: Path, text: str | None) -> None:
    (root / "etc/machine-id").unlink()
    if text is not None:
        (root / "etc/machine-id").write_text(text)
    run(root)
    assert look(root, "etc/machine-id") == (b"", 0o644)


def test_dbus_has_no_id_of_its_own(root: Path) -> None:
    dirty(root)
    run(root)
    assert os.readlink(root / "var/lib/dbus/machine-id") == "/etc/machine-id"


def test_a_policy_of_a_killed_prepare_goes_and_any_other_stays(root: Path) -> None:
    path = root / "usr/sbin/policy-rc.d"
    path.write_text("#!/bin/sh\nexit 101\n")
    run(root)
    assert path.exists()
    path.write_bytes(prepare.tidy.POLICY_RC_TEXT)
    run(root)
    assert not path.exists()


# --- fstab ------------------------------------------------------------------------------------------------------------

DISKS = (
    "UUID=1b2c / ext4 errors=remount-ro 0 1",
    "UUID=\"1b2c\" /boot ext2 defaults 0 2",
    "LABEL=swap none swap sw 0 0",
    "PARTUUID=1b2c-01 /boot/efi vfat umask=0077 0 1",
    "/dev/sda5 none swap sw 0 0",
    "  /dev/mapper/vg-home\t/home\text4\tdefaults",
    "/dev/nvme0n1p1 /srv ext4",
)  # fmt: skip
OTHERS = (
    "server:/home /home nfs4 nofail,_netdev 0 0",
    "//server/share /mnt cifs guest 0 0",
    "tmpfs /scratch tmpfs size=1g 0 0",
    "proc /proc proc defaults 0 0",
    "UUID=1b2c /srv ext4 nofail 0 2",
    "/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0",
    "# /dev/sda1 / ext4 defaults 0 1",
    "#UUID=1b2c / ext4 defaults 0 1",
    "/dev/sda1",
    "",
)


def test_lines_of_fstab_that_need_a_disk_are_commented_out(root: Path) -> None:
    lines = [line for pair in zip(DISKS, OTHERS, strict=False) for line in pair] + list(OTHERS[len(DISKS) :])
    (root / "etc/fstab").write_text("\n".join(lines) + "\n")
    (root / "etc/fstab").chmod(0o600)
    (step,) = [step for step in prepare.plan(root).steps if step.concern is Concern.FSTAB]
    assert "(/, /boot, swap, /boot/efi, swap, /home, /srv)" in step.reason
    run(root)
    after = (root / "etc/fstab").read_text().splitlines()
    assert [line for line in after if line in OTHERS] == list(OTHERS)
    assert [line.split(" no disk: ", 1)[-1] for line in after if line not in OTHERS] == list(DISKS)
    assert all(line.startswith("# gitstate prepare") for line in after if line not in OTHERS)
    assert look(root, "etc/fstab")[1] == 0o600
    assert not prepare.plan(root)


def test_an_fstab_without_disks_is_not_touched(root: Path) -> None:
    (root / "etc/fstab").write_bytes(b"server:/home\t/home nfs4 ro 0 0\r\n\xff no newline at the end")
    before = listing(root / "etc/fstab")
    run(root)
    assert listing(root / "etc/fstab") == before


# --- what is written --------------------------------------------------------------------------------------------------


def test_the_boot_hook_is_where_a_kernel_upgrade_finds_it(root: Path) -> None:
    run(root)
    tools = root / "etc/initramfs-tools"
    assert look(tools, "hooks/gitstate")[1] == 0o755
    hooks = PROJECT / "hooks"
    for name in ("hooks/gitstate", "scripts/gitstate", "conf.d/zz-gitstate"):
        assert look(tools, name)[0] == (hooks / "initramfs-tools" / name).read_bytes()
    installed = {path.name: path.read_bytes() for path in (root / "usr/lib/gitstate/boot").iterdir()}
    assert installed == {path.name: path.read_bytes() for path in (hooks / "boot").iterdir()}


def test_machines_have_the_client_and_a_newer_one_makes_no_initrd(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(root)
    program = PROJECT / "hooks/client/gitstate"
    assert look(root, "usr/sbin/gitstate")[:2] == (program.read_bytes(), 0o755)
    installed = {path.name: path.read_bytes() for path in (root / "usr/lib/gitstate/client").iterdir()}
    assert installed == {path.name: path.read_bytes() for path in program.parent.iterdir() if path != program}
    (root / "usr/lib/gitstate/client/of-an-older-version").touch()
    newer = shutil.copytree(PROJECT / "hooks", tmp_path / "hooks")
    with open(newer / "client/gitstate", "a") as file:
        file.write("# newer\n")
    monkeypatch.setattr(prepare.configure, "data_file", tmp_path.joinpath)
    plan = prepare.plan(root)
    assert steps(plan) == {"usr/sbin/gitstate": "write", "usr/lib/gitstate/client/of-an-older-version": "remove"}
    assert plan.kernels == ()


def test_a_changed_or_stale_part_of_the_hook_is_put_right_and_the_initrd_made_anew(root: Path) -> None:
    run(root)
    (root / "usr/lib/gitstate/boot/root").write_text("# mine\n")
    (root / "usr/lib/gitstate/boot/of-an-older-version").touch()
    (root / "etc/initramfs-tools/hooks/gitstate").chmod(0o644)
    plan = prepare.plan(root)
    assert steps(plan) == {
        "etc/initramfs-tools/hooks/gitstate": "write",
        "usr/lib/gitstate/boot/root": "write",
        "usr/lib/gitstate/boot/of-an-older-version": "remove",
    }
    assert [kernel.version for kernel in plan.kernels] == [KERNEL]
    run(root)
    assert not prepare.plan(root)


def test_a_newer_hook_makes_a_new_initrd(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade of gitstate: in the tree, nothing has changed since the initrd was made."""
    run(root)
    newer = shutil.copytree(PROJECT / "hooks", tmp_path / "hooks")
    with open(newer / "boot/messages", "a") as file:
        file.write("# newer\n")
    monkeypatch.setattr(prepare.configure, "data_file", tmp_path.joinpath)
    plan = prepare.plan(root)
    assert steps(plan) == {"usr/lib/gitstate/boot/messages": "write"}
    assert [kernel.version for kernel in plan.kernels] == [KERNEL]
    run(root)
    assert not prepare.plan(root)


_WHERE_KEYS_ARE = "etc/systemd/system/ssh.service.d/gitstate.conf"


def test_no_unit_makes_host_keys_where_none_is_there(root: Path) -> None:
    run(root)
    assert not (root / _WHERE_KEYS_ARE).exists()
    (root / "usr/lib/systemd/system").mkdir(parents=True)
    (root / "usr/lib/systemd/system/sshd-keygen@.service").touch()
    run(root)
    drop_in = root / "etc/systemd/system/sshd-keygen@.service.d/gitstate.conf"
    assert "\nConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key\n" in drop_in.read_text()


@needs("sshd", "ssh-keygen", "unshare")
@pytest.mark.parametrize(
    ("config", "brought", "made"),
    [
        ("", ("ed25519",), False),
        ("", ("ecdsa",), False),
        ("HostKey /etc/ssh/ssh_host_ed25519_key\nHostKey /etc/ssh/ssh_host_rsa_key\n", ("ed25519",), False),
        ("HostKey /etc/ssh/ssh_host_ecdsa_key\n", ("ed25519",), True),
        ("", (), True),
    ],
)
def test_an_sshd_that_finds_a_key_makes_no_others(
    root: Path, tmp_path: Path, config: str, brought: tuple[str, ...], made: bool
) -> None:
    """The unit's commands are run by a shell, with /etc/ssh and /run of their own."""
    (root / "usr/sbin/sshd").touch()
    run(root)
    before = [
        line.partition("=")[2]
        for line in (root / _WHERE_KEYS_ARE).read_text().splitlines()
        if line.startswith("ExecStartPre=")
    ]
    assert before[0] == ""
    ssh = tmp_path / "ssh"
    ssh.mkdir()
    (ssh / "sshd_config").write_text(config)
    for kind in brought:
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", ssh / f"ssh_host_{kind}_key"], check=True)
    place = f"mount --bind {ssh} /etc/ssh; mount -t tmpfs none /run; mkdir /run/sshd"
    subprocess.run(["unshare", "-m", "sh", "-ec", "\n".join([place, *before])], check=True, capture_output=True)
    kinds = {path.name.split("_")[2] for path in ssh.glob("ssh_host_*_key")}
    assert (kinds > {*brought}) == made


def test_nothing_is_updated_at_boot(root: Path) -> None:
    run(root)
    for name in ("etc/.updated", "var/.updated"):
        assert (root / name).stat().st_mtime > (root / "usr").stat().st_mtime
    later = (root / "usr").stat().st_mtime_ns + 5 * 10**9
    os.utime(root / "usr", ns=(later, later))
    assert steps(prepare.plan(root)) == {"etc/.updated": "touch", "var/.updated": "touch"}
    run(root)
    for name in ("etc/.updated", "var/.updated"):
        assert (root / name).stat().st_mtime > (root / "usr").stat().st_mtime


def test_the_journal_is_kept_in_memory_and_bounded(root: Path) -> None:
    run(root)
    text = (root / "etc/systemd/journald.conf.d/gitstate.conf").read_text()
    assert "[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n" in text


def test_missing_mount_points_are_made(root: Path) -> None:
    for name in ("proc", "sys", "tmp"):
        (root / name).rmdir()
    run(root)
    assert [stat.S_IMODE((root / name).stat().st_mode) for name in ("proc", "sys", "tmp")] == [0o555, 0o555, 0o1777]


def test_the_caller_s_umask_makes_no_difference(root: Path) -> None:
    before = os.umask(0o077)
    try:
        run(root)
    finally:
        os.umask(before)
    for name in ("etc/systemd/journald.conf.d", "usr/lib/gitstate", "usr/lib/gitstate/boot", "var/lib/gitstate"):
        assert stat.S_IMODE((root / name).stat().st_mode) == 0o755
    assert look(root, "usr/lib/gitstate/boot/root")[1] == look(root, INITRD)[1] == 0o644


# --- plan and apply ---------------------------------------------------------------------------------------------------


def test_a_plan_only_looks(root: Path) -> None:
    dirty(root)
    before = listing(root)
    assert prepare.plan(root)
    assert listing(root) == before


def test_a_second_run_finds_nothing_to_do(root: Path) -> None:
    dirty(root)
    assert run(root)
    before = listing(root)
    assert not prepare.plan(root)
    assert not run(root)
    assert listing(root) == before


def test_whatever_was_done_before_a_kill_the_next_run_ends_the_same(tmp_path: Path) -> None:
    """Every step is whole or not done, and none needs a later one not to have happened."""
    names = ("etc", "var", "boot", "tmp", "usr/sbin", "usr/lib/gitstate")

    def state(root: Path) -> dict[str, object]:
        return {
            str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else path.is_file() and look(root, path)
            for name in names
            for path in sorted((root / name).rglob("*"))
            if path.name != "lastlog"
        }

    whole = plant(tmp_path / "whole")
    dirty(whole)
    count = len(prepare.plan(whole).steps)
    run(whole)
    for done in range(0, count, 3):
        root = plant(tmp_path / f"killed-{done}")
        dirty(root)
        plan = prepare.plan(root)
        assert len(plan.steps) == count
        with prepare.open_descriptor_tree(root) as tree:
            for step in plan.steps[:done]:
                step.apply(tree)
        run(root)
        assert state(root) == state(whole), done
        assert not prepare.plan(root)


# --- initrds ----------------------------------------------------------------------------------------------------------


def test_an_initrd_is_made_for_every_kernel_that_has_modules(root: Path) -> None:
    add_kernel(root, "6.12.1-test")
    (root / "boot/vmlinuz-5.10-without-modules").touch()
    (root / "boot/vmlinuz-6.1.0-31-amd64.old").touch()
    can(root)
    can_both = (root / "usr/share/canned").read_bytes()
    (root / "usr/share/canned").write_bytes(can_both)
    assert [kernel.version for kernel in prepare.plan(root).kernels] == [KERNEL, "6.12.1-test"]
    assert [kernel.version for kernel in run(root).kernels] == [KERNEL, "6.12.1-test"]
    assert (root / "boot/initrd.img-6.12.1-test").read_bytes() == can_both


@pytest.mark.parametrize(
    "path",
    [
        "etc/initramfs-tools/conf.d/compress",
        "etc/modprobe.d/x.conf",
        "etc/modules",
        "usr/lib/firmware/x.bin",
        f"usr/lib/modules/{KERNEL}/updates/x.ko",
        f"usr/lib/modules/{KERNEL}/modules.dep",
        "var/lib/dpkg/status",
        INITRD,
    ],
)
def test_an_initrd_is_made_again_when_it_would_come_out_otherwise(root: Path, path: str) -> None:
    run(root)
    assert not prepare.plan(root)
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    with open(root / path, "a") as file:
        file.write("\n# changed\n")
    assert [kernel.version for kernel in prepare.plan(root).kernels] == [KERNEL]
    assert steps(prepare.plan(root)) == {}
    run(root)
    assert not prepare.plan(root)


def test_an_initrd_that_comes_out_equal_is_left_alone(root: Path) -> None:
    run(root)
    (root / "etc/modules").write_text("loop\n")
    before = listing(root / "boot")
    assert run(root).kernels == ()
    assert listing(root / "boot")[str(root / INITRD)] == before[str(root / INITRD)]
    assert not prepare.plan(root)


@pytest.mark.parametrize("module", MODULES)
def test_an_initrd_without_what_a_boot_needs_is_refused(root: Path, module: str) -> None:
    (root / INITRD).write_text("the old one")
    can(root, [name for name in MODULES if name != module])
    with pytest.raises(HostError, match=rf"kernel {KERNEL} has no module {module}\b"):
        run(root)
    assert (root / INITRD).read_text() == "the old one"
    assert [path.name for path in (root / "boot").glob(".*")] == []
    (root / f"usr/lib/modules/{KERNEL}/modules.builtin").write_text(f"kernel/fs/{module}.ko\n")
    run(root)


def test_an_initrd_without_the_hook_is_refused(root: Path) -> None:
    can(root, hook=False)
    with pytest.raises(HostError, match="no boot hook"):
        run(root)


# --- what can't be prepared -------------------------------------------------------------------------------------------


def test_a_tree_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with pytest.raises(HostError, match="/var/lib/dpkg/status"):
        prepare.plan(tmp_path)


def test_what_is_missing_is_named_with_the_command_that_brings_it(root: Path) -> None:
    for name in ("usr/sbin/mkinitramfs", "usr/bin/setfattr", f"boot/vmlinuz-{KERNEL}"):
        (root / name).unlink()
    with pytest.raises(HostError) as raised:
        prepare.plan(root)
    assert raised.value.code == 5
    assert raised.value.message.endswith(": initramfs-tools attr linux-image-amd64")
    assert "apt-get install --no-install-recommends initramfs-tools attr linux-image-amd64" in raised.value.hint
    assert prepare.plan(root, install=True).install == ("initramfs-tools", "attr", "linux-image-amd64")


def test_a_package_that_is_half_installed_is_missing(root: Path) -> None:
    with open(root / "var/lib/dpkg/status", "a") as file:
        file.write(
            "Package: udev\nStatus: install ok half-configured\n\nPackage: -ofoo\nStatus: install ok unpacked\n\n"
        )
    assert prepare.plan(root, install=True).install == ("udev",)


@pytest.mark.parametrize(
    ("about", "package"),
    [
        ("Architecture: arm64", "linux-image-arm64"),
        ("Architecture: armhf", "linux-image-armmp"),
        ("", "linux-image-amd64"),
    ],
)
def test_the_kernel_is_that_of_the_architecture(root: Path, about: str, package: str) -> None:
    (root / f"boot/vmlinuz-{KERNEL}").unlink()
    (root / "var/lib/dpkg/status").write_text(f"Package: dpkg\nStatus: install ok installed\n{about}\n")
    assert prepare.plan(root, install=True).install == (package,)
