"""Live trees of Debian and its derivatives: kernels, and the packages needed to boot."""

from __future__ import annotations

import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gitstate.core.errors import HostError
from gitstate.core.fs import DescriptorTree, open_descriptor_tree
from gitstate.core.monitor import Observer
from gitstate.core.names import display
from gitstate.tree.prepare import chroot
from gitstate.tree.prepare.steps import Concern, Write, check_parents
from gitstate.tree.prepare.tidy import POLICY_RC, POLICY_RC_TEXT

STATUS: Final = b"var/lib/dpkg/status"
_PROGRAMS: Final = (
    ("initramfs-tools", (b"usr/sbin/mkinitramfs",)),
    ("busybox", (b"usr/bin/busybox", b"bin/busybox")),
    ("attr", (b"usr/bin/setfattr", b"bin/setfattr")),
    ("klibc-utils", (b"usr/lib/klibc/bin/ipconfig",)),
    ("udev", (b"usr/bin/udevadm", b"bin/udevadm", b"sbin/udevadm")),
    ("systemd-sysv", (b"usr/sbin/init", b"sbin/init")),
)
"""Packages, each with paths of which one proves that it is installed."""
_VERSION: Final = re.compile(rb"vmlinuz-([A-Za-z0-9][A-Za-z0-9._+~-]*)")
_BACKUP_SUFFIXES: Final = (b".old", b".bak", b"~", b".dpkg-tmp", b".dpkg-new", b".dpkg-old")
_ARCHITECTURE: Final = re.compile(rb"^Package: dpkg\n(?:.+\n)*?Architecture: ([a-z0-9-]+)$", re.MULTILINE)
_KERNEL_NAMES: Final = {"i386": "686", "armhf": "armmp", "ppc64el": "powerpc64le"}
"""Debian's names for kernels, where they differ from dpkg's architecture."""
_UNFINISHED: Final = re.compile(
    rb"^Package: ([a-z0-9][a-z0-9.+-]*)\nStatus: \S+ \S+ "
    rb"(?:half-installed|unpacked|half-configured|triggers-awaited|triggers-pending)$",
    re.MULTILINE,
)
_QUIET: Final = "DEBIAN_FRONTEND=noninteractive"
_APT: Final = (_QUIET, "apt-get", "--quiet", "--yes")


@dataclass(frozen=True, slots=True)
class Kernel:
    """An installed kernel."""

    version: str
    modules: bytes

    @property
    def initrd(self) -> bytes:
        """The path of its initrd."""
        return b"boot/initrd.img-" + self.version.encode()


def check(tree: DescriptorTree, live: Path) -> None:
    """Raise HostError if this is no root of Debian or a derivative."""
    if not tree.is_file(STATUS) or not tree.is_directory(b"etc"):
        hint = "others can't be prepared yet"
        raise HostError(f"{live} is no root of Debian or a derivative: /{display(STATUS)} is missing", hint)
    for path in (b"boot/x", b"usr/lib/x", b"etc/x", b"var/lib/gitstate/x"):
        check_parents(tree, path)


def kernels(tree: DescriptorTree) -> list[Kernel]:
    """The kernels in ``/boot`` that have modules, by name."""
    found = []
    for name, about in tree.names(b"boot"):
        match = _VERSION.fullmatch(name)
        if match is None or name.endswith(_BACKUP_SUFFIXES) or not stat.S_ISREG(about.st_mode):
            continue
        for modules in (b"usr/lib/modules/" + match[1], b"lib/modules/" + match[1]):
            if tree.is_directory(modules):
                found.append(Kernel(match[1].decode(), modules))
                break
    return found


def missing(tree: DescriptorTree) -> list[str]:
    """The packages needed to boot that are missing, and all that are half installed."""
    found = [package for package, places in _PROGRAMS if not any(map(tree.lstat, places))]
    if not kernels(tree):
        found.append(_kernel_package(tree))
    found += [name.decode() for name in _UNFINISHED.findall(tree.read(STATUS) or b"")]
    return list(dict.fromkeys(found))


def _kernel_package(tree: DescriptorTree) -> str:
    if b"\nID=ubuntu\n" in (tree.read(b"usr/lib/os-release") or b""):
        return "linux-image-generic"
    match = _ARCHITECTURE.search(tree.read(STATUS) or b"")
    architecture = match[1].decode() if match else "amd64"
    return f"linux-image-{_KERNEL_NAMES.get(architecture, architecture)}"


def install(live: Path, packages: Sequence[str], observer: Observer) -> None:
    """Install packages into the live tree without starting daemons. Raises StorageError."""
    with open_descriptor_tree(live) as tree:
        is_new = tree.lstat(POLICY_RC) is None
        if is_new:
            Write(POLICY_RC, Concern.LEFTOVERS, "", POLICY_RC_TEXT, 0o755).apply(tree)
        try:
            observer.phase("dpkg --configure", unit="lines")
            chroot.run(live, (_QUIET, "dpkg", "--configure", "--pending", "--force-confold"), observer)
            observer.phase("apt-get update", unit="lines")
            chroot.run(live, (*_APT, "update"), observer)
            observer.phase("apt-get install", unit="lines")
            options = ("-o", "Dpkg::Options::=--force-confold", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends")
            chroot.run(live, (*_APT, *options, "install", *packages), observer)
        finally:
            if is_new and tree.read(POLICY_RC) == POLICY_RC_TEXT:
                tree.remove(POLICY_RC)
