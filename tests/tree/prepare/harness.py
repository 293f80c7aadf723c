"""A root of Debian's kin that is prepared in no time: busybox for every program, and a mkinitramfs that copies a file.

What the real ones do is tested with a real root, in test_real.py.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from gitstate.core import cpio
from gitstate.core.cpio import Member
from gitstate.core.entry import Kind, Meta
from tests.support import require

KERNEL: Final = "6.1.0-31-amd64"
INITRD: Final = f"boot/initrd.img-{KERNEL}"
MODULES: Final = ("nfs", "nfsv3", "nfsv4", "overlay")
STATUS: Final = """\
Package: dpkg
Status: install ok installed
Architecture: amd64

Package: initramfs-tools
Status: install ok installed

"""

_DIRECTORIES: Final = """
proc sys dev run tmp boot etc/ssh etc/systemd etc/initramfs-tools/conf.d etc/initramfs-tools/hooks
etc/initramfs-tools/scripts root usr/bin usr/sbin usr/lib/klibc/bin var/cache/apt/archives/partial var/lib/apt/lists
var/lib/dbus var/lib/dpkg var/log/apt var/tmp
""".split()  # noqa: SIM905
_PLACEHOLDERS: Final = ("usr/bin/setfattr", "usr/lib/klibc/bin/ipconfig", "usr/bin/udevadm", "usr/sbin/init")
_APPLETS: Final = ("sh", "cat", "cp", "echo", "id", "ls", "mount", "ps", "readlink", "setsid", "sleep", "touch")
# busybox's own would take a program's name for one of its own first.
_ENV: Final = """\
#!/bin/sh
found=
for word; do
    shift
    case $found$word in
        -i | *=*) ;;
        *)
            [ -n "$found" ] || for place in /usr/sbin /usr/bin; do
                [ ! -x "$place/$word" ] || word=$place/$word
            done
            found=/
            ;;
    esac
    set -- "$@" "$word"
done
exec busybox env "$@"
"""
_MKINITRAMFS: Final = """\
#!/bin/sh
while [ $# -gt 1 ]; do
    [ "$1" != -o ] || out=$2
    shift
done
echo "Adding everything"
[ ! -e /root/probe ] || . /root/probe
cat /usr/share/canned >"$out"
"""


def plant(root: Path) -> Path:
    """Make such a root, with nothing in it that `prepare` would have to remove."""
    require("busybox")
    for name in _DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    shutil.copy(shutil.which("busybox") or "", root / "usr/bin/busybox")
    for name in _APPLETS:
        (root / "usr/bin" / name).symlink_to("busybox")
    for name in _PLACEHOLDERS:
        (root / name).write_text("here\n")
    for name, text in (("usr/bin/env", _ENV), ("usr/sbin/mkinitramfs", _MKINITRAMFS)):
        (root / name).write_text(text)
        (root / name).chmod(0o755)
    (root / "usr/share").mkdir()
    can(root)
    (root / "etc/machine-id").touch()
    (root / "etc/fstab").write_text("# nothing\n")
    (root / "var/lib/dpkg/status").write_text(STATUS)
    add_kernel(root, KERNEL)
    return root


def add_kernel(root: Path, version: str) -> None:
    """Install a kernel."""
    (root / f"boot/vmlinuz-{version}").write_text("kernel\n")
    (root / f"usr/lib/modules/{version}").mkdir(parents=True)


def can(root: Path, modules: Iterable[str] = MODULES, hook: bool = True) -> None:
    """Say what the next initrds will hold."""
    paths = [f"usr/lib/modules/{KERNEL}/kernel/fs/{name}.ko" for name in modules]
    files = [PurePosixPath(path) for path in [*paths, *(["scripts/gitstate"] if hook else [])]]
    above = {str(parent) for path in files for parent in path.parents} - {"."}
    members = [Member(str(path).encode(), Meta(Kind.FILE, 0o644, 0, 0, 0), b"x\n", 2) for path in files]
    members += [Member(path.encode(), Meta(Kind.DIRECTORY, 0o755, 0, 0, 0)) for path in above]
    (root / "usr/share/canned").write_bytes(b"".join(cpio.write(members)))


def probe(root: Path, script: str) -> None:
    """Run this inside the root whenever an initrd is made."""
    (root / "root/probe").write_text(script)


def dirty(root: Path) -> None:
    """Put into a root whatever an image must not carry."""
    for name, text in {
        "tmp/x": "x",
        "tmp/.X11-unix/X0": "x",
        "var/tmp/deep/er/x": "x",
        "var/log/dpkg.log": "x",
        "var/log/dpkg.log.1": "x",
        "var/log/apt/history.log": "x",
        "var/log/apt/history.log.2.gz": "x",
        "var/log/cloud-20250131": "x",
        "var/log/journal/0123456789abcdef0123456789abcdef/system.journal": "x",
        "var/cache/apt/archives/attr_1_amd64.deb": "x",
        "var/cache/apt/archives/partial/busybox_1_amd64.deb": "x",
        "var/cache/apt/pkgcache.bin": "x",
        "var/cache/ldconfig/aux-cache": "x",
        "var/lib/apt/lists/deb.example.org_Packages": "x",
        "var/lib/dpkg/status-old": "x",
        "var/lib/dhcp/dhclient.eth0.leases": "x",
        "var/lib/NetworkManager/secret_key": "x",
        "var/lib/systemd/random-seed": "x",
        "var/lib/dbus/machine-id": "0123456789abcdef0123456789abcdef\n",
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "etc/ssh/ssh_host_rsa_key": "x",
        "etc/ssh/ssh_host_rsa_key.pub": "x",
        "etc/fstab": "UUID=1b2c / ext4 defaults 0 1\nserver:/home /home nfs4 nofail 0 0\n",
        "boot/.initrd.img-6.1.0-8-test.gitstate": "x",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    with open(root / "var/log/lastlog", "wb") as file:
        file.truncate(1 << 30)
    os.chmod(root / "var/log/dpkg.log", 0o640)
